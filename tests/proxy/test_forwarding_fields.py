"""Via, Forwarded and X-Forwarded-*, who is believed, and error pages by a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.apps import HttpOptions
from sansio_pingora.proxy import HttpProxy, ProxyOptions
from sansio_pingora.session import ServerSession
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Header, RequestHeader, ResponseHeader
from tests.proxy.harness import GET, OK, App, Bench, head_of, status_of

CLIENT = "10.0.0.1"  # of the bench


def bench_with(app=None, **options):
    bench = Bench(app or App())
    bench.acceptor._handler.filters.__init__(bench.app, ProxyOptions(**options))
    return bench


def sent(fields=b"", version=b"1.1", **options):
    """The fields that an origin gets."""
    bench = bench_with(**options)
    client = bench.client()
    client.send(b"GET / HTTP/%b\r\nHost: a.test:80\r\n%b\r\n" % (version, fields))
    return head_of(bench.origin.take())[1]


def test_nothing_is_added_and_all_passes_unless_asked_for():
    said = b"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 other\r\n"
    assert sent(said) == {
        b"host": b"a.test:80",
        b"x-forwarded-for": b"1.2.3.4",
        b"forwarded": b"for=1.2.3.4",
        b"via": b"1.1 other",
    }


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_via_of_requests_says_how_they_came(version):
    assert sent(version=version, via="edge-1")[b"via"] == version + b" edge-1"
    assert sent(b"Via: 1.1 a\r\nVia: 2 b\r\n", version, via="edge-1")[b"via"] == b"1.1 a, 2 b, %b edge-1" % version


@pytest.mark.parametrize(("version", "there"), [(b"1.1", b""), (b"1.0", b"Via: 1.1 origin\r\n")])
def test_via_of_responses(version, there):
    bench = bench_with(via="edge-1")
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/%b 200 OK\r\n%bContent-Length: 0\r\n\r\n" % (version, there))
    before = b"1.1 origin, " if there else b""
    assert head_of(client.take())[1][b"via"] == before + version + b" edge-1"


def test_x_forwarded_of_a_client():
    assert sent(forwarded="x-forwarded") == {
        b"host": b"a.test:80",
        b"x-forwarded-for": CLIENT.encode(),
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"a.test:80",
        b"x-forwarded-port": b"80",
    }


LIES = (
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\n"
    b"X-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n"
)


def test_what_a_stranger_says_of_itself_is_taken_away():
    assert sent(LIES, forwarded="x-forwarded") == sent(forwarded="x-forwarded")
    assert sent(LIES, forwarded="both", trusted_proxies=["192.168.0.0/16"]) == sent(forwarded="both")


def test_what_a_proxy_of_ours_says_is_added_to():
    fields = sent(LIES, forwarded="both", trusted_proxies=["10.0.0.0/8"])
    assert fields[b"x-forwarded-for"] == b"127.0.0.1, 10.0.0.1"
    assert fields[b"x-forwarded-proto"] == b"https"
    assert fields[b"x-forwarded-host"] == b"b"
    assert fields[b"x-forwarded-port"] == b"443"
    assert fields[b"forwarded"] == b'for=127.0.0.1, for=10.0.0.1;host="a.test:80";proto=http'
    assert fields[b"x-real-ip"] == b"127.0.0.1"


def test_hop_by_hop_fields_cannot_take_them_away():
    fields = sent(b"Connection: x-forwarded-for, forwarded, via\r\n", forwarded="both", via="edge")
    assert {b"x-forwarded-for", b"forwarded", b"via"} <= fields.keys()


@pytest.mark.parametrize(
    ("peer", "node", "listed"),
    [
        (SocketAddr("2001:db8::1", 4), b'"[2001:db8::1]"', b"2001:db8::1"),
        (SocketAddr(path="/run/x.sock"), b"unknown", None),
        (None, b"unknown", None),
    ],
)
def test_clients_of_other_kinds(peer, node, listed):
    forwarding = ProxyOptions(forwarded="both").forwarding()
    info = TransportInfo(peer, SocketAddr(path="/run/x.sock"), 0.0)
    request = RequestHeader("GET", "/", [("Host", "a.test")])
    session = ServerSession(None, 1, Header(request.clone(), True), info, 0.0, {})
    forwarding.request(request, session)
    assert request.get("forwarded") == b"for=%b;host=a.test;proto=http" % node
    assert request.get("x-forwarded-for") == listed
    assert request.get("x-forwarded-port") is None


def test_unix_clients_may_be_trusted():
    forwarding = ProxyOptions(forwarded="x-forwarded", trusted_proxies="unix 10.0.0.0/8").forwarding()
    request = RequestHeader("GET", "/", [("Host", "a.test"), ("X-Forwarded-For", "1.2.3.4")])
    session = ServerSession(None, 1, Header(request.clone(), True), TransportInfo(None, None, 0.0), 0.0, {})
    forwarding.request(request, session)
    assert request.get("x-forwarded-for") == b"1.2.3.4"


def test_each_attempt_says_it_once():
    bench = bench_with(forwarded="both", via="edge")
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    bench.origin.take()
    client.send(GET)
    bench.origin.eof()
    fields = head_of(bench.origin.take())[1]
    assert len(bench.origins) == 2
    assert fields[b"x-forwarded-for"] == CLIENT.encode()
    assert fields[b"via"] == b"1.1 edge"


def test_informational_heads_have_no_via():
    bench = bench_with(via="edge")
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert client.take().count(b"Via: 1.1 edge") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"via": "two words"}, "option 'via' is a name"),
        ({"via": ""}, "option 'via' is a name"),
        ({"via": 3}, "option 'via' is text"),
        ({"error_page": b"x"}, "option 'error_page' is text"),
        ({"forwarded": "yes"}, "option 'forwarded' is one of"),
        ({"trusted_proxies": ["10.0.0.0/8"]}, "no effect without 'forwarded'"),
        ({"trusted_proxies": "10.0.0.1/8", "forwarded": "both"}, "trusted source '10.0.0.1/8'"),
    ],
)
def test_options_that_are_none(options, says):
    with pytest.raises(ValueError, match=says):
        ProxyOptions(**options)


# ── error pages ──────────────────────────────────────────────────────────────────────

PAGE = "<h1>{status} {reason}</h1><style>h1 {color: red}</style>"


def failed(request=GET, app=None, **options):
    bench = bench_with(app, **options)
    client = bench.client()
    client.send(request)
    if bench.origins:
        bench.origin.eof()
    return client.take()


def test_an_error_page_by_a_template():
    start, fields, body = head_of(failed(error_page=PAGE))
    assert start == b"HTTP/1.1 502 Bad Gateway"
    assert body == b"<h1>502 Bad Gateway</h1><style>h1 {color: red}</style>"
    assert fields[b"content-type"] == b"text/html; charset=utf-8"
    assert fields[b"content-length"] == b"%d" % len(body)
    assert fields[b"cache-control"] == b"private, no-store"


@pytest.mark.parametrize(
    ("template", "kind", "body"),
    [
        ('{"error": {status}}', b"application/json", b'{"error": 502}'),
        ("Sorry: {reason} \N{SNOWMAN}", b"text/plain; charset=utf-8", "Sorry: Bad Gateway \N{SNOWMAN}".encode()),
    ],
)
def test_other_kinds_of_templates(template, kind, body):
    _, fields, got = head_of(failed(error_page=template))
    assert (fields[b"content-type"], got) == (kind, body)


def test_head_has_the_length_alone():
    _, fields, body = head_of(failed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", error_page="{status}"))
    assert fields[b"content-length"] == b"3"
    assert body == b""


def test_the_connection_stays_and_filters_see_the_page():
    class Marks(App):
        def response_filter(self, session, response, ctx):
            assert session.generated
            response.insert("x-page", str(response.status))

        def upstream_peer(self, session, ctx):
            raise ValueError

    answers = failed(GET + GET, Marks(), error_page="{status}")
    assert answers.count(b"x-page: 500\r\n") == answers.count(b"\r\n\r\n500") == 2


@given(st.integers(200, 599))
def test_every_status_makes_a_legal_page(status):
    head, body = ProxyOptions(error_page=PAGE).template().render(status)
    assert isinstance(head, ResponseHeader)
    assert head.get("content-length") == b"%d" % len(body)
    assert (body == b"") is (status in (204, 205, 304))


def test_a_whole_proxy_takes_its_options():
    proxy = HttpProxy(App(), None, HttpOptions(), ProxyOptions(via="edge"))
    assert proxy._filters.forwarding.via == b"edge"
    assert status_of(failed()) == 502
