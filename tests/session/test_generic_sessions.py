"""Every method of Pingora's generic sessions, over every kind of connection: it does what is right, or says why not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1 import Http1Server
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.session import (
    ClientSession,
    ReadBody,
    ServerConnection,
    ServerSession,
    SubrequestConnection,
    server_codec,
)
from sansio_pingora.wire import Body, Failed, Fields, Header, RequestHeader, ResponseHeader, Trailer
from tests.session.kinds import INFO, KINDS, Lines, get, http1, http2, post

FAULT = Error(ErrorType.INTERNAL_ERROR, "on purpose")


@dataclass(frozen=True)
class Raises:
    """It cannot apply, and the message says what does instead."""

    match: str


REST = object()
"""As for all."""


@dataclass
class Row:
    """One method; what it comes to with each kind, a value or :class:`Raises`; ``all`` for those not named."""

    name: str
    act: object
    all: object = None
    h1: object = REST
    h2: object = REST
    subrequest: object = REST
    custom: object = REST
    request: object = field(default_factory=lambda: (get(), True))

    def expected(self, kind):
        found = getattr(self, kind)
        return self.all if found is REST else found


def kept_for_all(limit):
    return Raises(f"does not apply to HTTP/2: .* set {limit} for the service")


def own(limit):
    return Raises(rf"does not apply to lines \(a custom protocol\): .* set {limit} for the service")


def set_then_get(setter, value, getter):
    def act(e):
        getattr(e.session, setter)(value)
        return getattr(e.session, getter)()

    return act


def kind_of(machine):
    return None if machine is None else type(machine)


def sent(*tasks):
    def act(e):
        for task in tasks:
            e.session.write_task(task)
        e.settle()
        return [task for task in e.received if not isinstance(task, Header)]

    return act


def final(e):
    """The statuses that the client got."""
    e.settle()
    return [task.head.status for task in e.received if isinstance(task, Header)]


def respond(e):
    assert e.session.respond_error(503)
    assert not e.session.respond_error(500)
    return final(e)


def respond_with_body(e):
    assert e.session.respond_error_with_body(403, b"no way")
    e.settle()
    return e.received[-1]


def write_error_response(e):
    head = ResponseHeader(418, [("X-Tea", "1"), ("Transfer-Encoding", "chunked")])
    assert e.session.write_error_response(head, b"short and stout")
    assert not e.session.write_error_response(head)
    e.settle()
    assert e.received[0].head.get("x-tea") == b"1"
    assert e.received[0].head.get("content-length") == b"15"
    return e.received[-1]


def retry_buffer(e):
    session = e.session
    assert session.get_retry_buffer() is None
    session.enable_retry_buffering()
    session.enable_retry_buffering()
    session.invite_body()
    e.feed(Body(b"ab"), Body(b"cd", True))
    assert not session.retry_buffer_truncated()
    return session.get_retry_buffer()


def retry_buffer_too_small(e):
    session = e.session
    session.enable_retry_buffering()
    session.invite_body()
    for _ in range(5):
        e.feed(Body(b"x" * 16_384))
        session.consumed(sum(len(task.data) for task in e.exchange.tasks))
        e.exchange.tasks.clear()
        e.settle()
    return session.retry_buffer_truncated(), session.get_retry_buffer()


def proxy_failure(e):
    other = Error(ErrorType.CONNECT_REFUSED)
    e.session.on_proxy_failure(FAULT)
    e.session.on_proxy_failure(other)
    return getattr(e, "handle", None) and e.handle.proxy_error


def shut_down(e):
    e.session.write_response_header(ResponseHeader(200))
    e.session.write_response_body(b"par")
    e.settle()
    e.session.shutdown()
    e.session.shutdown()
    e.settle()
    return type(e.received[-1])


def finished(e):
    e.session.write_response_header(ResponseHeader(200))
    e.session.write_response_body(b"x")
    goes_on = e.session.finish()
    e.session.finish_body()
    e.settle()
    assert e.received[-1].end
    return goes_on


def drained(e):
    """The next answer says that there is no other, in whatever way the protocol has."""
    e.session.set_keepalive(None)
    e.session.write_response_header(ResponseHeader(204), end=True)
    e.settle()
    assert final(e) == [204]
    return e.session.get_keepalive(), bool(getattr(e, "client", None) is None or not e.client.reusable)


def user_context(e):
    session = e.session
    assert session.connection_user_context is None
    session.set_connection_user_context("user 7")
    assert session.connection_user_context == "user 7"
    assert session.take_connection_user_context() == "user 7"
    return session.take_connection_user_context()


def trailers(e):
    e.session.write_response_header(ResponseHeader(200))
    e.session.write_response_trailers(Fields([("X-Sum", "1")]))
    e.settle()
    return e.received[-1].fields.get("x-sum")


def informational(e):
    e.session.write_response_header(ResponseHeader(103, [("Link", "</a>")]))
    e.session.write_continue_response()
    e.session.write_response_header(ResponseHeader(204), end=True)
    e.session.write_continue_response()
    return final(e)


def ignored(e):
    e.session.set_ignore_info_resp(True)
    return informational(e)


def tasks_api(e):
    session = e.session
    assert session.supports_proxy_task_api()
    session.set_proxy_tasks_enabled(True)
    session.send_downstream_proxy_task(Header(ResponseHeader(200), False))
    assert not session.has_pending_downstream_proxy_tasks()
    assert not session.write_downstream_proxy_tasks()
    session.send_downstream_proxy_task(Body(b"x" * 2 * session.limits.high_water, True))
    session.room = 0
    assert session.has_pending_downstream_proxy_tasks()
    return session.write_downstream_proxy_tasks()


def digest(e):
    made = e.session.digest()
    assert made.timing_digest[0].established_ts == 0.0
    assert made is e.session.digest_mut()
    return str(made.socket_digest.peer_addr), str(made.socket_digest.local_addr)


def close_early(e):
    e.session.set_close_on_response_before_downstream_finish(True)
    e.session.write_response_header(ResponseHeader(103))
    assert e.session.get_keepalive() == 60
    e.session.write_response_header(ResponseHeader(204), end=True)
    return e.session.get_keepalive()


def reuses(e):
    e.session.set_keepalive_reuses_remaining(3)
    assert e.session.get_keepalive() == 60
    return e.session.get_keepalive_reuses_remaining()


def last_one(e):
    e.session.set_keepalive_reuses_remaining(0)
    return e.session.get_keepalive()


def body_counts(e):
    session = e.session
    session.invite_body()
    e.feed(Body(b"abc", True))
    session.write_response_header(ResponseHeader(200))
    session.write_response_body(b"hello", end=True)
    return session.body_bytes_read, session.body_bytes_sent, session.is_body_done(), session.is_body_empty()


def raw_head(e):
    codec = server_codec("native", Limits()) or Http1Server(0.0, Limits())._codec
    codec.receive(e.session.to_h1_raw())
    head, framing = codec.read_request()
    return head.method, head.target, head.get("host"), framing


def write_or_refuse(e):
    e.session.write_response_header(ResponseHeader(200))
    with pytest.raises(LocalProtocolError, match="after a final head"):
        e.session.write_response_header(ResponseHeader(500))
    return e.session.response_written.status


BODY = (post(), False)
SIZED = (post(3), False)

TABLE = [
    Row("is_http2", lambda e: e.session.is_http2, all=False, h2=True),
    Row("is_subrequest", lambda e: e.session.is_subrequest, all=False, subrequest=True),
    Row("is_custom", lambda e: e.session.is_custom, all=False, custom=True),
    Row("as_http1", lambda e: kind_of(e.session.as_http1()), h1=Http1Server),
    Row("as_http2", lambda e: kind_of(e.session.as_http2()), h2=Http2Server),
    Row("as_subrequest", lambda e: kind_of(e.session.as_subrequest()), subrequest=SubrequestConnection),
    Row("as_custom", lambda e: kind_of(e.session.as_custom()), custom=Lines),
    Row("read_request", lambda e: e.session.read_request(), all=True),
    Row("req_header", lambda e: e.session.req_header.method, all=b"GET"),
    Row("get_header", lambda e: e.session.get_header("host"), all=b"a.test"),
    Row("get_header_bytes", lambda e: e.session.get_header_bytes("nothing"), all=b""),
    Row("read_request_body", lambda e: e.session.read_request_body(), all=ReadBody()),
    Row("drain_request_body", lambda e: e.session.drain_request_body(), all=True),
    Row("drain_request_body, of a body", lambda e: e.session.drain_request_body(), all=False, request=SIZED),
    Row("write_response_header", write_or_refuse, all=200),
    Row(
        "write_response_body",
        sent(Header(ResponseHeader(200, [("Content-Length", "4")]), False), Body(b"data", True)),
        all=[Body(b"data", True)],
    ),
    Row("write_response_trailers", trailers, all=b"1"),
    Row("finish", finished, all=True, subrequest=False),
    Row("response_duplex_vec", lambda e: e.session.response_duplex_vec([Header(ResponseHeader(204), True)]), all=True),
    Row("on_proxy_failure", proxy_failure, subrequest=FAULT),
    Row(
        "set_keepalive",
        set_then_get("set_keepalive", 5, "get_keepalive"),
        h1=5,
        h2=kept_for_all("keepalive_timeout"),
        subrequest=Raises("no request follows"),
        custom=own("keepalive_timeout"),
    ),
    Row(
        "set_keepalive, for ever",
        set_then_get("set_keepalive", 0, "get_keepalive"),
        h1=0,
        h2=kept_for_all("keepalive_timeout"),
        subrequest=Raises("no request follows"),
        custom=own("keepalive_timeout"),
    ),
    Row("set_keepalive, None", drained, all=(None, True)),
    Row("get_keepalive", lambda e: e.session.get_keepalive() or 0, all=60, subrequest=0),
    Row(
        "set_keepalive_reuses_remaining",
        reuses,
        h1=3,
        h2=Raises("keepalive_request_limit"),
        subrequest=Raises("keepalive_request_limit"),
        custom=Raises("keepalive_request_limit"),
    ),
    Row(
        "get_keepalive_reuses_remaining, of none",
        lambda e: e.session.get_keepalive_reuses_remaining(),
    ),
    Row("connection_user_context", user_context),
    Row(
        "set_read_timeout",
        set_then_get("set_read_timeout", 7.0, "get_read_timeout"),
        h1=7.0,
        h2=kept_for_all("body_idle_timeout"),
        subrequest=7.0,
        custom=own("body_idle_timeout"),
    ),
    Row("get_read_timeout", lambda e: e.session.get_read_timeout() or 0, all=30, subrequest=0),
    Row(
        "set_write_timeout",
        set_then_get("set_write_timeout", 7.0, "get_write_timeout"),
        h1=7.0,
        h2=kept_for_all("h2_stall_timeout"),
        subrequest=7.0,
        custom=own("write_idle_timeout"),
    ),
    Row("get_write_timeout", lambda e: e.session.get_write_timeout() or 0, all=30, subrequest=0),
    Row(
        "set_total_drain_timeout",
        set_then_get("set_total_drain_timeout", 7.0, "get_total_drain_timeout"),
        h1=7.0,
        h2=kept_for_all("linger_timeout"),
        subrequest=7.0,
        custom=own("linger_timeout"),
    ),
    Row("get_total_drain_timeout", lambda e: e.session.get_total_drain_timeout() or 0, all=1, subrequest=0),
    Row(
        "set_min_send_rate",
        lambda e: e.session.set_min_send_rate(5000) or e.session.as_http1().limits.min_send_rate,
        h1=5000,
        h2=kept_for_all("min_send_rate"),
        subrequest=Raises("it sends no bytes"),
        custom=own("min_send_rate"),
    ),
    Row("set_ignore_info_resp", ignored, all=[204]),
    Row(
        "set_close_on_response_before_downstream_finish",
        close_early,
        h1=None,
        h2=Raises("ends its stream alone"),
        subrequest=Raises("ends its stream alone"),
        custom=Raises("ends its stream alone"),
        request=SIZED,
    ),
    Row(
        "set_abort_on_close",
        lambda e: e.session.set_abort_on_close(True) or e.session.as_http1().abort_on_close,
        h1=True,
        h2=Raises("option abort_on_close"),
        subrequest=Raises("option abort_on_close"),
        custom=Raises("option abort_on_close"),
    ),
    Row(
        "request_summary",
        lambda e: e.session.request_summary(),
        all="GET /x, Host: a.test",
        subrequest="GET /x, Host: a.test (subrequest)",
    ),
    Row(
        "response_written",
        lambda e: e.session.write_response_header(ResponseHeader(204), True) and e.session.response_written.status,
        all=204,
    ),
    Row("shutdown", shut_down, all=Failed),
    Row("to_h1_raw", raw_head, all=(b"GET", b"/x", b"a.test", 0)),
    Row("is_body_done", lambda e: (e.session.is_body_done(), e.session.is_body_empty()), all=(True, True)),
    Row(
        "is_body_empty",
        lambda e: (e.session.is_body_done(), e.session.is_body_empty()),
        all=(False, False),
        request=BODY,
    ),
    Row("generate_error", lambda e: e.session.generate_error(404).status, all=404),
    Row("respond_error", respond, all=[503]),
    Row("respond_error_with_body", respond_with_body, all=Body(b"no way", True)),
    Row("write_error_response", write_error_response, all=Body(b"short and stout", True)),
    Row("retry buffer", retry_buffer, all=b"abcd", request=(post(4), False)),
    Row("retry buffer, too small", retry_buffer_too_small, all=(True, None), request=BODY),
    Row("read_body_or_idle", lambda e: e.session.read_body_or_idle(False), all=ReadBody(), request=BODY),
    Row(
        "read_body_or_idle, idle",
        lambda e: e.session.read_body_or_idle(True),
        all=Raises("without reading"),
        request=BODY,
    ),
    Row("read_body_or_idle, complete", lambda e: e.session.read_body_or_idle(False), all=Raises("without reading")),
    Row("write_continue_response", informational, all=[103, 100, 204]),
    Row("is_upgrade_req", lambda e: e.session.is_upgrade_req, all=False),
    Row("was_upgraded", lambda e: e.session.was_upgraded(), all=False),
    Row("body_bytes", body_counts, all=(3, 5, True, False), request=SIZED),
    Row("digest", digest, all=("10.0.0.1:4000", "10.0.0.2:80")),
    Row("client_addr", lambda e: str(e.session.client_addr), all="10.0.0.1:4000"),
    Row("server_addr", lambda e: str(e.session.server_addr), all="10.0.0.2:80"),
    Row("stream", lambda e: e.session.stream(), all=Raises("the transport is its driver's")),
    Row("proxy task API", tasks_api, all=True),
    Row(
        "take_custom_message_reader",
        lambda e: e.session.take_custom_message_reader().ended,
        all=Raises("only a custom protocol"),
        custom=False,
    ),
    Row(
        "take_custom_message_writer",
        lambda e: e.session.take_custom_message_writer().room,
        all=Raises("only a custom protocol"),
        custom=128,
    ),
    Row("finish_custom", lambda e: e.session.finish_custom(), all=Raises("only a custom protocol"), custom=None),
]

# What the specification's table names, and where it is here when it has another name or form.
PINGORA = [
    "is_http2",
    "is_subrequest",
    "is_custom",
    "as_http1",
    "as_http2",
    "as_subrequest",
    "as_custom",
    "read_request",
    "req_header",
    "get_header",
    "get_header_bytes",
    "read_request_body",
    "drain_request_body",
    "write_response_header",
    "write_response_body",
    "write_response_trailers",
    "finish",
    "finish_body",
    "on_proxy_failure",
    "response_duplex_vec",
    "set_keepalive",
    "get_keepalive",
    "set_keepalive_reuses_remaining",
    "get_keepalive_reuses_remaining",
    "set_connection_user_context",
    "take_connection_user_context",
    "set_read_timeout",
    "get_read_timeout",
    "set_write_timeout",
    "get_write_timeout",
    "set_total_drain_timeout",
    "get_total_drain_timeout",
    "set_min_send_rate",
    "set_ignore_info_resp",
    "set_close_on_response_before_downstream_finish",
    "set_abort_on_close",
    "request_summary",
    "response_written",
    "shutdown",
    "to_h1_raw",
    "is_body_done",
    "is_body_empty",
    "generate_error",
    "respond_error",
    "respond_error_with_body",
    "write_error_response",
    "enable_retry_buffering",
    "retry_buffer_truncated",
    "get_retry_buffer",
    "read_body_or_idle",
    "write_continue_response",
    "is_upgrade_req",
    "was_upgraded",
    "body_bytes_sent",
    "body_bytes_read",
    "digest",
    "digest_mut",
    "client_addr",
    "server_addr",
    "stream",
    "supports_proxy_task_api",
    "set_proxy_tasks_enabled",
    "send_downstream_proxy_task",
    "has_pending_downstream_proxy_tasks",
    "write_downstream_proxy_tasks",
    "take_custom_message_reader",
    "restore_custom_message_reader",
    "take_custom_message_writer",
    "restore_custom_message_writer",
    "finish_custom",
]
PINGORA_CLIENT = [
    "as_http1",
    "as_http2",
    "as_custom",
    "write_request_header",
    "write_request_body",
    "finish_request_body",
    "set_read_timeout",
    "set_write_timeout",
    "read_response_header",
    "read_response_body",
    "response_done",
    "shutdown",
    "response_header",
    "digest",
    "digest_mut",
    "server_addr",
    "client_addr",
    "stream",
    "take_custom_message_reader",
    "take_custom_message_writer",
    "finish_custom",
]


@pytest.mark.parametrize("name", PINGORA)
def test_a_server_session_has_every_name_of_pingoras(name):
    assert hasattr(ServerSession, name)
    assert any(name in row.name or name in TOGETHER for row in TABLE)


@pytest.mark.parametrize("name", PINGORA_CLIENT)
def test_a_client_session_has_every_name_of_pingoras(name):
    assert hasattr(ClientSession, name)


# Tested in the rows of others.
TOGETHER = [
    "finish_body",
    "take_connection_user_context",
    "set_connection_user_context",
    "enable_retry_buffering",
    "retry_buffer_truncated",
    "get_retry_buffer",
    "body_bytes_sent",
    "body_bytes_read",
    "digest_mut",
    "supports_proxy_task_api",
    "set_proxy_tasks_enabled",
    "send_downstream_proxy_task",
    "has_pending_downstream_proxy_tasks",
    "write_downstream_proxy_tasks",
    "restore_custom_message_reader",
    "restore_custom_message_writer",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_with_every_kind(row, kind):
    exchange = KINDS[kind](*row.request)
    expected = row.expected(kind)
    if isinstance(expected, Raises):
        before = len(exchange.received)
        with pytest.raises(LocalProtocolError, match=expected.match):
            row.act(exchange)
        assert len(exchange.settle().received) == before
        assert exchange.session.closed is None
    else:
        assert row.act(exchange) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_that_used_none_of_it_has_no_state_for_it(kind):
    exchange = KINDS[kind](get(), True)
    exchange.session.respond_error(404)
    assert exchange.session._extras is None


# ── in one's own loop ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("opening", "kind"),
    [(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Http1Server), (None, Http2Server)],
    ids=["HTTP/1", "HTTP/2"],
)
def test_a_server_connection_is_what_it_speaks(opening, kind):
    connection = ServerConnection(now=0.0)
    if opening is None:
        client = Http2Client(0.0, Limits())
        client.send(client.open_stream(0.0), Header(get(), True), 0.0)
        opening = b"".join(client.data_to_send())
    [(stream, head)] = connection.receive_data(opening, 0.0)
    session = ServerSession(connection, stream, head, INFO, 0.0, {})
    machine = session.as_http1() or session.as_http2()
    assert type(machine) is kind
    assert machine is connection.machine
    assert session.get_keepalive() == 60
    session.set_keepalive(None)
    session.respond_error(404)
    assert session.get_keepalive() is None
    assert b"".join(connection.data_to_send())


@pytest.mark.parametrize(
    ("head", "fields", "end"),
    [
        (RequestHeader("GET", "/", version=b"1.0"), b"GET / HTTP/1.0\r\n\r\n", True),
        (RequestHeader("GET", "/a?b", [("host", "x")], version=b"2"), b"GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n", True),
        (
            RequestHeader("POST", "/", [("host", "x")], version=b"2"),
            b"POST / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            False,
        ),
        (
            RequestHeader("POST", "/", [("host", "x"), ("content-length", "3")], version=b"2"),
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n",
            False,
        ),
    ],
    ids=["HTTP/1.0", "HTTP/2", "a body", "a body of known length"],
)
def test_a_head_as_http1_has_it(head, fields, end):
    session = ServerSession(Http1Server(0.0, Limits()), 1, Header(head, end), None, 0.0, {})
    assert session.to_h1_raw() == fields
    [(_, value)] = Http1Server(0.0, Limits()).receive_data(session.to_h1_raw(), 0.0)
    assert (value.head.method, value.head.target, value.end) == (head.method, head.target, end)


def test_a_head_that_http1_does_not_know():
    head = RequestHeader("CONNECT", "/", [("host", "x")], version=b"2", protocol=b"websocket")
    for header in (Header(head, True), None):
        session = ServerSession(Http1Server(0.0, Limits()), 1, header, None, 0.0, {})
        with pytest.raises(LocalProtocolError):
            session.to_h1_raw()
        assert session.read_request() is (header is not None)
        assert session.get_header_bytes("x") == b""


# ── the client's side ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["h1", "h2", "custom"])
def test_a_client_session(name):
    exchange = KINDS[name](post(3), False)
    session = exchange.client_session
    assert (session.as_http1() is None) is (name != "h1")
    assert (session.as_http2() is None) is (name != "h2")
    assert (session.as_custom() is None) is (name != "custom")
    assert session.is_custom is (name == "custom")
    assert session.read_response_header() is None
    with pytest.raises(LocalProtocolError, match="tasks"):
        session.read_response_body()
    with pytest.raises(LocalProtocolError, match="the transport is its driver's"):
        session.stream()
    for setter, at in (("set_read_timeout", 0), ("set_write_timeout", 1)):
        if name == "h2":
            with pytest.raises(LocalProtocolError, match="PeerOptions"):
                getattr(session, setter)(5.0)
        else:
            getattr(session, setter)(5.0 + at)
            assert exchange.client.timeouts[at] == 5.0 + at
    if name != "custom":
        with pytest.raises(LocalProtocolError, match="only a custom protocol"):
            session.take_custom_message_writer()
    if name != "h2":
        assert exchange.client.timeouts == (5.0, 6.0)
        session.set_read_timeout(None)
        assert exchange.client.timeouts == (60.0, 6.0)
    session.shutdown()
    exchange.settle()
    assert isinstance(exchange.exchange.tasks[-1], Failed)


def test_vector_124():
    """A body of 16 bytes; a second head is refused, the trailers arrive, and a second end is nothing."""
    exchange = http2(post(16), False)
    session = exchange.session
    session.enable_retry_buffering()
    exchange.feed(Body(b"0123456789abcdef", True))
    assert session.get_retry_buffer() == b"0123456789abcdef"
    session.write_response_header(ResponseHeader(200))
    with pytest.raises(LocalProtocolError):
        session.write_response_header(ResponseHeader(500))
    session.write_response_body(b"x")
    session.write_response_trailers(Fields([("x-sum", "1")]))
    session.finish_body()
    assert exchange.settle().received[1:] == [Body(b"x"), Trailer(Fields([("x-sum", "1")]))]


@pytest.mark.parametrize("early", [False, True])
def test_a_response_that_comes_early_may_close(early):
    exchange = http1(post(3), False)
    session = exchange.session
    session.set_close_on_response_before_downstream_finish(True)
    if not early:
        exchange.feed(Body(b"abc", True))
    session.write_response_header(ResponseHeader(200, [("Content-Length", "0")]), end=True)
    exchange.settle()
    assert (exchange.received[0].head.get("connection") == b"close") is early
