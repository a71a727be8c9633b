"""The 123 cases of Pingora's own HTTP/1 session tests, as observations on our machines.

``same``: ours does what Pingora does. ``deviation``: it was decided otherwise, and the row says
why. ``elsewhere``: the case is about something that these machines do not have, and the row says
where it went. ``⏎`` is CRLF, ``␍`` CR, ``␊`` LF and ``¦`` the boundary between two reads; EOF ends the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1 import Http1Client, NativeCodec
from sansio_pingora.http1.keepalive import may_persist
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing
from sansio_pingora.wire import (
    UNTIL_CLOSE,
    Body,
    Done,
    Fields,
    Header,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    UpgradedBody,
    request_framing,
)
from tests.http1.runs import Run, make_client, make_server, plain, read_responses, run_client, run_server

SIGNS = {"⏎": "\r\n", "␍": "\r", "␊": "\n", "␠": " "}


def cut(script: str) -> tuple[list[bytes], bool]:
    """The reads of a script, and whether the peer ends behind them."""
    script, eof = (script.removesuffix("EOF"), True) if script.endswith("EOF") else (script, False)
    pieces = []
    for part in script.split("¦"):
        for sign, text in SIGNS.items():
            part = part.replace(sign, text)
        pieces.append(part.encode("latin-1"))
    return [piece for piece in pieces if piece], eof


def server(script: str, **options: Any) -> Run:
    pieces, eof = cut(script)
    return run_server(pieces, eof=eof, **options)


def client(script: str, request: RequestHeader | None = None, **options: Any) -> Run:
    pieces, eof = cut(script)
    return run_client(pieces, eof=eof, request=request, **options)


def chunks(script: str) -> Run:
    """A chunked body towards a server, with the script as the bytes behind the head."""
    return server("POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎¦" + script)


Check = Callable[[], None]


@dataclass
class Case:
    """One row of the table."""

    check: Check | None
    verdict: str = "same"
    reason: str = ""


def seen(run: Callable[[], Run], *expected: list[str], **facts: Any) -> Check:
    def check() -> None:
        found = run()
        assert found.seen == list(expected)
        assert not found.failures
        for name, value in facts.items():
            assert getattr(found, name) == value

    return check


def refused(run: Callable[[], Run], status: int = 400) -> Check:
    def check() -> None:
        found = run()
        assert found.seen == []
        assert found.refused
        assert found.statuses == [status]

    return check


def left(run: Callable[[], Run]) -> Check:
    """The peer was gone before its message was whole."""

    def check() -> None:
        found = run()
        assert found.seen == []
        assert found.failures[-1][2] == "ConnectionClosed"
        assert found.connection.closing

    return check


def answered(run: Callable[[], Run], body: bytes, *, reusable: bool, failed: bool = False) -> Check:
    def check() -> None:
        found = run()
        assert b"".join(event[2] for event in found.events if event[1] == "body") == body
        assert bool(found.failures) == failed
        assert found.reusable == reusable

    return check


def all_of(*checks: Check) -> Check:
    def check() -> None:
        for one in checks:
            one()

    return check


GET = ["GET", "/", ""]
ABC = ["POST", "/", "abc"]
POST_3 = "POST / HTTP/1.1⏎Host: a⏎Content-Length: 3⏎⏎"
CODED = "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: {}⏎⏎1⏎a⏎0⏎⏎"
NO_HOST = "an HTTP/1.1 request without Host is refused here, so the rows carry one"
STRICT_TE = "one `chunked` on one line is the only transfer coding; identity, lists and empty members are refused"
REPAIR = "illegal bytes in a target are refused, not escaped"
PIPELINED = "what is behind a complete body is the next request, served in order"
TRAILERS = "trailers are read by the grammar of fields, not skipped"


def with_te(*values: str) -> str:
    lines = "".join(f"Transfer-Encoding: {value}⏎" for value in values)
    return f"POST / HTTP/1.1⏎Host: a⏎{lines}⏎1⏎a⏎0⏎⏎"


def opened(raw: str, **options: Any) -> Any:
    """A server that has read *raw*."""
    machine = make_server(**options)
    for piece in cut(raw)[0]:
        machine.receive_data(piece, 0.0)
    return machine


def sends(raw: str, *tasks: Any) -> bytes:
    machine = opened(raw)
    for task in tasks:
        machine.send(1, task, 0.0)
    return b"".join(machine.data_to_send())


def persists(version: bytes, *connection: str) -> bool:
    head = ResponseHeader(200, [("Connection", value) for value in connection], version=version)
    return may_persist(head)


# ── checks that do not fit a line ────────────────────────────────────────────────────


def no_read_timeout_of_its_own() -> None:
    machine = make_server(limits=Limits(first_byte_timeout=1.0))
    assert machine.deadline == 1.0
    machine.handle_timeout(1.0)
    assert machine.closing is Closing.AFTER_FLUSH
    assert machine.data_to_send() == []


def body_times_out() -> None:
    machine = opened(POST_3, limits=Limits(body_idle_timeout=1.0))
    assert machine.deadline == 1.0
    (failed,) = map(plain, machine.handle_timeout(1.0))
    assert failed[1:] == ("failed", "ReadTimedout", 408)
    assert b" 408 " in b"".join(machine.data_to_send())


def until_close_is_not_kept() -> None:
    run = server(
        "GET / HTTP/1.0⏎Connection: keep-alive⏎⏎",
        answer=lambda c, s, _: c.send(s, Header(ResponseHeader(200), False), 0.0),
    )
    run.connection.data_to_send()
    out = read_responses(run.out)
    assert out[0][1]["connection"] == "close"
    assert not run.connection.keep


def reuse_after(script: str, extra: str, read: bool) -> None:
    target = "/" if read else "/noread"
    run = server(script.replace("POST /", f"POST {target}") + extra)
    assert [found[1] for found in run.seen][:1] == [target]
    if extra:
        assert run.refused  # the surplus is read as a request, and is none
    else:
        assert not run.over


def idle_end(abort: bool) -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎⏎", abort_on_close=abort)
    events = [plain(event) for event in machine.receive_eof(0.0)]
    assert [event[1:3] for event in events] == ([("failed", "ConnectionClosed")] if abort else [])
    if not abort:
        machine.send(1, Header(ResponseHeader(200), True), 0.0)
        assert b"Connection: close" in b"".join(machine.data_to_send())
    assert machine.closing is Closing.AFTER_FLUSH


def upgrade_offer(request: str, offered: bool) -> None:
    machine = opened(request)
    switch = Header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "x")]), False)
    if offered:
        machine.send(1, switch, 0.0)
        assert machine.sending.name == "RAW"
    else:
        with pytest.raises(LocalProtocolError):
            machine.send(1, switch, 0.0)


UPGRADE = "POST / HTTP/1.1⏎Host: a⏎Connection: upgrade⏎Upgrade: websocket⏎"
SWITCH = Header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "websocket")]), False)


def upgraded_after_body(framing: str, body: str, *, first_switch: bool, one_read: bool) -> None:
    machine = make_server()
    head, data = cut(UPGRADE + framing + "⏎⏎")[0][0], cut(body)[0][0]
    pieces = [head + data + b"data"] if one_read else [head, data, b"data"]
    events: list[Any] = []
    for at, piece in enumerate(pieces):
        if at == len(pieces) - 1 and not one_read and not first_switch:
            machine.send(1, SWITCH, 0.0)
        events += machine.receive_data(piece, 0.0)
        if at == 0 and first_switch:
            machine.send(1, SWITCH, 0.0)
    if one_read and not first_switch:
        machine.send(1, SWITCH, 0.0)
    events += machine.handle_timeout(0.0)
    events += machine.receive_eof(0.0)
    told = [plain(event) for event in events]
    assert b"".join(event[2] for event in told if event[1] == "body") == b"abcdefghij"
    assert b"".join(event[2] for event in told if event[1] == "raw") == b"data"
    assert told[-1] == (1, "raw", b"", True)


def continue_then_switch() -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎Connection: upgrade⏎Upgrade: x⏎⏎")
    machine.send(1, Header(ResponseHeader(100), False), 0.0)
    assert machine.receiving.name == "COMPLETE"
    machine.send(1, SWITCH, 0.0)
    assert machine.receiving.name == "RAW"
    assert [plain(event) for event in machine.receive_data(b"websocket data", 0.0)] == [
        (1, "raw", b"websocket data", False)
    ]


def nothing_follows_a_switch() -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎Connection: upgrade⏎Upgrade: x⏎⏎")
    machine.send(1, SWITCH, 0.0)
    machine.send(1, UpgradedBody(b"nPAYLOAD"), 0.0)
    with pytest.raises(LocalProtocolError):
        machine.send(1, Header(ResponseHeader(502), True), 0.0)
    assert b"".join(machine.data_to_send()).endswith(b"\r\n\r\nnPAYLOAD")


OFFER = RequestHeader("GET", "/", [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "websocket")])
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def client_upgrade(length: int) -> None:
    machine = make_client()
    machine.open_stream(0.0)
    head = OFFER.clone()
    head.insert("Content-Length", str(length))
    machine.send(1, Header(head, length == 0), 0.0)
    assert [plain(event)[2] for event in machine.receive_data(SWITCHED, 0.0)] == [101]
    if length:
        with pytest.raises(LocalProtocolError):
            machine.send(1, UpgradedBody(b"early"), 0.0)
        machine.send(1, Body(b"x" * length), 0.0)
    machine.send(1, UpgradedBody(b"data"), 0.0)
    assert b"".join(machine.data_to_send()).endswith(b"x" * length + b"data")
    assert [plain(event) for event in machine.receive_data(b"PAYLOAD", 0.0)] == [(1, "raw", b"PAYLOAD", False)]


def client_upgrade_in_one_read(eof: bool) -> None:
    run = run_client([SWITCHED + b"PAYLOAD"], request=OFFER, eof=eof)
    assert run.events[1] == (1, "raw", b"PAYLOAD", eof)


def wrong_kind_of_body() -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎Connection: upgrade⏎Upgrade: x⏎⏎")
    with pytest.raises(LocalProtocolError):
        machine.send(1, UpgradedBody(b"x"), 0.0)
    machine.send(1, SWITCH, 0.0)
    with pytest.raises(LocalProtocolError):
        machine.send(1, Body(b"x"), 0.0)


def head_on_the_wire() -> None:
    get = "GET / HTTP/1.1⏎Host: a⏎⏎"
    assert sends(get, Header(ResponseHeader(200, [("Foo", "Bar")]), True)).startswith(
        b"HTTP/1.1 200 OK\r\nFoo: Bar\r\n"
    )
    assert sends(get, Header(ResponseHeader(200, reason="Just Fine"), True)).startswith(b"HTTP/1.1 200 Just Fine\r\n")


def informational_then_final() -> None:
    out = sends("GET / HTTP/1.1⏎Host: a⏎⏎", Header(ResponseHeader(100), False), Header(ResponseHeader(200), True))
    assert [status for status, _, _ in read_responses(out)] == [100, 200]


def no_more_than_declared() -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎⏎")
    machine.send(1, Header(ResponseHeader(200, [("Content-Length", "1")]), False), 0.0)
    machine.send(1, Body(b"a"), 0.0)
    with pytest.raises(LocalProtocolError):
        machine.send(1, Body(b"a"), 0.0)
    machine.send(1, Done(), 0.0)
    assert read_responses(b"".join(machine.data_to_send()))[0][2] == b"a"


def chunks_on_the_wire() -> None:
    ten = Body(b"abcdefghij")
    out = sends("GET / HTTP/1.1⏎Host: a⏎⏎", Header(ResponseHeader(200), False), ten, ten, Done())
    assert out.endswith(b"\r\n\r\na\r\nabcdefghij\r\na\r\nabcdefghij\r\n0\r\n\r\n")


def until_close_on_the_wire() -> None:
    out = sends("GET / HTTP/1.0⏎⏎", Header(ResponseHeader(200), False), Body(b"raw"), Body(b"", True))
    assert out.endswith(b"\r\n\r\nraw")


def bodiless_on_the_wire() -> None:
    head = sends("HEAD / HTTP/1.1⏎Host: a⏎⏎", Header(ResponseHeader(200, [("Content-Length", "100")]), True))
    empty = sends("GET / HTTP/1.1⏎Host: a⏎⏎", Header(ResponseHeader(204, [("Content-Length", "0")]), True))
    assert head.endswith(b"Content-Length: 100\r\n\r\n")
    assert b"Content-Length" not in empty  # RFC 9110 section 8.6: a 204 has none


def least_send_rate() -> None:
    for rate, size, seconds in ((5000.0, 149_000, 29.8), (1.0, 0, 1.0)):
        machine = opened("GET / HTTP/1.1⏎Host: a⏎⏎", limits=Limits(min_send_rate=rate))
        machine.send(1, Header(ResponseHeader(200, [("Content-Length", str(size))]), size == 0), 0.0)
        machine.data_to_send()
        machine.write_resumed(0.0)
        if size:
            machine.send(1, Body(bytes(size)), 0.0)
            machine.data_to_send()
        machine.write_paused(0.0)
        assert machine.deadline == pytest.approx(seconds)


def write_times_out() -> None:
    machine = opened("GET / HTTP/1.1⏎Host: a⏎⏎", limits=Limits(write_idle_timeout=0.1))
    machine.send(1, Header(ResponseHeader(200), False), 0.0)
    machine.write_paused(0.0)
    assert machine.deadline == 0.1
    (failed,) = map(plain, machine.handle_timeout(0.1))
    assert failed[1:3] == ("failed", "WriteTimedout")
    assert machine.closing is Closing.ABORT


def informational_in_one_packet() -> None:
    early = "HTTP/1.1 100 Continue⏎⏎HTTP/1.1 103 Early Hints⏎⏎"
    run = client(early + "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎hello")
    assert [event[2] for event in run.events if event[1] == "response"] == [100, 103, 200]
    assert [event[-1] for event in run.events if event[1] == "response"] == [False, False, False]
    run = client(early + "HTTP/1.1 204 No Content⏎⏎")
    assert run.events[-1][2:] == (204, b"1.1", [], True)


def head_requests() -> None:
    head = RequestHeader("HEAD", "/", [("Host", "a")])
    run = client("HTTP/1.1 100 Continue⏎⏎HTTP/1.1 103 Early Hints⏎⏎HTTP/1.1 200 OK⏎Content-Length: 9⏎⏎", head)
    assert [event[-1] for event in run.events] == [False, False, True]
    assert run.reusable
    for status in (204, 304):
        assert client(f"HTTP/1.1 {status} X⏎⏎", head).events[-1][-1] is True


def declared_bodies() -> None:
    for text in ("-1", "abc", "1.5", "", "  ", "123abc"):
        refused(lambda text=text: server(f"POST / HTTP/1.1⏎Host: a⏎Content-Length: {text}⏎⏎"))()
        run = client(f"HTTP/1.1 200 OK⏎Content-Length: {text}⏎⏎")
        assert run.failures
        assert run.over
    for text in ("0", "123", "999999"):
        assert not server(f"POST / HTTP/1.1⏎Host: a⏎Content-Length: {text}⏎⏎").failures


def lists_of_codings(values: list[tuple[str, ...]], taken: tuple[str, ...] = ()) -> Check:
    def check() -> None:
        for value in values:
            run = server(with_te(*value))
            assert bool(run.seen) == (value in [(one,) for one in taken]), value
            assert run.refused or run.seen, value

    return check


def posting_without_a_length() -> None:
    machine = make_client()
    machine.open_stream(0.0)
    head = RequestHeader("POST", "/", [("Host", "a")])
    machine.send(1, Header(head, True), 0.0)
    assert b"Content-Length: 0\r\n\r\n" in b"".join(machine.data_to_send())
    assert request_framing(head) == 0


def lenient_length() -> None:
    limits = Limits()
    machine = Http1Client(limits, codec=NativeCodec(limits, server=False, lenient_length=True))
    machine.open_stream(0.0)
    machine.send(1, Header(RequestHeader("GET", "/", [("Host", "a")]), True), 0.0)
    events = machine.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nhello", 0.0)
    assert machine._read_framing == UNTIL_CLOSE
    assert plain(events[1]) == (1, "body", b"hello", False)
    assert not machine.keep


def preread(script: str, body: str) -> Check:
    return seen(lambda: chunks(script), ["POST", "/", body])


def bad_chunks(script: str) -> Check:
    return refused(lambda: chunks(script))


def cut_chunks(script: str) -> Check:
    return left(lambda: chunks(script))


def surplus(script: str) -> Check:
    """The body is whole, and what is behind it is read as a request."""

    def check() -> None:
        run = chunks(script)
        assert [found[0] for found in run.seen] == ["POST"]
        assert run.connection._codec.buffered or run.refused

    return check


def table_of_keepalive() -> None:
    assert not persists(b"1.1", "close")
    assert not persists(b"1.1", "upgrade,close")
    assert not persists(b"1.1", "close, Upgrade")
    assert persists(b"1.1", "foo")
    assert persists(b"1.1", "keep-alive")


def unread_is_waited_for() -> None:
    """A request without a body, and a client that goes on: nothing is read as its body."""
    run = server("GET / HTTP/1.0⏎¦Host: x⏎⏎¦a")
    assert run.seen == [GET]
    assert run.connection.closing


NEXT = "GET /2 HTTP/1.1⏎Host: a⏎⏎"
CASES: dict[int, Case] = {
    1: Case(refused(lambda: server("GET / HTTP/1.1⏎⏎")), "deviation", "Host is demanded of HTTP/1.1"),
    2: Case(seen(lambda: server("GET / HTTP/1.1⏎¦Host: pingora.org⏎⏎"), GET)),
    3: Case(refused(lambda: server("GET / HTP/1.1⏎"))),
    4: Case(
        refused(lambda: server("POST / HTTP/1.1⏎Host: pingora.org⏎Content-Length: 3␍␍␊Connection: keep-alive⏎⏎abc"))
    ),
    5: Case(
        refused(lambda: server("GET /a?q=b c HTTP/1.1⏎¦Host: pingora.org⏎Content-Length: 3⏎⏎¦abc")), "deviation", REPAIR
    ),
    6: Case(refused(lambda: server('GET /a?q=<"b c"> HTTP/1.1⏎Host: a⏎⏎')), "deviation", REPAIR),
    7: Case(refused(lambda: server('GET /a:"bc" HTTP/1.1⏎Host: a⏎⏎')), "deviation", REPAIR),
    8: Case(refused(lambda: server("GET  HTTP/1.1⏎Host: a⏎⏎"))),
    9: Case(refused(lambda: server("GET /\x01\xf0\x90\x80 HTTP/1.1⏎Host: a⏎⏎")), "deviation", REPAIR),
    10: Case(no_read_timeout_of_its_own, "deviation", "every wait for a peer has a deadline; none waits for ever"),
    11: Case(body_times_out),
    12: Case(seen(lambda: server(POST_3 + "¦abc"), ABC)),
    13: Case(seen(lambda: server(POST_3 + "abc"), ABC)),
    14: Case(unread_is_waited_for),
    15: Case(seen(lambda: server("GET / HTTP/1.0⏎Host: x⏎⏎a"), GET)),
    16: Case(seen(lambda: server("GET / HTTP/1.1⏎Host: a⏎⏎"), GET)),
    17: Case(seen(lambda: server("POST / HTTP/1.0⏎Host: a⏎Content-Length: 3⏎⏎abc"), ABC)),
    18: Case(refused(lambda: server("POST / HTTP/1.0⏎Host: a⏎Transfer-Encoding: chunked⏎⏎1⏎a⏎0⏎⏎"))),
    19: Case(
        refused(lambda: server("POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎Content-Length: 4⏎⏎")),
        "deviation",
        "both framings at once are refused, where Pingora drops the length",
    ),
    20: Case(
        refused(lambda: server("POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎Content-Length: 10⏎⏎")),
        "deviation",
        "as 19: refused and closed",
    ),
    21: Case(declared_bodies),
    22: Case(declared_bodies),
    23: Case(
        refused(
            lambda: server("POST / HTTP/1.1⏎Host: a⏎Content-Length: 1⏎Content-Length: 2⏎Transfer-Encoding: chunkeds⏎⏎")
        ),
        "deviation",
        "two lengths are refused beside a transfer coding as well",
    ),
    24: Case(
        lists_of_codings(
            [("chunked",), ("identity, chunked",), ("  chunked  ",), (", , , chunked",)], ("chunked", "  chunked  ")
        ),
        "deviation",
        STRICT_TE,
    ),
    25: Case(lists_of_codings([("identity",), ("chunked, ",), ("chunked, , ",), ("",), ("   ",)])),
    26: Case(
        lists_of_codings(
            [
                ("identity", "chunked"),
                ("gzip", "identity", "chunked"),
                ("gzip", "identity, chunked"),
                ("gzip", "  chunked  "),
            ]
        ),
        "deviation",
        STRICT_TE,
    ),
    27: Case(
        lists_of_codings(
            [
                ("identity", "gzip"),
                ("chunked", "identity"),
                ("gzip", "chunked, identity"),
                ("chunked", "identity, gzip"),
                ("gzip", "chunked, "),
            ]
        )
    ),
    28: Case(
        refused(
            lambda: server("POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: gzip⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎⏎"),
            501,
        ),
        "deviation",
        STRICT_TE,
    ),
    29: Case(
        refused(
            lambda: server(
                "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎Transfer-Encoding: identity⏎Content-Length: 5⏎⏎hello"
            )
        )
    ),
    30: Case(preread("1⏎a⏎¦0⏎⏎", "a")),
    31: Case(surplus("1⏎a⏎¦0⏎⏎abc"), "deviation", PIPELINED),
    32: Case(cut_chunks("0⏎EOF")),
    33: Case(cut_chunks("0⏎¦abcEOF")),
    34: Case(preread("0⏎⏎", "")),
    35: Case(bad_chunks("0⏎r␊")),
    36: Case(preread("0⏎¦⏎", "")),
    37: Case(preread("0␍¦␊¦⏎", "")),
    38: Case(preread("0␍¦␊¦␍¦␊", "")),
    39: Case(preread("0;aaaa⏎⏎", "")),
    40: Case(bad_chunks("0;¦" + "a" * 5120 + "¦" + "a" * 3072)),
    41: Case(preread("1⏎a⏎¦0⏎⏎", "a")),
    42: Case(bad_chunks("1⏎a␍n")),
    43: Case(preread("1⏎a␍¦␊0⏎⏎", "a")),
    44: Case(preread("3⏎¦abc␍¦␊0⏎⏎", "abc")),
    45: Case(preread("3⏎¦abc¦⏎0⏎⏎", "abc")),
    46: Case(cut_chunks("1⏎a⏎EOF")),
    47: Case(bad_chunks("1⏎a␍¦n0⏎⏎")),
    48: Case(preread("1⏎x⏎1⏎a⏎¦0⏎⏎", "xa")),
    49: Case(preread("1⏎a⏎2⏎bc⏎¦0⏎⏎", "abc")),
    50: Case(bad_chunks("1⏎a⏎2⏎bcr␊")),
    51: Case(bad_chunks("1⏎ar␊2⏎bc␍n")),
    52: Case(preread("3⏎a¦bc⏎0⏎⏎", "abc")),
    53: Case(preread("3⏎abc¦⏎0⏎⏎", "abc")),
    54: Case(cut_chunks("1␍EOF")),
    55: Case(preread("1␍¦␊a⏎0⏎␍¦␊", "a")),
    56: Case(surplus("1␍¦␊a⏎0⏎␍¦␊abcd"), "deviation", PIPELINED),
    57: Case(preread("1⏎a⏎0¦␍¦␊¦␍¦␊", "a")),
    58: Case(cut_chunks("1␍¦␊a⏎0⏎rEOF")),
    59: Case(preread("0⏎abc: hi¦⏎def: bye␍¦␊ghi: more⏎¦⏎", ""), "deviation", TRAILERS),
    60: Case(preread("0␍¦␊abc: hi⏎⏎", ""), "deviation", TRAILERS),
    61: Case(bad_chunks("0␍¦␊abc: hi␍n")),
    62: Case(cut_chunks("0␍¦␊abc: hi⏎EOF")),
    63: Case(bad_chunks("0⏎¦abc: hi⏎¦r␊")),
    64: Case(
        refused(lambda: chunks("0⏎¦abc:␠¦" + "a" * 61_440 + "¦⏎¦defghi:␠¦" + "a" * 5120), 431),
        "deviation",
        "max_trailers is 8 KiB",
    ),
    65: Case(
        all_of(
            preread("12⏎" + "a" * 18 + "⏎0⏎⏎", "a" * 18),
            preread("3086d⏎" + "a" * 198_765 + "⏎0⏎⏎", "a" * 198_765),
            bad_chunks("3735ab1 ; baz ⏎"),
            bad_chunks("567f8a␍foo"),
            bad_chunks("567xf8a⏎"),
            bad_chunks("f" * 16 + "⏎"),
            bad_chunks("1" * 17 + "⏎"),
        ),
        "deviation",
        "no blanks in a size line, and sizes of at most 63 bits",
    ),
    66: Case(seen(lambda: server(POST_3 + "¦a¦bc"), ABC)),
    67: Case(left(lambda: server(POST_3 + "¦aEOF"))),
    68: Case(
        seen(lambda: server(POST_3 + "¦a¦bc" + NEXT), ABC, ["GET", "/2", ""]),
        "deviation",
        PIPELINED,
    ),
    69: Case(answered(lambda: client("HTTP/1.1 200 OK⏎Content-Length: 3⏎⏎a¦bcd"), b"abc", reusable=False)),
    70: Case(seen(lambda: server(POST_3 + "ab¦c"), ABC)),
    71: Case(answered(lambda: client("HTTP/1.1 200 OK⏎⏎ab¦aEOF"), b"aba", reusable=False)),
    72: Case(seen(lambda: server("GET / HTTP/1.1⏎Host: a⏎Connection: close⏎⏎"), GET, over=True)),
    73: Case(
        all_of(
            seen(lambda: server("GET / HTTP/1.1⏎Host: a⏎Connection: keep-alive⏎⏎"), GET, over=False),
            seen(lambda: server("GET / HTTP/1.1⏎Host: a⏎⏎"), GET, over=False),
        )
    ),
    74: Case(
        seen(lambda: server("GET / HTTP/1.1⏎Host: a⏎⏎", limits=Limits(keepalive_request_limit=1)), GET, over=True)
    ),
    75: Case(until_close_is_not_kept, "deviation", "HTTP/1.1 clients get chunks instead, and are kept"),
    **{
        76 + at: Case(
            lambda length=length, extra=extra, read=read: reuse_after(
                f"POST / HTTP/1.1⏎Host: a⏎Content-Length: {length}⏎⏎" + "hello"[:length], extra, read
            ),
            "deviation" if extra else "same",
            PIPELINED if extra else "",
        )
        for at, (length, extra, read) in enumerate(
            (length, extra, read) for length in (0, 5) for extra in ("", "extra⏎") for read in (True, False)
        )
    },
    84: Case(
        all_of(
            *(
                lambda read=read: reuse_after(
                    "POST / HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎0⏎⏎", "extra⏎", read
                )
                for read in (True, False)
            )
        ),
        "deviation",
        PIPELINED,
    ),
    85: Case(lambda: idle_end(abort=True), "deviation", "an option: by default a half-closed client is answered"),
    86: Case(lambda: idle_end(abort=False)),
    87: Case(left(lambda: server("POST / HTTP/1.1⏎Host: a⏎Content-Length: 6⏎⏎abcEOF"))),
    88: Case(None, "elsewhere", "a context of the connection is the application's own object here"),
    89: Case(lambda: upgrade_offer("GET / HTTP/1.0⏎Connection: upgrade⏎Upgrade: x⏎⏎", offered=False)),
    90: Case(
        all_of(
            lambda: upgrade_offer("POST / HTTP/1.1⏎Host: a⏎Connection: Upgrade⏎Upgrade: WebSocket⏎⏎", offered=True),
            lambda: upgrade_offer("GET / HTTP/1.1⏎Host: a⏎Upgrade: x⏎⏎", offered=False),
        ),
        "deviation",
        "RFC 9110 section 7.8: Upgrade counts with its Connection option alone",
    ),
    91: Case(lambda: upgrade_offer("GET / HTTP/1.1⏎Host: a⏎Connection: upgrade⏎⏎", offered=False)),
    92: Case(
        all_of(
            lambda: upgraded_after_body("Content-Length: 10", "abcdefghij", first_switch=False, one_read=False),
            lambda: upgraded_after_body(
                "Transfer-Encoding: chunked", "3⏎abc⏎7⏎defghij⏎0⏎⏎", first_switch=False, one_read=False
            ),
        )
    ),
    93: Case(lambda: upgraded_after_body("Content-Length: 10", "abcdefghij", first_switch=False, one_read=True)),
    94: Case(
        all_of(
            lambda: upgraded_after_body("Content-Length: 10", "abcdefghij", first_switch=True, one_read=False),
            lambda: upgraded_after_body(
                "Transfer-Encoding: chunked", "3⏎abc⏎7⏎defghij⏎0⏎⏎", first_switch=True, one_read=False
            ),
        ),
        "deviation",
        "the declared framing is read to its end, then raw bytes",
    ),
    95: Case(continue_then_switch),
    96: Case(continue_then_switch),
    97: Case(nothing_follows_a_switch, "deviation", "a second head is the caller's mistake and raises"),
    98: Case(lambda: client_upgrade(0)),
    99: Case(lambda: client_upgrade_in_one_read(eof=False)),
    100: Case(lambda: client_upgrade(10)),
    101: Case(lambda: client_upgrade_in_one_read(eof=True)),
    102: Case(wrong_kind_of_body, "deviation", "raises LocalProtocolError rather than ending the process"),
    103: Case(head_on_the_wire),
    104: Case(informational_then_final),
    105: Case(None, "elsewhere", "ignore_info_resp is the session's: ServerSession.write_response_header"),
    106: Case(no_more_than_declared, "deviation", "more than declared raises, where Pingora drops it"),
    107: Case(chunks_on_the_wire, "deviation", "chunk sizes are written in lower case"),
    108: Case(until_close_on_the_wire),
    109: Case(bodiless_on_the_wire, "deviation", "a 204 has no Content-Length"),
    110: Case(least_send_rate),
    111: Case(write_times_out),
    112: Case(write_times_out, "same", "the blocked write of a proxy task is a paused transport"),
    113: Case(answered(lambda: client("HTTP/1.1 200 OK⏎⏎abcEOF"), b"abc", reusable=False)),
    114: Case(answered(lambda: client("HTTP/1.1 200 OK⏎Content-Length: 2⏎⏎abc"), b"ab", reusable=False)),
    115: Case(
        answered(lambda: client("HTTP/1.1 200 OK⏎Server : pingora⏎⏎"), b"", reusable=False, failed=True),
        "deviation",
        "a blank before the colon is refused from origins as well",
    ),
    116: Case(
        answered(lambda: client("HTTP/1.1 200 OK⏎Server : pingora⏎ Foo: Bar⏎⏎"), b"", reusable=False, failed=True),
        "deviation",
        "obsolete folding is refused from origins as well",
    ),
    117: Case(lenient_length),
    118: Case(informational_in_one_packet),
    119: Case(table_of_keepalive),
    120: Case(None, "elsewhere", "Keep-Alive parameters are not read: the pool has its own idle_timeout"),
    121: Case(
        all_of(
            answered(
                lambda: client("HTTP/1.0 200 OK⏎Connection: keep-alive⏎Transfer-Encoding: chunked⏎⏎0⏎⏎"),
                b"",
                reusable=False,
                failed=True,
            ),
            answered(lambda: client("HTTP/1.1 200 OK⏎Transfer-Encoding: chunked⏎⏎0⏎⏎"), b"", reusable=True),
        ),
        "deviation",
        "a transfer coding in HTTP/1.0 is a fault, not only the end of the connection",
    ),
    122: Case(head_requests),
    123: Case(
        posting_without_a_length, "deviation", "a length of 0 is said (RFC 9110 section 8.6); with a body it is chunked"
    ),
}


@pytest.mark.parametrize("number", [number for number, case in CASES.items() if case.check is not None])
def test_case(number):
    check = CASES[number].check
    assert check is not None
    check()


def test_the_table_is_whole():
    assert sorted(CASES) == list(range(1, 124))
    for number, case in CASES.items():
        assert case.verdict in {"same", "deviation", "elsewhere"}, number
        assert bool(case.reason) or case.verdict == "same", f"{number} does not say why"
        assert (case.check is None) == (case.verdict == "elsewhere"), number


def test_the_framing_of_a_head_is_judged_alike_on_both_sides():
    """What rows 19 to 29 say of received heads holds for heads to send as well."""
    for lines in ([("Transfer-Encoding", "gzip")], [("Content-Length", "1"), ("Content-Length", "1")]):
        with pytest.raises(MessageFault):
            request_framing(RequestHeader.received(b"POST", b"/", b"1.1", Fields(lines)))
