"""What services count, and the two formats in which Prometheus reads it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

import sansio_pingora
from sansio_pingora import HttpPeer, Limits, ProxyHttp
from sansio_pingora.apps import (
    Family,
    HttpOptions,
    HttpService,
    Metrics,
    OriginApp,
    PrometheusApp,
    openmetrics_text,
    prometheus_text,
)
from sansio_pingora.http2 import PREFACE
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Raw, World
from tests.apps.serving import RUNTIMES, ask, serving

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
EDGE = "10.0.0.1:80"


class Failover(ProxyHttp):
    addresses = ("10.0.0.8:80", "10.0.0.9:80")

    def new_ctx(self):
        return iter(self.addresses)

    def upstream_peer(self, session, ctx):
        return HttpPeer(next(ctx))

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


def world_of(metrics, app=None):
    world = World(seed=1)
    world.listen("10.0.0.9:80", HttpService(OriginApp()))
    world.listen(EDGE, HttpProxy(app or Failover(), Limits(), HttpOptions(metrics=metrics.service("edge"))))
    return world


def get(world, target="/", *, close=True, version=b"1.1"):
    client = Raw(
        world,
        b"GET %b HTTP/%b\r\nHost: a\r\n%b\r\n" % (target.encode(), version, b"Connection: close\r\n" if close else b""),
    )
    world.client(EDGE, client)
    world.run(world.now + 20)
    return client.data


def values(metrics, name):
    """The samples of a metric: label values (but for the service) to value."""
    found = {}
    for family in prometheus(prometheus_text(metrics.collect())):
        for sample in family.samples:
            if sample.name == f"sansio_pingora_{name}":
                labels = {key: value for key, value in sample.labels.items() if key != "service"}
                found[tuple(labels.values())] = sample.value
    return found


def test_requests_by_class_and_version_connections_attempts_and_bytes():
    metrics = Metrics()
    world = world_of(metrics)
    for status in (200, 404, 404, 503):
        assert get(world, f"/status/{status}").startswith(b"HTTP/1.1 %d " % status)
    get(world, "/bytes/1000", version=b"1.0")
    assert values(metrics, "http_requests_total") == {
        ("2xx", "1.0"): 1,
        ("2xx", "1.1"): 1,
        ("4xx", "1.1"): 2,
        ("5xx", "1.1"): 1,
    }
    assert values(metrics, "connections_accepted_total") == {(): 5}
    assert values(metrics, "connections_open") == {(): 0}
    assert values(metrics, "upstream_attempts_total") == {(): 10}
    assert values(metrics, "upstream_retries_total") == {(): 5}
    assert values(metrics, "http_response_body_bytes_total")[()] >= 1000
    assert values(metrics, "http_request_duration_seconds_count") == {(): 5}
    assert values(metrics, "http_requests_in_flight") == {(): 0}


def test_phases_and_durations():
    metrics = Metrics()
    world = world_of(metrics)
    get(world, "/delay/2")
    counts = values(metrics, "proxy_phase_seconds_count")
    assert counts == {("filters",): 1, ("connect",): 1, ("request",): 1, ("wait",): 1, ("response",): 1}
    sums = values(metrics, "proxy_phase_seconds_sum")
    assert sums[("wait",)] == pytest.approx(2, abs=0.2)
    assert sum(sums.values()) == pytest.approx(values(metrics, "http_request_duration_seconds_sum")[()])
    buckets = values(metrics, "http_request_duration_seconds_bucket")
    assert buckets[("1.0",)] == 0
    assert buckets[("2.5",)] == buckets[("+Inf",)] == 1


def test_what_is_under_way_is_seen_and_a_client_that_left_has_no_status():
    metrics = Metrics()
    world = world_of(metrics)
    client = Raw(world, b"GET /delay/100 HTTP/1.1\r\nHost: a\r\n\r\n")
    world.client(EDGE, client)
    world.run(1.0)
    assert values(metrics, "http_requests_in_flight") == {(): 1}
    assert values(metrics, "connections_open") == {(): 1}
    client.end.abort()
    world.run(2.0)
    assert values(metrics, "http_requests_total") == {("none", "1.1"): 1}
    assert values(metrics, "http_requests_in_flight") == {(): 0}
    assert values(metrics, "connections_open") == {(): 0}


def test_pool_states():
    metrics = Metrics()
    world = world_of(metrics)
    get(world)
    assert values(metrics, "upstream_pool") == {("idle",): 1, ("dialling",): 0, ("waiting",): 0}


def test_refused_heads_by_their_status():
    metrics = Metrics()
    world = world_of(metrics)
    for head in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"):
        client = Raw(world, head)
        world.client(EDGE, client)
        world.run(world.now + 20)
    assert values(metrics, "http_requests_refused_total") == {("400",): 1, ("431",): 1}
    assert values(metrics, "http_requests_total") == {}


# ── the page, and the formats ────────────────────────────────────────────────────────


def exposed():
    """The names of all that can be exposed, from a service that has met everything."""
    metrics = Metrics()
    world = world_of(metrics)
    get(world)
    return metrics


def test_the_page_has_every_metric_with_its_kind_and_labels():
    rows = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    }
    suffixes = {"counter": "_total", "info": "_info"}
    metrics = exposed()
    metrics.service("edge").meters[0].refusals[400] = 1
    metrics.service("edge").meters[0].faults["connection", "ReadTimedout"] = 1
    found = {}
    for family in metrics.collect():
        labels = {label for _, labels, _ in family.samples for label, _ in labels} - {"le"}
        found[family.name + suffixes.get(family.kind, "")] = (family.kind, labels)
    assert rows == found


def test_the_blocks_of_the_page_run():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "<metrics.md>", "exec"), names)
    text = prometheus_text(names["metrics"].collect())
    assert 'shop_orders_total{kind="web"} 0' in text


def test_both_formats_say_the_same():
    families = exposed().collect()
    old = {
        (s.name, *sorted(s.labels.items())): s.value for f in prometheus(prometheus_text(families)) for s in f.samples
    }
    new = {
        (s.name, *sorted(s.labels.items())): s.value for f in openmetrics(openmetrics_text(families)) for s in f.samples
    }
    assert old == new
    assert len(old) > 30
    assert ("sansio_pingora_build_info", ("python", "3.11"), ("version", sansio_pingora.__version__)) in {
        (name, *[("python", "3.11") if key == "python" else (key, value) for key, value in labels])
        for name, *labels in old
    }


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20),
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_number_survive(label, text, value):
    family = Family("one", "gauge", text, [("", (("label", label),), value)])
    (read,) = openmetrics(openmetrics_text([family]))
    assert (read.samples[0].labels, read.samples[0].value) == ({"label": label}, value)
    (old,) = prometheus(prometheus_text([family]))
    assert (old.samples[0].labels, old.samples[0].value) == ({"label": label}, value)


# ── the application ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_endpoint_beside_a_service(runtime):
    metrics = Metrics()
    with (
        serving(OriginApp(), runtime, metrics=metrics.service("edge")) as edge,
        serving(PrometheusApp(metrics), runtime) as endpoint,
    ):
        for _ in range(3):
            assert ask(edge.addresses[0])[0] == 200
        status, body = ask(endpoint.addresses[0], "GET", "/metrics")
        assert status == 200
        assert b'sansio_pingora_http_requests_total{service="edge",status="2xx",version="1.1"} 3\n' in body
        status, body = ask(endpoint.addresses[0], "GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
        assert body.endswith(b"# EOF\n")
        assert ask(endpoint.addresses[0], "HEAD", "/metrics") == (200, b"")
        assert ask(endpoint.addresses[0], "POST", "/metrics")[0] == 405
        assert ask(endpoint.addresses[0], "GET", "/")[0] == 404


def test_the_lanes_of_threads_are_added_up():
    metrics = Metrics()
    with serving(OriginApp(), "threads", threads=3, metrics=metrics.service("edge")) as edge:
        for _ in range(20):
            assert ask(edge.addresses[0])[0] == 200
        assert len(metrics.service("edge").meters) == 3
        assert values(metrics, "http_requests_total") == {("2xx", "1.1"): 20}
        assert values(metrics, "connections_accepted_total") == {(): 20}


def test_the_option_is_a_services_metrics():
    with pytest.raises(TypeError, match=r"made by Metrics\(\).service\(name\)"):
        sansio_pingora.serve(OriginApp(), listen="127.0.0.1:0", metrics=Metrics())


def test_what_ends_requests_and_connections_before_their_time():
    metrics = Metrics()
    options = HttpOptions(metrics=metrics.service("edge"), h2c=True)
    world = World(seed=1)
    world.listen(EDGE, HttpService(OriginApp(), Limits(body_idle_timeout=1.0), options))
    flood = PREFACE + bytes(3) + b"\x04" + bytes(5) + (b"\x00\x00\x08\x06" + bytes(13)) * 10_000
    post = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    good = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for raw in (flood, post + b"slow", good):
        world.client(EDGE, Raw(world, raw))
    world.run(30.0)
    found = values(metrics, "client_faults_total")
    assert found["connection", "ENHANCE_YOUR_CALM"] == 1
    assert found["request", "ReadTimedout"] == 1
    assert {fault for _, fault in found} == {"ENHANCE_YOUR_CALM", "ReadTimedout"}
