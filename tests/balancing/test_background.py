"""Checks, ejections and discovery in virtual time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora import Error, Limits, ProxyHttp, ResponseHeader
from sansio_pingora.apps import Beside, HttpServerApp, HttpService, OriginApp
from sansio_pingora.balancing import (
    Backend,
    CallDiscovery,
    DnsDiscovery,
    DnsSrvDiscovery,
    HttpHealthCheck,
    LoadBalancer,
    OutlierDetection,
    TcpHealthCheck,
)
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.session import Sleep
from sansio_pingora.testing import Random, Raw, World
from sansio_pingora.transport import ServiceRecord, SocketAddr
from sansio_pingora.wire import RequestHeader

A, B, C = "10.0.0.10:80", "10.0.0.11:80", "10.0.0.12:80"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Scripted(HttpServerApp):
    """Answers with what it is told, and remembers what it was asked."""

    def __init__(self, status=200, body=b""):
        self.status = status
        self.body = body
        self.asked = []

    def process_new_http(self, session):
        self.asked.append(session.req_header)
        if self.status is None:
            return (yield from ())
        session.write_response_header(ResponseHeader(self.status, [("Content-Length", str(len(self.body)))]))
        session.write_response_body(self.body, end=True)
        return (yield from ())


class Balanced(ProxyHttp):
    def __init__(self, balancer):
        self.balancer = balancer

    def new_ctx(self):
        return set()

    def upstream_peer(self, session, ctx):
        return self.balancer.peer(tried=ctx)

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


def running(balancer, world=None, **origins):
    """A world with *balancer* at work beside a proxy over it, and origins."""
    world = world or World(seed=1)
    for address, app in {A: OriginApp(), B: OriginApp()}.items() if not origins else origins["at"].items():
        world.listen(address, HttpService(app))
    driver = world.listen("10.0.0.1:80", Beside(HttpProxy(Balanced(balancer), Limits()), [balancer]))
    return world, driver


def ask(world):
    client = Raw(world, GET)
    world.client("10.0.0.1:80", client)
    world.run(world.now + 5)
    return client.data


def ready(balancer):
    return {str(backend) for backend in balancer.backends.get_backend() if balancer.backends.ready(backend)}


def texts(driver):
    return [line.text for line in driver.log]


# ── health checks ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_a_closed_port_is_not_ready(parallel):
    changes = []
    check = TcpHealthCheck(health_changed=lambda backend, healthy: changes.append((str(backend), healthy)))
    balancer = LoadBalancer([A, C], health_check=check, parallel_health_check=parallel)
    world, driver = running(balancer)
    world.settle()
    assert ready(balancer) == {A}
    assert changes == [(C, False)]
    assert texts(driver)[0].startswith(f"{C} is unhealthy: ")
    assert ask(world).startswith(b"HTTP/1.1 200 ")


def test_a_backend_comes_back_after_as_many_good_checks_as_the_threshold():
    check = TcpHealthCheck(success_threshold=3, failure_threshold=2)
    balancer = LoadBalancer([A, C], health_check=check, health_check_frequency=10.0)
    world, driver = running(balancer)
    world.run(5.0)
    assert ready(balancer) == {A, C}
    world.run(15.0)
    assert ready(balancer) == {A}
    world.listen(C, HttpService(OriginApp()))
    world.run(35.0)
    assert ready(balancer) == {A}
    world.run(45.0)
    assert ready(balancer) == {A, C}
    assert texts(driver)[-1] == f"{C} is healthy"


@pytest.mark.parametrize(
    ("check", "good"),
    [
        ({}, {200}),
        ({"validator": lambda head: head.status < 500}, {200, 404}),
        ({"validator": lambda head: None}, {200, 404, 503}),
    ],
)
@pytest.mark.parametrize("status", [200, 404, 503])
def test_http_is_judged_by_its_status_or_a_validator(check, good, status):
    app = Scripted(status, b"x" * 100)
    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a.test", path="/health", **check))
    world, driver = running(balancer, at={A: app})
    world.settle()
    assert ready(balancer) == ({A} if status in good else set())
    (asked,) = app.asked
    assert (asked.method, asked.target, asked.fields.get(b"host")) == (b"GET", b"/health", b"a.test")
    if not check and status != 200:
        assert f"non 200 code({status})" in texts(driver)[0]


def test_a_validator_that_raises_is_a_failure():
    def validator(head):
        raise Error.custom("no such header")

    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a", validator=validator))
    world, driver = running(balancer)
    world.settle()
    assert ready(balancer) == set()
    assert "no such header" in texts(driver)[0]


def test_a_request_of_ones_own_to_another_port_over_a_connection_that_is_kept():
    app = Scripted()
    check = HttpHealthCheck(
        host="a",
        request=RequestHeader("HEAD", "/up", [("Host", "b"), ("X-Check", "1")]),
        port_override=8080,
        reuse_connection=True,
    )
    balancer = LoadBalancer([A], health_check=check, health_check_frequency=10.0)
    world, driver = running(balancer, at={"10.0.0.10:8080": app})
    world.run(35.0)
    assert [asked.method for asked in app.asked] == [b"HEAD"] * 4
    assert driver._upstreams == 1


def test_a_connection_is_not_kept_unless_asked_for():
    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a"), health_check_frequency=10.0)
    world, driver = running(balancer)
    world.run(35.0)
    assert driver._upstreams == 4
    assert driver.upstreams(A) == 0


@pytest.mark.parametrize("app", [Scripted(None), Scripted(200, b"x" * 70_000)], ids=["error", "too long"])
def test_an_answer_that_is_none_or_too_long_is_a_failure(app):
    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a"))
    world, _ = running(balancer, at={A: app})
    world.settle()
    assert ready(balancer) == set()


def test_an_origin_that_says_nothing_is_given_up():
    class Silent(HttpServerApp):
        def process_new_http(self, session):
            yield Sleep(1000.0)

    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a"))
    world, driver = running(balancer, at={A: Silent()})
    world.run(1.5)
    assert ready(balancer) == set()
    assert "ReadTimedout" in texts(driver)[0]
    assert driver.upstreams(A) == 0


def test_an_origin_that_trickles_has_the_time_of_a_whole_check():
    class Trickling(HttpServerApp):
        def process_new_http(self, session):
            session.write_response_header(ResponseHeader(200, [("Content-Length", "100")]))
            for _ in range(100):
                session.write_response_body(b"x")
                yield Sleep(0.5)

    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a", timeout=3.0))
    world, driver = running(balancer, at={A: Trickling()})
    world.run(2.9)
    assert ready(balancer) == {A}
    world.run(3.1)
    assert ready(balancer) == set()
    assert "not complete within 3 s" in texts(driver)[0]
    assert driver.upstreams(A) == 0


def test_a_callback_that_raises_ends_nothing():
    def health_changed(backend, healthy):
        raise RuntimeError("no")

    check = TcpHealthCheck(health_changed=health_changed)
    balancer = LoadBalancer([B, C], health_check=check, health_check_frequency=10.0)
    world, driver = running(balancer)
    world.run(15.0)
    assert ready(balancer) == {B}
    assert any("a callback of a load balancer raised" in text for text in texts(driver))


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=30)
def test_health_is_what_a_slow_reading_of_all_findings_says(findings, success, failure):
    """A flip where the last N findings agree against what was known, N being the threshold, since the last flip."""
    check = HttpHealthCheck(host="a", success_threshold=success, failure_threshold=failure)
    balancer = LoadBalancer([A], health_check=check, health_check_frequency=10.0)
    app = Scripted(200 if findings[0] else 500)
    world, _ = running(balancer, at={A: app})
    expected, since = True, []
    for number, finding in enumerate(findings):
        app.status = 200 if finding else 500
        world.run(number * 10.0 + 5.0)
        since.append(finding)
        threshold = failure if expected else success
        if since[-threshold:] == [not expected] * threshold:
            expected, since = not expected, []
        assert len(app.asked) == number + 1
        assert balancer.backends.ready(Backend(A)) is expected


def test_jitter_spreads_the_checks():
    app = Scripted()
    balancer = LoadBalancer(
        [A], health_check=HttpHealthCheck(host="a"), health_check_frequency=10.0, jitter=0.5, below=Random(1).below
    )
    periods = [balancer.spread(10.0) for _ in range(1000)]
    assert 5.0 <= min(periods) < 5.5
    assert 14.5 < max(periods) <= 15.0
    world, _ = running(balancer, at={A: app})
    world.run(200.0)
    assert 13 <= len(app.asked) <= 40


def test_draining_gives_up_what_is_under_way():
    balancer = LoadBalancer([A, B], health_check=TcpHealthCheck(), health_check_frequency=1.0)
    world, driver = running(balancer)
    world.run(10.0)
    driver.drain()
    world.settle()  # it comes to rest, so nothing is checked any more
    assert driver.upstreams(A) == driver.upstreams(B) == 0
    balancer.stop(world.now)


def test_the_work_can_be_moved_to_another_lane():
    app = Scripted()
    balancer = LoadBalancer([A], health_check=HttpHealthCheck(host="a"), health_check_frequency=1.0)
    world, _ = running(balancer, at={A: app})
    world.run(5.5)
    world.listen("10.0.0.2:80", Beside(HttpProxy(Balanced(balancer)), [balancer]))
    before = len(app.asked)
    world.run(15.5)
    assert len(app.asked) - before <= 11


# ── ejections ────────────────────────────────────────────────────────────────────────


def test_a_backend_whose_requests_fail_is_out_for_a_while():
    changes = []
    detection = OutlierDetection(
        consecutive_failures=2,
        base_ejection_time=30.0,
        ejection_changed=lambda backend, out: changes.append((str(backend), out)),
    )
    bad = Scripted(503)
    balancer = LoadBalancer([A, B], outlier_detection=detection)
    world, driver = running(balancer, at={A: Scripted(), B: bad})
    answers = [ask(world)[9:12] for _ in range(6)]
    assert answers == [b"200", b"503", b"200", b"503", b"200", b"200"]
    assert ready(balancer) == {A}
    assert changes == [(B, True)]
    assert texts(driver) == [f"{B} is ejected for 30 s"]
    bad.status = 200
    world.run(world.now + 31.0)
    assert ready(balancer) == {A, B}
    assert changes == [(B, True), (B, False)]


@pytest.mark.parametrize("meanwhile", ["weighs otherwise", "moves to another lane"])
def test_an_ejected_backend_comes_back_whatever_happens_meanwhile(meanwhile):
    changes = []
    detection = OutlierDetection(
        consecutive_failures=1,
        ejection_changed=lambda backend, out: changes.append((str(backend), backend.weight, out)),
    )
    bad = Scripted(503)
    balancer = LoadBalancer([A, B], outlier_detection=detection)
    world, _ = running(balancer, at={A: Scripted(), B: bad})
    for _ in range(2):
        ask(world)
    ejected_at = world.now
    assert ready(balancer) == {A}
    if meanwhile == "weighs otherwise":
        balancer.update([Backend(A), Backend(B, 2)], {})
    else:
        world.listen("10.0.0.2:80", Beside(HttpProxy(Balanced(balancer)), [balancer]))
    world.run(ejected_at + 20.0)
    assert ready(balancer) == {A}
    world.run(ejected_at + 31.0)
    assert ready(balancer) == {A, B}
    assert changes == [(B, 1, True), (B, 2 if meanwhile == "weighs otherwise" else 1, False)]


def test_connect_failures_count_and_the_last_backend_stays():
    balancer = LoadBalancer([A, C], outlier_detection=OutlierDetection(consecutive_failures=1))
    world, _ = running(balancer, at={})
    assert ask(world).startswith(b"HTTP/1.1 502 ")
    world.run(world.now + 1)
    assert len(ready(balancer)) == 1  # half of them, and no more


def test_the_fault_of_a_client_or_our_own_says_nothing():
    balancer = LoadBalancer([A, B], outlier_detection=OutlierDetection(consecutive_failures=1))
    running(balancer)
    state = balancer.backends.states[Backend(A)]
    for error in (Error.http_status(500).into_in(), Error.http_status(400).into_down()):
        balancer.attempt_ended(state, error, None, 1.0)
    assert state.failures == 0
    balancer.attempt_ended(state, None, 500, 1.0)
    assert state.failures == 0


def test_a_success_between_failures_starts_the_count_anew():
    balancer = LoadBalancer([A, B], outlier_detection=OutlierDetection(consecutive_failures=3))
    state = balancer.backends.states[Backend(A)]
    for status in (503, 503, 200, 503, 503):
        balancer.attempt_ended(state, None, status, 1.0)
    assert state.failures == 2


@given(st.lists(st.floats(0.0, 500.0), min_size=1, max_size=12))
def test_ejections_in_short_order_last_longer_up_to_a_ceiling(pauses):
    detection = OutlierDetection(base_ejection_time=30.0, max_ejection_time=100.0)
    state = LoadBalancer([A]).backends.states[Backend(A)]
    now, last, row = 0.0, 0.0, 0
    for pause in pauses:
        now += pause
        row = 1 if pause > last or not row else row + 1
        detection.eject(state, now)
        until = state.out_until
        last = min(30.0 * row, 100.0)
        assert until == pytest.approx(now + last)
        assert not state.ready
        now = until
        detection.readmit(state, now)
        assert state.ready


@pytest.mark.parametrize(
    ("size", "percent", "most"), [(1, 50, 0), (2, 50, 1), (3, 50, 1), (10, 50, 5), (10, 10, 1), (9, 10, 0), (4, 100, 4)]
)
def test_no_more_than_a_share_is_out_at_once(size, percent, most):
    detection = OutlierDetection(max_ejection_percent=percent)
    balancer = LoadBalancer([f"10.0.0.{number}:80" for number in range(size)])
    states = list(balancer.backends.states.values())
    out = 0
    for state in states:
        if detection.may_eject(states):
            detection.eject(state, 0.0)
            out += 1
    assert out == most


# ── discovery ────────────────────────────────────────────────────────────────────────


def test_what_is_discovered_replaces_the_set():
    found = [Backend(A)]
    balancer = LoadBalancer(CallDiscovery(lambda: list(found)), update_frequency=10.0)
    assert not balancer.discovered
    world, _ = running(balancer)
    world.run(1.0)
    assert balancer.discovered
    assert ready(balancer) == {A}
    found[:] = [Backend(A), Backend(B)]
    world.run(11.0)
    assert ready(balancer) == {A, B}


def test_a_discovery_that_fails_leaves_the_set_and_is_ready_all_the_same():
    answers = [[Backend(A)], OSError("down"), [Backend(A), Backend(A, 2)], [Backend(B)]]

    def discover():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    balancer = LoadBalancer(CallDiscovery(discover), update_frequency=10.0)
    world, driver = running(balancer)
    world.run(25.0)
    assert ready(balancer) == {A}
    assert "down" in texts(driver)[0]
    assert "is there twice" in texts(driver)[1]
    world.run(31.0)
    assert ready(balancer) == {B}


class Late:
    """Takes three seconds for a discovery."""

    def __init__(self, *found):
        self.found = found

    def discover(self):
        yield Sleep(3.0)
        if not self.found:
            raise OSError("down")
        return [Backend(one) for one in self.found], {}


@pytest.mark.parametrize("found", [(A,), ()])
def test_what_a_discovery_finds_that_was_replaced_meanwhile_is_dropped(found):
    balancer = LoadBalancer(Late(*found), update_frequency=10.0)
    balancer.update([Backend(A)])
    world, _ = running(balancer)
    world.run(1.0)
    balancer.discovery = Late(B, C)
    balancer.update([Backend(B)])
    world.run(5.0)
    assert ready(balancer) == {B}
    assert not balancer.discovered
    world.run(7.0)  # its successor was asked at once
    assert ready(balancer) == {B, C}
    assert balancer.discovered


def test_who_has_gone_since_a_pass_began_is_not_checked():
    check = TcpHealthCheck()
    asked = []
    peer = TcpHealthCheck.peer
    balancer = LoadBalancer([A, B, C], health_check=check)

    class Check(TcpHealthCheck):
        def peer(self, backend):
            asked.append(str(backend))
            if len(asked) == 1:
                balancer.update([Backend(A), Backend(C)])
            return peer(self, backend)

    balancer.health_check = Check()
    world, _ = running(balancer)
    world.run(20.0)
    assert asked == [A, C]
    assert ready(balancer) == {A}


def test_discovery_may_say_who_is_switched_off():
    class Switching:
        def __init__(self):
            self.enabled = {}

        def discover(self):
            yield from ()
            return [Backend(A), Backend(B)], dict(self.enabled)

    discovery = Switching()
    balancer = LoadBalancer(discovery, update_frequency=10.0)
    world, _ = running(balancer)
    world.run(1.0)
    assert ready(balancer) == {A, B}
    discovery.enabled = {Backend(A): False}
    world.run(11.0)
    assert ready(balancer) == {B}
    discovery.enabled = {}
    world.run(21.0)
    assert ready(balancer) == {B}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"health_check_frequency": 0.0}, "health_check_frequency is seconds above 0"),
        ({"update_frequency": -1.0}, "update_frequency is seconds above 0"),
        ({"parallel_health_check": 0}, "number of checks at once"),
        ({"jitter": 0.5}, "needs below="),
        ({"jitter": 2.0, "below": Random(1).below}, "share from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        LoadBalancer([A], **arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TcpHealthCheck(success_threshold=0), "thresholds are 1 or more"),
        (lambda: HttpHealthCheck(host="a", timeout=0), "timeout of a health check"),
        (lambda: OutlierDetection(consecutive_failures=0), "consecutive_failures is 1 or more"),
        (lambda: OutlierDetection(base_ejection_time=0), "ejection times"),
        (lambda: OutlierDetection(max_ejection_percent=101), "max_ejection_percent"),
    ],
)
def test_checks_out_of_range_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_every_address_of_a_name_and_those_that_change():
    world = World(seed=1)
    world.names = {"app.internal": ["10.0.0.10"], "more.internal": ["10.0.0.11", "10.0.0.10"]}
    balancer = LoadBalancer(DnsDiscovery(["app.internal:80", Backend("more.internal:80", 3)]), update_frequency=10.0)
    _, driver = running(balancer, world)
    world.run(1.0)
    assert balancer.backends.get_backend() == [Backend(A), Backend(B, 3)]
    assert ask(world).startswith(b"HTTP/1.1 200 ")
    world.names["app.internal"] = ["10.0.0.12"]
    world.run(11.0)
    assert balancer.backends.get_backend() == [Backend(A, 3), Backend(B, 3), Backend(C)]
    del world.names["more.internal"]
    world.run(21.0)
    assert len(balancer.backends.get_backend()) == 3
    assert "no host 'more.internal'" in texts(driver)[-1]


def test_a_service_and_what_takes_its_place():
    world = World(seed=1)
    world.services["_http._tcp.app.internal"] = records = [
        ServiceRecord(1, 3, SocketAddr.parse(A)),
        ServiceRecord(1, 0, SocketAddr.parse(B)),
        ServiceRecord(2, 9, SocketAddr.parse(C)),
        ServiceRecord(1, 4, SocketAddr.parse(A)),
    ]
    balancer = LoadBalancer(DnsSrvDiscovery("_http._tcp.app.internal"), update_frequency=10.0)
    _, driver = running(balancer, world)
    world.run(1.0)
    assert balancer.backends.get_backend() == [Backend(A, 7), Backend(B, 1)]
    assert ask(world).startswith(b"HTTP/1.1 200 ")
    records[:] = [record for record in records if record.priority == 2]
    world.run(11.0)
    assert balancer.backends.get_backend() == [Backend(C, 9)]
    del world.services["_http._tcp.app.internal"]
    world.run(21.0)
    assert balancer.backends.get_backend() == [Backend(C, 9)]
    assert "no service '_http._tcp.app.internal'" in texts(driver)[-1]
    world.services["_http._tcp.app.internal"] = []
    world.run(31.0)
    assert balancer.backends.get_backend() == []
