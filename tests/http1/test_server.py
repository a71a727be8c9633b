"""The server's side, case by case: what it puts out, what it tells, and when the connection goes on."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing
from sansio_pingora.wire import (
    Authority,
    Body,
    Done,
    Failed,
    Fields,
    Header,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
    error_page,
)
from sansio_pingora.wire import authority as authority_module
from tests.http1.runs import bytewise, make_server, plain, read_responses, run_server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = Header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "x")]), False)
CONNECT = b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"


def post(size: int, *lines: bytes) -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n" % (size, more)


def head(status: int = 200, *fields: tuple[str, str], end: bool = False) -> Header:
    return Header(ResponseHeader(status, fields), end)


def served(raw: bytes, *tasks, engine: str = "native", **options):
    """A server that has read *raw* and sent *tasks*, and what it put out."""
    server = make_server(engine, **options)
    server.receive_data(raw, 0.0)
    for task in tasks:
        server.send(server.stream, task, 0.0)
    return server, b"".join(server.data_to_send())


# ── framing of answers ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "tasks", "fields", "body", "keeps"),
    [
        (GET, [head(end=True)], {"content-length": "0"}, b"", True),
        (GET, [head(200, ("Content-Length", "2")), Body(b"ok")], {"content-length": "2"}, b"ok", True),
        (GET, [head(), Body(b"ok"), Done()], {"transfer-encoding": "chunked"}, b"ok", True),
        (GET, [head(), Body(b"ok", True)], {"transfer-encoding": "chunked"}, b"ok", True),
        (GET, [head(), Done()], {"transfer-encoding": "chunked"}, b"", True),
        (
            GET,
            [head(200, ("Transfer-Encoding", "chunked")), Body(b"ok", True)],
            {"transfer-encoding": "chunked"},
            b"ok",
            True,
        ),
        (
            GET,
            [head(200, ("Connection", "close"), end=True)],
            {"content-length": "0", "connection": "close"},
            b"",
            False,
        ),
        (GET, [head(200, ("Connection", "x, Close"), end=True)], {"connection": "close"}, b"", False),
        (GET, [head(200, ("Connection", "keep-alive"), end=True)], {"content-length": "0"}, b"", True),
        (GET_10, [head(), Body(b"ok", True)], {"connection": "close"}, b"ok", False),
    ],
)
def test_framing(engine, raw, tasks, fields, body, keeps):
    server, out = served(raw, *tasks, engine=engine)
    ((status, found, content),) = read_responses(out)

    assert status == 200
    assert content == body
    assert fields.items() <= found.items()
    assert ("connection" in found) == (not keeps)
    assert server.keep is keeps
    assert bool(server.closing or server.shut_write) == (not keeps)


def test_http_10_keeps_alive_when_it_asks(engine):
    server, out = served(GET_10, head(200, ("Content-Length", "2")), Body(b"ok"), engine=engine)
    assert read_responses(out)[0][1]["connection"] == "keep-alive"
    assert not server.closing


def test_http_10_without_a_word_is_closed(engine):
    server, out = served(b"GET / HTTP/1.0\r\n\r\n", head(200, ("Content-Length", "2")), Body(b"ok"), engine=engine)
    assert read_responses(out)[0][1]["connection"] == "close"
    assert server.closing is Closing.AFTER_FLUSH


def test_transfer_encoding_is_not_for_http_10():
    server, _ = served(GET_10)
    with pytest.raises(LocalProtocolError, match=r"HTTP/1\.0"):
        server.send(1, head(200, ("Transfer-Encoding", "chunked")), 0.0)


@pytest.mark.parametrize(
    "tasks", [[Body(b"gone", True)], [Body(b"go"), Body(b"ne"), Done()], [Trailer(Fields([("X", "y")]))], [Done()]]
)
@pytest.mark.parametrize(
    ("raw", "first"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head(200, ("Content-Length", "4"))),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head()),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head(200, ("Content-Length", "0"))),
        (GET, head(204)),
        (GET, head(304)),
        (GET, head(304, ("Content-Length", "4"))),
    ],
)
def test_what_has_no_body_sends_none(engine, raw, first, tasks):
    server, out = served(raw, first, *tasks, engine=engine)

    assert out.count(b"\r\n\r\n") == 1
    assert out.endswith(b"\r\n\r\n")
    assert server.idle


def test_head_tells_what_get_would():
    _, out = served(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head(200, ("Content-Length", "1234"), end=True))
    assert b"Content-Length: 1234\r\n" in out


@pytest.mark.parametrize("status", [204])
@pytest.mark.parametrize("fields", [("Content-Length", "0"), ("Transfer-Encoding", "chunked")])
def test_no_framing_on_204(engine, status, fields):
    """RFC 9110 section 8.6, RFC 9112 section 6.1."""
    original = head(status, fields, end=True)
    _, out = served(GET, original, engine=engine)

    assert fields[0].encode() not in out
    assert original.head.get(fields[0]) is not None, "the caller's head stays as it was"


def test_no_framing_on_informational_heads(engine):
    _, out = served(GET, head(103, ("Content-Length", "5"), ("Link", "</a>")), head(end=True), engine=engine)
    (early, fields, _), (final, _, _) = read_responses(out)

    assert (early, final) == (103, 200)
    assert fields == {"link": "</a>"}


def test_http_10_gets_no_informational_heads(engine):
    _, out = served(GET_10, head(103), head(end=True), engine=engine)
    assert [status for status, _, _ in read_responses(out)] == [200]


def test_date():
    _, out = served(GET, head(end=True), wall_offset=784_111_777.0)
    assert b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in out
    _, out = served(GET, head(200, ("date", "never"), end=True), wall_offset=784_111_777.0)
    assert out.lower().count(b"date:") == 1
    server = make_server(wall_offset=784_111_777.0)
    server.receive_data(b"\x00", 0.0)
    assert b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in b"".join(server.data_to_send())


def test_trailers(engine):
    _, out = served(GET, head(), Body(b"ok"), Trailer(Fields([("X-Sum", "1")])), engine=engine)
    assert out.endswith(b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    _, out = served(
        GET, head(200, ("Content-Length", "2")), Body(b"ok"), Trailer(Fields([("X-Sum", "1")])), engine=engine
    )
    assert out.endswith(b"\r\n\r\nok"), "a length leaves no place for them"


# ── an end behind an end ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "tasks",
    [
        [head(end=True)],
        [head(200, ("Content-Length", "0"))],
        [head(200, ("Content-Length", "2")), Body(b"ok")],
        [head(), Body(b"ok", True)],
    ],
)
@pytest.mark.parametrize(
    "late", [Done(), Body(b"", True), Body(b""), Trailer(Fields()), Failed(Error(ErrorType.INTERNAL_ERROR))]
)
def test_says_nothing_new(engine, tasks, late):
    """``Header(1xx)* Header Body* [Trailer] [Done]``: a Done behind the last declared byte is legal."""
    server, out = served(GET, *tasks, late, engine=engine)
    assert len(read_responses(out)) == 1
    assert server.send(1, late, 0.0) > 0
    assert server.data_to_send() == []
    server.receive_data(GET, 0.0)
    server.send(1, late, 0.0)  # even when the next request is there


@pytest.mark.parametrize("late", [Body(b"more"), head(end=True), UpgradedBody(b"x")])
def test_nothing_else_follows_an_end(engine, late):
    server, _ = served(GET, head(end=True), engine=engine)
    with pytest.raises(LocalProtocolError, match="stream 1 is not open"):
        server.send(1, late, 0.0)


@pytest.mark.parametrize("stream", [0, -1, 2, 99])
def test_streams_that_are_not(stream):
    server, _ = served(GET)
    for task in (head(end=True), Done(), Body(b"", True)):
        with pytest.raises(LocalProtocolError, match="is not open"):
            server.send(stream, task, 0.0)


def test_a_server_sends_responses_alone():
    server, _ = served(GET)
    with pytest.raises(LocalProtocolError, match="ResponseHeader"):
        server.send(1, Header(RequestHeader("GET", "/"), True), 0.0)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        server.send(1, Body(b"x"), 0.0)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        server.send(1, Done(), 0.0)
    assert server.open_stream(0.0) is None


# ── requests ─────────────────────────────────────────────────────────────────────────


def test_a_pipeline_in_any_cut_is_read_alike():
    """Looked-at bytes of a head that came in pieces are no bytes of the next (they were once, and it was read askew)."""
    raw = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    for at in range(1, len(raw)):
        server = make_server()
        server.receive_data(raw[:at], 0.0)
        server.receive_data(raw[at:] + b"G", 0.0)
        server.send(1, head(end=True), 0.0)
        server.handle_timeout(0.0)
        (failed,) = map(plain, server.receive_data(b"\x00T / HTTP/1.1\r\n", 0.0))
        assert failed[1:] == ("failed", "InvalidHTTPHeader", 400)


@pytest.mark.parametrize("size", [10, 1000, 3000, 9000])
def test_heads_that_repeat_each_other_are_independent(size):
    """Their lines are read once and copied: who changes one head changes no other."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * size + b"\r\n\r\n"
    server = make_server()
    for stream in range(1, 6):
        ((_, header),) = server.receive_data(raw, 0.0)
        assert header.head.fields.items == [(b"Host", b"a"), (b"X", b"y" * size)]
        header.head.insert("Host", "changed")
        header.head.append("Y", "z")
        server.send(stream, head(end=True), 0.0)
        assert len(server._codec._heads._block) <= 2048


def test_the_rest_of_a_pipeline_is_held_within_measure():
    server = make_server(limits=Limits(high_water=1000))
    server.receive_data(GET, 0.0)
    for _ in range(100):
        if server.want_read:
            server.receive_data(GET, 0.0)
    assert not server.want_read
    assert server.held < 1000 + len(GET)
    server.send(1, head(end=True), 0.0)
    assert server.want_read


def test_a_refused_request_has_a_number_and_a_source():
    server = make_server()
    ((stream, failed),) = server.receive_data(b"GET / HTTP/1.1\r\n\r\n", 0.0)

    assert stream == 1
    assert failed.error.esource is ErrorSource.DOWNSTREAM
    assert "Host" in failed.error.context
    out = b"".join(server.data_to_send())
    assert error_page(400).to_bytes()[:-2] in out


@pytest.mark.parametrize("answered", [False, True])
def test_a_fault_amid_a_body(engine, answered):
    """Before the answer it is answered; amid the answer that is cut, so that nobody takes it for whole."""
    server = make_server(engine)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0.0)
    if answered:
        server.send(1, head(), 0.0)
        server.send(1, Body(b"part"), 0.0)
    events = [plain(event) for event in server.receive_data(b"5\r\nhelloXX", 0.0)]
    out = b"".join(server.data_to_send())

    assert events == [(1, "body", b"hello", False), (1, "failed", "InvalidHTTPHeader", 400)]
    if answered:
        assert not out.endswith(b"0\r\n\r\n")
        assert server.closing is Closing.AFTER_FLUSH
    else:
        assert read_responses(out)[0][0] == 400
        assert server.shut_write


def test_a_fault_amid_a_body_that_nobody_wants(engine):
    server = make_server(engine)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0.0)
    server.send(1, head(end=True), 0.0)
    assert server.receive_data(b"5\r\nhelloXX", 0.0) == []
    assert len(read_responses(b"".join(server.data_to_send()))) == 1
    assert server.shut_write


def test_a_body_beyond_its_ceiling(engine):
    limits = Limits(max_body=10)
    run = run_server([post(11)], engine=engine, limits=limits)
    assert run.statuses == [413]
    for pieces in ([b"f\r\n" + b"x" * 15], bytewise(b"f\r\n" + b"x" * 15)):
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        run = run_server([chunked, *pieces], engine=engine, limits=limits)
        assert [event[1:3] for event in run.events[1:3]] == [("body", b"x" * 10), ("failed", "InvalidHTTPHeader")]
        assert run.statuses == [413]
    assert run_server([post(10) + b"x" * 10], engine=engine, limits=limits).statuses == [200]


def test_the_least_of_a_head_in_memory():
    """What a peer may have remembered is bounded: a name that is too long is not even looked up."""
    authority_module._parse.cache_clear()
    for n in range(100):
        assert Authority.parse(b"%d" % n + b"a" * 5000) is None
    assert authority_module._parse.cache_info().currsize == 0


def test_connect_and_host(engine):
    """The target's authority wins there as well (RFC 9110 section 7.2)."""
    for raw in (b"CONNECT b:443 HTTP/1.1\r\nHost: evil\r\n\r\n", b"CONNECT b:443 HTTP/1.0\r\n\r\n"):
        server = make_server(engine, allow_connect=True)
        ((_, header),) = server.receive_data(raw, 0.0)
        assert header.head.fields.get_all("host") == [b"b:443"]
        assert header.end


def test_what_is_sent_behind_a_failure_goes_nowhere(engine):
    """The application may send in the very turn in which the Failed is on its way to it."""
    server = make_server(engine)
    server.receive_data(post(5) + b"he", 0.0)
    server.receive_eof(0.0)
    for task in (head(), Body(b"x"), Done(), Failed(Error(ErrorType.INTERNAL_ERROR))):
        server.send(1, task, 0.0)
    assert server.data_to_send() == []


def test_keepalive_request_limit(engine):
    run = run_server([GET * 5], engine=engine, limits=Limits(keepalive_request_limit=2))
    first, second = read_responses(run.out)

    assert len(run.seen) == 2
    assert "connection" not in first[1]
    assert second[1]["connection"] == "close"


# ── Expect ───────────────────────────────────────────────────────────────────────────

WAITS = post(5, b"Expect: 100-continue")


def test_an_invitation(engine):
    server, out = served(WAITS, engine=engine)
    assert out == b""
    server.invite_body(2, 0.0)
    assert server.data_to_send() == []
    server.invite_body(1, 0.0)
    server.invite_body(1, 0.0)
    assert b"".join(server.data_to_send()) == b"HTTP/1.1 100 Continue\r\n\r\n"
    server.receive_data(b"hello", 0.0)
    server.send(1, head(end=True), 0.0)
    assert not server.closing


def test_no_invitation_for_a_body_that_is_there_already(engine):
    server, _ = served(WAITS + b"h", engine=engine)
    server.invite_body(1, 0.0)
    assert server.data_to_send() == []


def test_the_applications_own_100_is_the_invitation(engine):
    server, out = served(WAITS, head(100), engine=engine)
    server.invite_body(1, 0.0)
    assert out + b"".join(server.data_to_send()) == b"HTTP/1.1 100 Continue\r\n\r\n"
    server.send(1, head(end=True), 0.0)
    assert server.keep


def test_no_invitation_behind_an_answer(engine):
    server, _ = served(WAITS, head(200, ("Content-Length", "9")), engine=engine)
    server.invite_body(1, 0.0)
    assert server.data_to_send() == []
    assert not server.keep


def test_http_10_expects_nothing(engine):
    raw = b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    server, _ = served(raw, engine=engine)
    server.invite_body(1, 0.0)
    assert server.data_to_send() == []
    assert run_server([raw + b"hello"], engine=engine).statuses == [200]


# ── upgrades and tunnels ─────────────────────────────────────────────────────────────


def test_100_comes_before_101(engine):
    """RFC 9110 section 7.8."""
    raw = post(5, b"Expect: 100-continue", b"Connection: upgrade", b"Upgrade: x")
    _, out = served(raw, SWITCH, engine=engine)
    assert [status for status, _, _ in read_responses(out)] == [100, 101]


def test_early_bytes_come_first(engine):
    """Bytes behind the request are the first opaque ones, whatever else happens before they are fetched."""
    server = make_server(engine)
    server.receive_data(UPGRADE + b"early ", 0.0)
    server.send(1, SWITCH, 0.0)
    server.send(1, UpgradedBody(b"greeting"), 0.0)
    assert server.deadline == AT_ONCE, "an answer at once is no reason to forget them"
    assert [plain(event) for event in server.receive_data(b"late", 0.0)] == [(1, "raw", b"early late", False)]
    server.consumed(1, 10, 0.0)
    assert server.handle_timeout(0.0) == []


@pytest.mark.parametrize("before", [True, False])
def test_the_end_is_told_once_the_switch_is_made(engine, before):
    server = make_server(engine)
    server.receive_data(UPGRADE + b"early", 0.0)
    told = []
    if before:
        server.receive_eof(0.0)
    server.send(1, SWITCH, 0.0)
    if not before:
        told += server.receive_eof(0.0)
    told += server.handle_timeout(0.0)
    assert [plain(event) for event in told] == [(1, "raw", b"early", False), (1, "raw", b"", True)]
    server.send(1, UpgradedBody(b"bye", True), 0.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_our_end_of_a_tunnel_before_the_request_is_whole(engine):
    server = make_server(engine)
    server.receive_data(post(4, b"Connection: upgrade", b"Upgrade: x"), 0.0)
    server.send(1, SWITCH, 0.0)
    server.send(1, UpgradedBody(b"bye", True), 0.0)
    assert server.shut_write
    assert [plain(event) for event in server.receive_data(b"bodyraw", 0.0)] == [
        (1, "body", b"body", True),
        (1, "raw", b"raw", False),
    ]
    server.receive_eof(0.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_credit_lasts_over_the_switch(engine):
    server = make_server(engine, Limits(high_water=10))
    server.receive_data(post(8, b"Connection: upgrade", b"Upgrade: x") + b"12345678", 0.0)
    server.send(1, SWITCH, 0.0)
    server.receive_data(b"90", 0.0)
    assert not server.want_read
    server.consumed(1, 8, 0.0)
    assert server.want_read
    with pytest.raises(LocalProtocolError, match="consumed"):
        server.consumed(1, 3, 0.0)


def test_a_body_that_nobody_reads_costs_no_credit(engine):
    """The answer is complete and the connection is kept: no byte of the rest of the body was delivered."""
    server, _ = served(post(8), head(404, ("Content-Length", "0")), engine=engine)
    assert server.receive_data(b"12345678", 0.0) == []
    with pytest.raises(LocalProtocolError, match="consumed where 0 were delivered"):
        server.consumed(1, 8, 0.0)


def test_a_tunnel_has_a_clock_when_more_comes_before_what_came_with_the_request(engine):
    server, _ = served(CONNECT + b"abc", engine=engine, allow_connect=True)
    server.send(1, head(200), 0.0)
    assert server.deadline == AT_ONCE
    assert [plain(event) for event in server.receive_data(b"def", 0.0)] == [(1, "raw", b"abcdef", False)]
    server.handle_timeout(0.0)
    assert server.deadline == Limits().read_timeout


def test_a_tunnel_has_no_framing(engine):
    server, _ = served(CONNECT, engine=engine, allow_connect=True)
    for fields in (("Content-Length", "0"), ("Transfer-Encoding", "chunked")):
        with pytest.raises(LocalProtocolError, match="no body"):
            server.send(1, head(200, fields), 0.0)
    server.send(1, head(200), 0.0)
    assert b"".join(server.data_to_send()) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_broken_tunnel_is_reset(engine):
    server, _ = served(UPGRADE, SWITCH, engine=engine)
    server.send(1, Failed(Error(ErrorType.READ_ERROR)), 0.0)
    assert server.closing is Closing.ABORT


# ── ends ─────────────────────────────────────────────────────────────────────────────


def test_an_end_between_requests(engine):
    server = make_server(engine)
    assert [plain(event) for event in server.receive_eof(0.0)] == [(0, "closed", None)]
    assert server.receive_eof(0.0) == []
    assert server.transport_lost(None, 0.0) == []
    assert server.closing is Closing.ABORT


def test_an_end_amid_a_head(engine):
    server = make_server(engine)
    server.receive_data(GET[:10], 0.0)
    assert [plain(event) for event in server.receive_eof(0.0)] == [(0, "closed", None)]
    assert server.data_to_send() == []


def test_an_end_amid_a_body(engine):
    server = make_server(engine)
    server.receive_data(post(5) + b"he", 0.0)
    assert [plain(event)[1:3] for event in server.receive_eof(0.0)] == [("failed", "ConnectionClosed")]
    assert server.closing is Closing.AFTER_FLUSH


def test_requests_that_came_before_the_end_are_served(engine):
    """Also when the end is heard of before the driver lets the machine go on."""
    server = make_server(engine)
    server.receive_data(GET * 2, 0.0)
    server.send(1, head(end=True), 0.0)
    assert server.deadline == AT_ONCE
    assert [plain(event)[1] for event in server.receive_eof(0.0)] == ["request"]
    server.send(2, head(end=True), 0.0)
    first, second = read_responses(b"".join(server.data_to_send()))
    assert "connection" not in first[1]
    assert second[1]["connection"] == "close"
    assert server.closing is Closing.AFTER_FLUSH


def test_half_a_request_before_the_end(engine):
    server = make_server(engine)
    server.receive_data(GET + post(5) + b"he", 0.0)
    server.receive_eof(0.0)
    server.send(1, head(end=True), 0.0)
    events = [plain(event) for event in server.handle_timeout(0.0)]
    assert [event[1] for event in events] == ["request", "body", "failed"]
    server = make_server(engine)
    server.receive_data(GET + GET[:9], 0.0)
    server.receive_eof(0.0)
    server.send(1, head(end=True), 0.0)
    assert [plain(event) for event in server.handle_timeout(0.0)] == [(0, "closed", None)]
    assert server.closing is Closing.AFTER_FLUSH


def test_a_client_that_leaves_can_be_given_up(engine):
    server = make_server(engine, abort_on_close=True)
    server.receive_data(GET, 0.0)
    assert [plain(event)[1:3] for event in server.receive_eof(0.0)] == [("failed", "ConnectionClosed")]
    assert server.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(
    ("raw", "tasks", "how"),
    [
        (GET, [], Closing.AFTER_FLUSH),
        (GET, [head()], Closing.AFTER_FLUSH),
        (GET, [head(200, ("Content-Length", "9"))], Closing.AFTER_FLUSH),
        (GET_10, [head(), Body(b"part")], Closing.ABORT),
    ],
)
def test_an_answer_that_is_broken_off(engine, raw, tasks, how):
    """What only the close would end must not end in an orderly one."""
    server, _ = served(raw, *tasks, engine=engine)
    server.send(1, Failed(Error(ErrorType.INTERNAL_ERROR)), 0.0)
    assert server.closing is how


def test_a_transport_that_is_lost(engine):
    server, _ = served(post(5), engine=engine)
    reason = Error(ErrorType.READ_ERROR, "reset by peer")
    (_, failed), (_, closed) = server.transport_lost(reason, 0.0)
    assert failed.error is reason
    assert closed.error is reason
    assert reason.esource is ErrorSource.DOWNSTREAM
    assert server.transport_lost(reason, 0.0) == []
    server.send(1, head(end=True), 0.0)  # by one who has not heard of it yet: it goes nowhere
    assert server.data_to_send() == []


def test_abort(engine):
    server, _ = served(GET, head(), engine=engine)
    server.abort(0.0)
    assert server.closing is Closing.ABORT
    assert server.data_to_send() == []
    assert [plain(event) for event in server.transport_lost(None, 0.0)] == [(0, "closed", None)]


def test_nothing_is_read_from_a_connection_that_closes(engine):
    server, _ = served(b"GET / HTTP/1.0\r\n\r\n", head(end=True), engine=engine)
    assert server.receive_data(GET, 0.0) == []
    assert server.handle_timeout(0.0) == []
    server.drain(0.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_a_client_behind_tls_that_sends_no_more_still_sends_its_close_notify():
    """Closed at once, the kernel would answer that with a reset, and the answer could be lost."""
    server = make_server(secure=True)
    [(stream, _)] = server.receive_data(b"GET / HTTP/1.0\r\n\r\n", 0.0)
    server.send(stream, Header(ResponseHeader(204), True), 0.0)
    assert server.shut_write
    assert not server.closing
    server.receive_eof(0.5)
    assert server.closing
