"""What becomes of a configuration: applications, peers, checks."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import OriginApp, PrometheusApp, ServiceMetrics
from sansio_pingora.balancing import DnsDiscovery, OutlierDetection
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.server import BalancedProxy, ConfError, Surroundings, conf_from_yaml, configured_services
from sansio_pingora.services import FailurePolicy, Service
from sansio_pingora.upstreams import ALPN, CaCerts, HttpPeer
from tests.tls.certs import ca, cert


def read_ca(path: str) -> CaCerts:
    if path != "ca.pem":
        raise Error(ErrorType.FILE_READ_ERROR, f"{path}: gone")
    return ca()


AROUND = Surroundings(lambda top: 0, lambda service: None, read_ca, lambda c, k: cert("c.test"))
EDGE = "services:\n  - name: edge\n    kind: proxy\n    listeners: [{tcp: '127.0.0.1:1'}]\n"


def made(text: str) -> dict[str, list[Service]]:
    return configured_services(conf_from_yaml(text, "c.yaml"), AROUND)


def peers(proxy: BalancedProxy, count: int) -> list[HttpPeer]:
    ctx = proxy.new_ctx()
    return [proxy.balancer.peer(tried=ctx.tried, make=ctx.make) for _ in range(count)]


def test_each_upstream_is_spoken_to_in_its_own_way():
    text = EDGE + (
        "    upstreams:\n"
        "      - {address: 'a.test:1', tls: {ca: ca.pem, cert: c, key: k, alternative_cn: b.test}}\n"
        "      - {address: '127.0.0.1:2', alpn: [h2]}\n"
        "      - {address: 'unix:/run/app.sock', tls: {sni: app.test, verify: false}, alpn: [http/1.1]}\n"
    )
    app = made(text)["edge"][0].app
    found = {str(peer.address): peer for peer in peers(app, 3)}
    first, second, third = found["a.test:1"], found["127.0.0.1:2"], found["unix:/run/app.sock"]

    assert (first.tls, first.tls_name, first.options.alpn) == (True, "a.test", ALPN.H2H1)
    assert (first.options.ca, first.client_cert_key) == (ca(), cert("c.test"))
    assert (first.options.alternative_cn, first.options.verify_cert) == ("b.test", True)
    assert (second.tls, second.options.alpn) == (False, ALPN.H2)
    assert (third.tls_name, third.options.verify_cert, third.options.verify_hostname) == ("app.test", False, False)


def test_a_discovered_address_is_asked_by_the_name():
    text = EDGE + "    upstreams: [{address: 'a.test:1', tls: {}}]\n    discovery: dns\n    update_frequency: 7\n"
    app = made(text)["edge"][0].app

    assert isinstance(app.balancer.discovery, DnsDiscovery)
    assert app.balancer.update_frequency == 7.0
    (name,) = app.balancer.discovery.names
    app.balancer.update([type(name)("192.0.2.7:1", name.weight, name.ext)])
    (peer,) = peers(app, 1)
    assert (str(peer.address), peer.tls_name) == ("192.0.2.7:1", "a.test")


def test_checks_reach_an_upstream_as_requests_do():
    checks = "    health_check: {kind: http, host: h.test, path: /up, failure_threshold: 2, parallel: 3}\n"
    detection = "    outlier_detection: {consecutive_failures: 2}\n"
    app = made(EDGE + "    upstreams: [{address: 'a.test:1', tls: {}}]\n" + checks + detection)["edge"][0].app
    check = app.balancer.health_check

    (backend,) = app.balancer.backends.states
    assert (check.peer(backend).tls, check.head().target, check.threshold(False)) == (True, b"/up", 2)
    assert (app.balancer.parallel_health_check, app.balancer.health_check_frequency) == (3, 5.0)
    assert app.balancer.outlier_detection == OutlierDetection(consecutive_failures=2)


def test_other_upstreams_are_taken_whole_or_not_at_all():
    before = conf_from_yaml(EDGE + "    upstreams: [{address: 'a.test:1'}]\n", "c.yaml")
    app = configured_services(before, AROUND)["edge"][0].app
    bad = conf_from_yaml(EDGE + "    upstreams: [{address: 'b.test:1', tls: {ca: other.pem}}]\n", "c.yaml")
    good = conf_from_yaml(EDGE + "    upstreams: [{address: 'a.test:1', tls: {ca: ca.pem}}]\n", "c.yaml")

    with pytest.raises(Error, match=r"other\.pem: gone"):
        app.prepare(bad.services[0], bad)
    assert not peers(app, 1)[0].tls
    assert app.prepare(good.services[0], good)() is False  # the same addresses
    assert peers(app, 1)[0].tls


def test_files_that_cannot_be_read_name_the_service():
    with pytest.raises(ConfError, match=r"^c\.yaml:2:5 other\.pem: gone"):
        made(EDGE + "    upstreams: [{address: 'b.test:1', tls: {ca: other.pem}}]\n")


def test_services_have_their_policy_and_count_for_one_that_tells():
    both = EDGE + "    upstreams: [{address: 'a.test:1'}]\n"
    told = "  - {name: m, kind: prometheus, listeners: [{tcp: '127.0.0.1:2'}]}\n"
    origin = "  - {name: o, kind: origin, listeners: [{tcp: '127.0.0.1:3'}]}\n"

    assert made(both + "    failure: retry\n")["edge"][0].failure is FailurePolicy.RETRY
    assert "metrics" not in made(both)["edge"][0].options
    services = made(both + told + origin)
    assert isinstance(services["m"][0].app, PrometheusApp)
    assert isinstance(services["o"][0].app, OriginApp)
    assert isinstance(services["edge"][0].options["metrics"], ServiceMetrics)
    assert "metrics" not in services["m"][0].options
    assert services["o"][0].options["ws_max_message"] == OriginApp.limits["ws_max_message"]


def test_a_balancer_works_once_beside_two_services():
    text = EDGE.replace("[{tcp: '127.0.0.1:1'}]", "[{tcp: '127.0.0.1:1'}, {tcp: '127.0.0.1:2', h2c: true}]")
    plain, h2c = made(text + "    upstreams: [{address: 'a.test:1'}]\n")["edge"]

    assert plain.options["background"] is plain.app.balancer
    assert "background" not in h2c.options
