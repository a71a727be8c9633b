"""Targets over the small readers: PROXY protocol, CONNECT, ClientHello, preface, configuration, addresses, fields."""

from __future__ import annotations

import re
from random import Random
from zlib import crc32

from fuzz.target import Target
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2.heads import request_items, request_of, response_items, response_of
from sansio_pingora.layers import RawConnect
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import ServerAddress
from sansio_pingora.modules.conditional import not_modified_filter, precondition_failed
from sansio_pingora.modules.negotiation import accepted_codings, choose_coding
from sansio_pingora.modules.ranges import satisfiable_ranges
from sansio_pingora.proxy_protocol import NoProxyHeader, ProxyHeader, ProxyTlv, ReadProxyHeader, read_proxy_header
from sansio_pingora.server import ConfError, conf_from_yaml
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import feed
from sansio_pingora.tls import ClientHello, HelloFault, HelloReader, NotTls
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import Proxy
from sansio_pingora.wire import Authority, Fields, MessageFault, RequestHeader, ResponseHeader
from sansio_pingora.wire.dates import http_date, parse_http_date
from tests.http1.generated import pipeline
from tests.http1.runs import at_random, run_server, whole
from tests.http2.generated import conversation
from tests.server.test_configuration import BROKEN, GOOD
from tests.tls.hellos import hello

__all__ = ["TARGETS"]


def proxy_protocol(data: bytes) -> None:
    """The answer to a PROXY header depends on its bytes alone; once there it stays; written again it reads the same."""
    outcomes = []
    for stop in range(min(len(data), 300) + 1):
        try:
            outcomes.append(read_proxy_header(data[:stop]))
        except Error as error:
            assert error.etype is ErrorType.HANDSHAKE_ERROR
            outcomes.append(error.context)
    settled = [outcome for outcome in outcomes if outcome is not None]
    kinds = {type(outcome) for outcome in settled}
    assert len(kinds) <= 1, kinds
    for outcome in settled:
        if isinstance(outcome, ReadProxyHeader):
            assert outcome == settled[0]
            assert outcome.size <= len(data)
            again = read_proxy_header(outcome.header.to_bytes())
            assert isinstance(again, ReadProxyHeader)
            assert again.header == outcome.header
        else:
            assert isinstance(outcome, str | NoProxyHeader)


def raw_connect(data: bytes) -> None:
    """The answer to CONNECT opens the tunnel or fails, however it is cut, and what is behind its head is the tunnel's."""
    outcomes = []
    for pieces in ([data] if data else [], at_random(data, crc32(data))):
        tunnel = RawConnect(Proxy("127.0.0.1:1", "a.test", 443).request(), Limits(max_informational=3))
        taken = 0
        try:
            for piece in pieces:
                taken += len(piece)
                if tunnel.receive_data(piece):
                    break
        except Error as error:
            assert error.etype is ErrorType.CONNECT_PROXY_FAILURE
            outcomes.append(str(error))
            continue
        if tunnel.response is None:
            outcomes.append("waits")
            continue
        assert 200 <= tunnel.response.status <= 299
        outcomes.append((tunnel.response.status, tunnel.rest + data[taken:]))
    assert outcomes[0] == outcomes[1], outcomes


def client_hello(data: bytes) -> None:
    """A ClientHello reads the same however it is cut; nothing but NotTls and HelloFault is raised."""
    outcomes: list[object] = []
    for pieces in (
        [data] if data else [],
        at_random(data, crc32(data)),
        [data[at : at + 1] for at in range(len(data))],
    ):
        reader = HelloReader(4_000)
        found: object = None
        try:
            for piece in pieces:
                found = reader.feed(piece)
                if found is not None:
                    break
        except NotTls:
            found = "no TLS"
        except HelloFault as fault:
            assert fault.alert in {10, 22, 47, 50}
            found = "a fault"
        if isinstance(found, ClientHello):
            assert found.version_names is not None
        outcomes.append(found)
    assert outcomes[0] == outcomes[1] == outcomes[2], outcomes


def preface(data: bytes) -> None:
    """Any first bytes, however cut, choose the same protocol and tell the same requests."""
    one = feed(ServerConnection(now=0.0), [data] if data else [])
    other = feed(ServerConnection(now=0.0), at_random(data, crc32(data)))
    if not data.startswith(b"PRI * HTTP/2.0"):  # its frames are another target's
        assert one == other


_PROBLEM = re.compile(r"f\.yaml(:\d+:\d+)? \S")


def configuration(data: bytes) -> None:
    """Any text is a configuration or is refused, each problem in one line that begins with file, line and column."""
    try:
        conf = conf_from_yaml(data.decode("utf-8", "replace"), "f.yaml")
    except ConfError as refused:
        assert refused.problems
        for problem in refused.problems:
            assert _PROBLEM.match(problem), problem
            assert "\n" not in problem, problem
        return
    assert all("\n" not in warning for warning in conf.warnings)


def addresses(data: bytes) -> None:
    """An address is refused with ValueError or its text reads back as itself; an authority's bytes likewise."""
    text = data.decode("utf-8", "replace")
    for parse in (SocketAddr.parse, ServerAddress.parse):
        try:
            found = parse(text)
        except ValueError as exc:
            assert str(exc)
        else:
            assert parse(str(found)) == found
    authority = Authority.parse(data)
    if authority is not None:
        assert Authority.parse(bytes(authority)) == authority
        assert b"@" not in authority.host
        assert b"," not in authority.host


def fields(data: bytes) -> None:
    """Fields that are taken are written canonically and read back the same; h2's crumbs of a cookie become one line."""
    made = Fields()
    pairs = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b":")
        try:
            made.append(name, value)
        except Error as error:
            assert error.etype is ErrorType.INVALID_HTTP_HEADER
        else:
            pairs.append((name, made.items[-1][1]))
    assert [(name, value) for name, value in made] == pairs
    seen = run_server(whole(b"GET / HTTP/1.1\r\nHost: a\r\n" + made.to_bytes() + b"\r\n")).events
    if seen and seen[0][1] == "request":
        lines = [(name.lower(), value) for name, value in pairs]
        read = [(name, value) for name, value in seen[0][5]][1:]
        assert read == [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in lines], (read, lines)
    items = [(name.lower(), value) for name, value in pairs if name.lower() != b"host"]
    try:
        request = request_of(
            [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"), *items]
        ).head
        response, _ = response_of([(b":status", b"200"), *items])
    except MessageFault:
        return
    assert len(request.fields.get_all(b"cookie")) <= 1
    assert _regular(request_of(_lower(request_items(request))).head) == _regular(request)
    assert _regular(response_of(_lower(response_items(response)))[0]) == _regular(response)


def _regular(head: RequestHeader | ResponseHeader) -> list[tuple[bytes, bytes]]:
    """The fields of a head but TE, which is of one connection alone."""
    return [item for item in head.fields if item[0] != b"te"]


def _lower(items: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in items]


def values(data: bytes) -> None:
    """Any value of a field that is looked into gives an answer within its bounds, and nothing is raised."""
    line = data.replace(b"\r", b"").replace(b"\n", b"").strip(b" \t").replace(b"\0", b"")
    for size in (0, 1, 1_000):
        found = satisfiable_ranges(line, size, 16)
        assert found is None or all(0 <= start < stop <= size for start, stop in found)
        assert found is None or len(found) <= 16
        assert found is None or sum(stop - start for start, stop in found) <= size
    try:
        asked = Fields([(b"accept-encoding", line)])
    except Error:
        return
    weights = accepted_codings(asked)
    assert all(0.0 <= weight <= 1.0 for weight in weights.values())
    assert choose_coding(weights, ("br", "zstd", "gzip")) in {None, "br", "zstd", "gzip"}
    second = parse_http_date(line)
    if second is not None and second >= 0:
        assert parse_http_date(http_date(second)) == second
    for name in ("if-none-match", "if-match", "if-modified-since", "if-unmodified-since", "if-range"):
        request = RequestHeader("GET", "/", [("Host", "a"), (name, line)])
        response = ResponseHeader(200, [("etag", line), ("last-modified", line)])
        assert precondition_failed(request, response) in {True, False}
        assert not_modified_filter(request, response) in {True, False}


def _proxy_headers() -> list[bytes]:
    four = SocketAddr("192.0.2.1", 56_324), SocketAddr("198.51.100.7", 443)
    six = SocketAddr("2001:db8::1", 1), SocketAddr("2001:db8::2", 65_535)
    path = SocketAddr(path="/run/x.sock")
    tlvs = (ProxyTlv(1, b"h2"), ProxyTlv(2, b"a.test"), ProxyTlv(0x20, b"\x01\0\0\0\0" + b"\x21\0\x03TLS"))
    made = [ProxyHeader(version, *ends) for version in (1, 2) for ends in (four, six)]
    made += [ProxyHeader(2, *four, tlvs=tlvs), ProxyHeader(2, path, path), ProxyHeader(2, local=True), ProxyHeader(1)]
    return [header.to_bytes() for header in made] + [ProxyHeader(2, *four, tlvs=tlvs).to_bytes(checksum=True)]


TARGETS = (
    Target(
        "proxy-protocol",
        proxy_protocol,
        _proxy_headers,
        (
            b"PROXY ",
            b"TCP4 ",
            b"TCP6 ",
            b"UNKNOWN",
            b"\r\n\r\n\0\r\nQUIT\n",
            b"\x21\x11",
            b"\x03\0\x04",
            b"::1",
            b"65535",
        ),
    ),
    Target(
        "raw-connect",
        raw_connect,
        lambda: [
            b"HTTP/1.1 200 OK\r\n\r\nrest",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 \r\nContent-Length: 3\r\n\r\n",
            b'HTTP/1.1 502 Bad Gateway\r\nProxy-Status: a; error="x"\r\n\r\n',
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
        (b"HTTP/1.1 ", b"200", b"407", b"101 Switching\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n"),
    ),
    Target(
        "client-hello",
        client_hello,
        lambda: [hello("a.test", ["h2", "http/1.1"]), hello(None, []), b"GET / HTTP/1.1\r\n"],
        (b"\x16\x03\x01\0", b"\x01\0\0", b"\0\0\0\x0b\0\x09\0\0\x06a.test", b"\0\x2b\0\x03\x02\x03\x04", b"\x5a\x5a"),
    ),
    Target(
        "preface",
        preface,
        lambda: [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"".join(conversation(Random(1), client=True)[1]),
            pipeline(Random(1)),
            b"\x16\x03\x01\x02\x00",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        ],
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\0\0\x04\0\0\0\0\0"),
    ),
    Target(
        "configuration",
        configuration,
        lambda: [GOOD.encode(), *(text.encode() for text, _ in BROKEN.values())],
        (
            *b"version: 1|runtime: asyncio|threads: |limits: {|services:\n  - name: a\n    kind: proxy\n|listeners: ".split(
                b"|"
            ),
            *b'tcp: "127.0.0.1:1"|uds: /a|upstreams: |address: |weight: |tls: {|balance: |null|true|1e999|0x1f'.split(
                b"|"
            ),
            *b"[|]|{|}|: |- |&a |*a|<<: |!!int |!a |---\n|...\n|%YAML 1.1\n|? |> |\x7c |\xef\xbb\xbf|#|'|\"|\\x00|\t".split(
                b"|"
            ),
        ),
    ),
    Target(
        "addresses",
        addresses,
        lambda: [b"127.0.0.1:80", b"[::1]:8080", b"unix:/run/x.sock", b"a.test", b"[fe80::1]:1", b"localhost:0"],
        (b"[", b"]", b":", b"::", b"unix:", b"65535", b"65536", b"127.0.0.1", b"@", b"%25eth0", b"\xd9\xa1"),
    ),
    Target(
        "fields",
        fields,
        lambda: [
            b"Cookie:a=b\ncookie:c=d\nX:y",
            b"Transfer-Encoding:chunked\nContent-Length:3",
            b"TE:trailers\nConnection:close\nPriority:u=1, i",
            b"Host:b\nX-A: b \nx-a:\xe9",
        ],
        tuple(
            b"Cookie:|\n|: |Host:|TE:trailers|Connection:|Content-Length:|Priority:u=|, i|; |\xe9|Expect:100-continue".split(
                b"|"
            )
        ),
    ),
    Target(
        "field-values",
        values,
        lambda: [
            b"bytes=0-5, 10-, -3",
            b"gzip;q=0.5, br;q=1.000, *;q=0, identity",
            b"Tue, 01 Oct 2024 12:00:00 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
            b'W/"a", "b", *',
        ],
        tuple(b'bytes=|-|,|;q=|0.|1.000|gzip|br|zstd|identity|*|W/"|"|GMT|Sun, |Nov|Feb|29|1994|9999'.split(b"|")),
    ),
)
