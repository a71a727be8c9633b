"""Requests that a process makes of its own handlers."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Lane
from sansio_pingora.session import SubrequestConnection, clear_request_body_headers, start_subrequest
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, RequestHeader, ResponseHeader, Trailer, UpgradedBody
from tests.session.kinds import INFO, Asked, Handler, get, post

FAULT = Error(ErrorType.CONNECT_REFUSED, "on purpose")
UPGRADE = get(("Connection", "upgrade"), ("Upgrade", "x"))


def bodies(tasks):
    return [task for task in tasks if not isinstance(task, Header)]


def failure(tasks):
    """The name of the error at the end of *tasks*."""
    return tasks[-1].error.type_str


def answering(*tasks, request=None, end=True):
    """A subrequest to a handler that answers with *tasks*."""
    asked = Asked(request or get(), end)
    for task in tasks:
        asked.session.write_task(task)
    return asked.settle()


# ── the request ──────────────────────────────────────────────────────────────────────


def test_it_is_a_request_like_any_other():
    head = get(("X-A", "1"))
    asked = Asked(head, True)
    session = asked.session
    assert session.is_subrequest
    assert session.req_header == head
    assert session.req_header is not head
    assert session.is_body_empty()
    assert session.is_body_done()
    assert session.info is INFO
    assert session.request_summary() == "GET /x, Host: a.test (subrequest)"
    assert asked.handle.request_done


def test_it_begins_when_the_caller_has_returned():
    lane, handler = Lane(), Handler()
    start_subrequest(lane, handler, get(), Asked(get(), True), end=True)
    assert handler.begun == []
    while lane.drain(0.0):
        pass
    assert len(handler.begun) == 1


def test_a_head_of_http2_needs_no_other_form():
    head = RequestHeader("POST", "/x", [("host", "a.test")], version=b"2", scheme=b"https")
    asked = Asked(head, False)
    assert asked.session.req_header == head
    assert not asked.session.is_http2
    asked.session.invite_body()
    asked.feed(Body(b"abc"), Done())
    assert asked.exchange.tasks == [Body(b"abc"), Done()]


def test_a_request_without_a_body_loses_what_its_head_says_of_one():
    fields = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip"), ("X-A", "1")]
    asked = Asked(post(5, *fields), True)
    assert asked.session.req_header.fields == Fields([("Host", "a.test"), ("X-A", "1")])
    chunked = post(None, ("Transfer-Encoding", "chunked"))
    clear_request_body_headers(chunked)
    assert chunked.fields == Fields([("Host", "a.test")])


@pytest.mark.parametrize(
    "head",
    [
        post(None, ("Content-Length", "x")),
        post(3, ("Content-Length", "3")),
        post(3, ("Transfer-Encoding", "chunked")),
        post(None, ("Transfer-Encoding", "gzip")),
    ],
    ids=["no number", "two lengths", "both", "unknown coding"],
)
def test_a_head_with_two_readings(head):
    with pytest.raises(LocalProtocolError, match="request head"):
        SubrequestConnection(head, end=False)


@pytest.mark.parametrize(
    ("size", "sent", "came"),
    [
        (3, [Body(b"abc")], [Body(b"abc", True)]),
        (3, [Body(b"ab"), Body(b""), Body(b"c", True)], [Body(b"ab"), Body(b"c", True)]),
        (3, [Body(b"abc"), Done(), Body(b""), Body(b"d")], [Body(b"abc", True)]),
        (3, [Body(b"abcdef", True)], [Body(b"abc", True)]),
        (3, [Body(b"ab"), Body(b"cdef"), Body(b"g")], [Body(b"ab"), Body(b"c", True)]),
        (None, [Body(b"a"), Body(b"", True)], [Body(b"a"), Done()]),
        (None, [Body(b"a", True), Body(b"b")], [Body(b"a"), Done()]),
        (None, [Done()], [Done()]),
        (None, [Body(b"a"), Trailer(Fields([("X-Sum", "1")]))], [Body(b"a"), Trailer(Fields([("X-Sum", "1")]))]),
        (3, [Body(b"abc"), Trailer(Fields([("X-Sum", "1")]))], [Body(b"abc", True)]),
        (0, [Body(b"a")], []),
    ],
)
def test_a_body(size, sent, came):
    asked = Asked(post(size), False)
    asked.session.invite_body()
    asked.feed(*sent)
    assert asked.exchange.tasks == came
    assert asked.session.is_body_done()
    assert asked.handle.request_done


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        ([Body(b"a"), Body(b""), Body(b"", True)], [Body(b"a")]),  # vector 128
        ([Body(b"ab", True)], [Body(b"ab")]),
        ([Body(b"ab"), Done()], [Body(b"ab")]),
        ([Trailer(Fields())], []),
    ],
)
def test_a_body_that_ends_early_fails_on_both_sides_behind_what_came(sent, came):
    asked = Asked(post(3), False)
    asked.session.invite_body()
    asked.feed(*sent)
    assert asked.exchange.tasks[:-1] == came
    assert failure(asked.exchange.tasks) == failure(asked.received) == "PrematureBodyEnd"
    assert asked.received[-1].error.esource is ErrorSource.DOWNSTREAM
    assert asked.handle.response_done
    assert asked.connection.closing
    asked.session.write_response_header(ResponseHeader(200))
    asked.feed(Body(b"late"))
    assert len(asked.settle().received) == 1


@pytest.mark.parametrize(("size", "came"), [(None, [Body(b"ab"), Done()]), (2, [Body(b"ab", True)])])
def test_the_end_is_said_by_itself(size, came):
    asked = Asked(post(size), False)
    asked.feed(Body(b"ab"))
    asked.handle.finish(0.0)
    asked.handle.finish(0.0)
    assert asked.settle().exchange.tasks == came


def test_the_body_is_wanted_once():
    asked = Asked(post(3), False)
    assert not asked.handle.wants_body
    assert asked.wanted == 0
    asked.session.invite_body()
    asked.session.invite_body()
    assert asked.handle.wants_body
    asked.settle()
    assert asked.wanted == 1
    asked.session.write_continue_response()
    asked.settle()
    assert asked.wanted == 1
    assert [task.head.status for task in asked.received] == [100]


def test_a_100_wants_the_body():
    asked = Asked(post(3), False)
    asked.session.write_continue_response()
    assert asked.settle().wanted == 1


def test_no_body_is_never_wanted():
    asked = Asked(get(), True)
    asked.session.invite_body()
    assert asked.settle().wanted == 0
    assert not asked.handle.wants_body


def test_a_body_that_was_not_wanted_waits_for_its_reader():
    asked = Asked(post(3), False)
    asked.feed(Body(b"abc"))
    assert asked.exchange.tasks == [Body(b"abc", True)]


@pytest.mark.parametrize(
    "task", [Header(get(), True), UpgradedBody(b"x"), Trailer(Fields([("Content-Length", "3")]))], ids=repr
)
def test_what_a_request_cannot_hold(task):
    asked = Asked(post(), False)
    with pytest.raises(LocalProtocolError):
        asked.handle.send(task, 0.0)
    assert asked.settle().exchange.tasks == []


def test_giving_up():
    asked = Asked(post(3), False)
    asked.session.write_response_header(ResponseHeader(200))
    asked.handle.fail(FAULT, 0.0)
    asked.settle()
    assert asked.exchange.tasks == [Failed(FAULT)]
    assert asked.session.closed is FAULT
    assert asked.received == []
    asked.session.write_response_body(b"x", end=True)
    asked.handle.fail(FAULT, 0.0)
    asked.handle.finish(0.0)
    assert asked.settle().received == []
    assert len(asked.exchange.tasks) == 1


def test_giving_up_before_it_has_begun():
    asked = Asked.__new__(Asked)
    lane, handler = Lane(), Handler()
    handle = start_subrequest(lane, handler, get(), asked, end=True)
    handle.send(Failed(FAULT), 0.0)
    while lane.drain(0.0):
        pass
    assert handler.begun[0].tasks == [Failed(FAULT)]


# ── the response ─────────────────────────────────────────────────────────────────────

OK = Header(ResponseHeader(200), False)
THREE = Header(ResponseHeader(200, [("Content-Length", "3")]), False)


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        ([OK, Body(b"a"), Body(b"b", True)], [Body(b"a"), Body(b"b"), Done()]),
        ([OK, Body(b"a"), Done(), Done(), Body(b"late"), Trailer(Fields())], [Body(b"a"), Done()]),
        ([OK, Trailer(Fields([("X", "1")]))], [Trailer(Fields([("X", "1")]))]),
        ([THREE, Body(b"abc")], [Body(b"abc", True)]),
        ([THREE, Body(b"abcdef", True)], [Body(b"abc", True)]),  # vector 129: cut to what was declared
        ([THREE, Body(b"ab"), Body(b"cd"), Body(b"e")], [Body(b"ab"), Body(b"c", True)]),
        ([THREE, Body(b"abc"), Done()], [Body(b"abc", True)]),
    ],
)
def test_a_response(sent, came):
    asked = answering(*sent)
    assert asked.received[0] == sent[0]
    assert bodies(asked.received) == came
    assert asked.handle.response_done
    assert asked.connection.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        ("HEAD", 200, [("Content-Length", "5")]),
        ("GET", 204, []),
        ("GET", 304, [("Content-Length", "5")]),
        ("HEAD", 200, []),
    ],
)
@pytest.mark.parametrize("rest", [[], [Body(b"hello"), Done()], [Body(b"hello", True)], [Trailer(Fields())]], ids=repr)
def test_a_response_without_a_body(method, status, fields, rest):
    asked = answering(Header(ResponseHeader(status, fields), not rest), *rest, request=get(method=method))
    assert asked.received == [Header(ResponseHeader(status, fields), True)]
    assert asked.session.response_done
    assert asked.connection.closing


def test_heads_are_the_receivers_own():
    head = ResponseHeader(200, [("X-A", "1")])
    trailers = Fields([("X-B", "2")])
    asked = answering(Header(head, False), Trailer(trailers))
    asked.received[0].head.insert("X-A", "changed")
    asked.received[1].fields.insert("X-B", "changed")
    assert head.get("x-a") == b"1"
    assert trailers.get("x-b") == b"2"


def test_nothing_is_added_to_a_head():
    asked = answering(Header(ResponseHeader(200, [("Content-Length", "0")]), True))
    assert asked.received == [Header(ResponseHeader(200, [("Content-Length", "0")]), True)]


def test_informational_heads_pass():
    asked = answering(
        Header(ResponseHeader(103), False), Header(ResponseHeader(100), False), Header(ResponseHeader(204), True)
    )
    assert [task.head.status for task in asked.received] == [103, 100, 204]


@pytest.mark.parametrize(
    ("sent", "then"),
    [
        ([], Body(b"x")),
        ([], Done()),
        ([], Trailer(Fields())),
        ([], UpgradedBody(b"x")),
        ([], Header(ResponseHeader(101), False)),
        ([], Header(get(), True)),
        ([], Header(ResponseHeader(200, [("Content-Length", "3")]), True)),
        ([], Header(ResponseHeader(200, [("Content-Length", "x")]), False)),
        ([OK], UpgradedBody(b"x")),
        ([OK], Trailer(Fields([("Content-Length", "1")]))),
        ([THREE, Body(b"a")], Body(b"b", True)),
        ([THREE, Body(b"a")], Done()),
        ([THREE, Body(b"a")], Trailer(Fields())),
    ],
    ids=repr,
)
def test_an_illegal_move_changes_nothing(sent, then):
    asked = answering(*sent)
    before = list(asked.received)
    with pytest.raises(LocalProtocolError):
        asked.connection.send(1, then, 0.0)
    assert asked.settle().received == before
    assert not asked.connection.closing


def test_a_second_final_head_is_refused():  # vector 130
    asked = answering(OK)
    with pytest.raises(LocalProtocolError):
        asked.connection.send(1, OK, 0.0)
    with pytest.raises(LocalProtocolError):
        asked.connection.send(2, OK, 0.0)


def test_a_failed_response():  # vector 130
    asked = answering(OK, Body(b"a"), Failed(FAULT), Done())
    assert bodies(asked.received) == [Body(b"a"), Failed(FAULT)]
    assert asked.handle.response_done
    assert asked.session.finished


def test_a_response_that_fails_before_its_head():
    assert answering(Failed(FAULT)).received == [Failed(FAULT)]


def test_a_response_that_is_complete_before_its_request():
    asked = Asked(post(200_000), False)
    asked.session.invite_body()
    asked.feed(Body(b"x" * 100_000))
    assert asked.handle.room <= 0
    asked.session.respond_error(413)
    asked.session.release()
    asked.settle()
    assert asked.rooms == [65_536]  # who waited for room may go on, to nobody
    assert asked.handle.request_done
    assert asked.handle.send(Body(b"x" * 100_000), 0.0) > 0
    assert asked.settle().exchange.tasks == [Body(b"x" * 100_000)]
    asked.connection.consumed(1, 100_000, 0.0)  # late credit
    asked.connection.send(1, OK, 0.0)
    asked.connection.send(1, Failed(FAULT), 0.0)
    assert [type(task) for task in asked.settle().received] == [Header]


def test_why_a_proxy_failed():
    asked = answering()
    assert asked.handle.proxy_error is None
    asked.session.on_proxy_failure(FAULT)
    asked.session.on_proxy_failure(Error(ErrorType.READ_ERROR))
    assert asked.handle.proxy_error is FAULT


def test_draining_a_response():
    asked = Asked(post(3), False)
    asked.handle.drain_tasks()
    session = asked.session
    session.write_response_header(ResponseHeader(200))
    for _ in range(5):
        session.write_response_body(b"x" * 100_000)
        asked.settle()
    assert len(asked.exchange.rooms) == 5
    session.invite_body()
    asked.feed(Body(b"abc"))
    session.finish_body()
    asked.settle()
    assert asked.received == []
    assert asked.handle.response_done
    assert asked.exchange.tasks == [Body(b"abc", True)]


# ── tunnels ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("head", "answer"),
    [(UPGRADE, 101), (RequestHeader("CONNECT", "b:1", [("Host", "b:1")]), 200)],
    ids=["upgrade", "CONNECT"],
)
def test_a_tunnel(head, answer):
    asked = Asked(head, True)
    session = asked.session
    with pytest.raises(LocalProtocolError):
        asked.handle.send(UpgradedBody(b"early"), 0.0)
    session.write_response_header(ResponseHeader(answer))
    assert asked.settle().wanted == 1
    with pytest.raises(LocalProtocolError):
        asked.handle.send(Body(b"x"), 0.0)
    for illegal in (Body(b"x"), Done(), Trailer(Fields())):
        with pytest.raises(LocalProtocolError):
            asked.connection.send(1, illegal, 0.0)
    asked.feed(UpgradedBody(b"up"), UpgradedBody(b""))
    session.write_response_body(b"down")
    session.finish_body()
    asked.settle()
    assert bodies(asked.received) == [UpgradedBody(b"down"), UpgradedBody(b"", True)]
    assert not asked.connection.closing
    asked.connection.send(1, UpgradedBody(b"late"), 0.0)
    asked.handle.finish(0.0)
    asked.settle()
    assert asked.exchange.tasks == [UpgradedBody(b"up"), UpgradedBody(b"", True)]
    assert asked.connection.closing
    assert session.finished


def test_a_declared_body_goes_before_the_tunnel():
    asked = Asked(post(3, ("Connection", "upgrade"), ("Upgrade", "x")), False)
    asked.session.write_response_header(ResponseHeader(101))
    asked.feed(Body(b"ab"))
    with pytest.raises(LocalProtocolError):
        asked.handle.send(UpgradedBody(b"raw"), 0.0)
    asked.feed(Body(b"c"), UpgradedBody(b"raw"))
    assert asked.exchange.tasks == [Body(b"ab"), Body(b"c", True), UpgradedBody(b"raw")]


def test_a_tunnel_of_which_one_direction_has_ended_can_be_cut():
    asked = Asked(UPGRADE, True)
    asked.session.write_response_header(ResponseHeader(101))
    asked.session.finish_body()
    asked.session.shutdown(FAULT)
    assert bodies(asked.settle().received) == [UpgradedBody(b"", True), Failed(FAULT)]
    assert asked.connection.closing


def test_framing_in_a_head_that_opens_a_tunnel():
    asked = Asked(UPGRADE, True)
    with pytest.raises(LocalProtocolError, match="framing"):
        asked.session.write_response_header(ResponseHeader(101, [("Content-Length", "0")]))
    assert not asked.session.upgraded


# ── credit ───────────────────────────────────────────────────────────────────────────


def test_credit_of_the_body():
    asked = Asked(post(), False, limits=Limits(high_water=10))
    assert asked.handle.room == 10
    assert asked.handle.send(Body(b"x" * 6), 0.0) == 4
    assert asked.handle.send(Body(b"x" * 6), 0.0) == -2
    asked.settle()
    asked.session.consumed(1)
    assert asked.settle().rooms == []
    asked.session.consumed(5)
    asked.session.consumed(6)
    assert asked.settle().rooms == [4]  # told once, when there was room again
    with pytest.raises(LocalProtocolError):
        asked.session.consumed(1)


def test_credit_of_the_response():
    asked = Asked(get(), True, limits=Limits(high_water=10))
    session = asked.session
    session.write_response_header(ResponseHeader(200))
    assert session.write_response_body(b"x" * 12) == -2
    asked.settle()
    asked.handle.consumed(1, 0.0)
    assert asked.settle().exchange.rooms == []
    asked.handle.consumed(11, 0.0)
    assert asked.settle().exchange.rooms == [10]
    with pytest.raises(LocalProtocolError):
        asked.handle.consumed(1, 0.0)


# ── as a connection ──────────────────────────────────────────────────────────────────


def test_without_a_lane_it_runs_when_it_is_told_the_time():
    connection = SubrequestConnection(post(2), end=False)
    assert connection.deadline == AT_ONCE
    [(stream, head)] = connection.handle_timeout(0.0)
    assert (stream, head.end) == (1, False)
    connection.handle.send(Body(b"ok"), 0.0)
    assert connection.next_reason() == "tasks that have come already"
    assert connection.handle_timeout(0.0) == [(1, Body(b"ok", True))]
    assert connection.next_reason() == "nothing"


def test_it_has_no_transport():
    connection = SubrequestConnection(get(), end=True)
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"GET", 0.0)
    assert connection.data_to_send() == connection.write_resumed(0.0) == []
    connection.write_paused(0.0)
    connection.write_progressed(0.0)
    connection.drain(0.0)
    assert connection.open_stream(0.0) is None
    assert not connection.closing


@pytest.mark.parametrize("lose", [lambda c: c.receive_eof(0.0), lambda c: c.transport_lost(FAULT, 0.0)])
def test_losing_it_is_giving_up(lose):
    connection = SubrequestConnection(get(), end=True)
    _, failed, closed = [value for _, value in lose(connection)]
    assert isinstance(failed, Failed)
    assert isinstance(closed, ConnectionClosed)


def test_aborting_tells_both_sides():
    asked = Asked(post(3), False)
    asked.connection.abort(0.0)
    asked.connection.abort(0.0)
    asked.settle()
    assert failure(asked.exchange.tasks) == failure(asked.received) == "ConnectionClosed"
    assert len(asked.received) == len(asked.exchange.tasks) == 1


class ASubrequest(RuleBasedStateMachine):
    """Both sides do whatever is legal; each hears all that the other sent, in order, and is owed no more than allowed."""

    high_water = 64

    @initialize(size=st.none() | st.integers(1, 300), answer=st.none() | st.integers(1, 300))
    def begin(self, size, answer):
        self.asked = Asked(post(size), False, limits=Limits(high_water=self.high_water))
        self.size, self.answer = size, answer
        self.up = self.down = b""
        self.up_done = self.down_done = self.head_sent = False
        self.up_room = self.down_room = self.high_water
        self.used = [0, 0]

    @precondition(lambda self: not self.up_done and self.up_room > 0)
    @rule(data=st.binary(max_size=100), end=st.booleans())
    def send_body(self, data, end):
        left = None if self.size is None else self.size - len(self.up)
        end = end if left is None else len(data) >= left
        self.up_room = self.asked.handle.send(Body(data, end), 0.0)
        self.up += data[:left]
        self.up_done = end

    @precondition(lambda self: not self.head_sent)
    @rule()
    def send_head(self):
        fields = [] if self.answer is None else [("Content-Length", str(self.answer))]
        self.asked.session.write_response_header(ResponseHeader(200, fields))
        self.head_sent = True

    @precondition(lambda self: self.head_sent and not self.down_done and self.down_room > 0)
    @rule(data=st.binary(max_size=100), end=st.booleans())
    def answer_body(self, data, end):
        left = None if self.answer is None else self.answer - len(self.down)
        end = end if left is None else len(data) >= left
        self.down_room = self.asked.session.write_task(Body(data, end))
        self.down += data[:left]
        self.down_done = end
        if end:
            self.up_done = True  # nobody hears of the rest

    @rule(share=st.floats(0, 1))
    def use_the_body(self, share):
        size = int(share * (len(self.heard_up) - self.used[0]))
        self.asked.session.consumed(size)
        self.used[0] += size

    @rule(share=st.floats(0, 1))
    def use_the_answer(self, share):
        size = int(share * (len(self.heard_down) - self.used[1]))
        self.asked.handle.consumed(size, 0.0)
        self.used[1] += size

    @rule()
    def run(self):
        self.asked.settle()
        for rooms, name in ((self.asked.rooms, "up_room"), (self.asked.exchange.rooms, "down_room")):
            if rooms:
                setattr(self, name, rooms.pop())
                assert rooms == [] or name == "up_room"
                rooms.clear()

    @property
    def heard_up(self):
        return b"".join(task.data for task in self.asked.exchange.tasks if isinstance(task, Body))

    @property
    def heard_down(self):
        return b"".join(task.data for task in self.asked.received if isinstance(task, Body))

    @invariant()
    def what_is_heard_was_sent(self):
        if not hasattr(self, "asked"):
            return
        assert self.up.startswith(self.heard_up)
        assert self.down.startswith(self.heard_down)
        assert self.asked.session.closed is None
        if not self.down_done:
            assert len(self.up) - self.used[0] < self.high_water + 100
        assert len(self.down) - self.used[1] < self.high_water + 100

    def teardown(self):
        if not hasattr(self, "asked"):
            return
        self.asked.settle()
        assert self.heard_down == self.down
        if self.down_done:
            assert self.asked.received[-1].end
            assert sum(task.end for task in self.asked.received) == 1
        else:
            assert self.heard_up == self.up
            assert self.asked.session.is_body_done() is self.up_done
            if self.up_room <= 0:
                self.asked.session.consumed(len(self.heard_up) - self.used[0])
                assert self.asked.settle().rooms


TestASubrequest = ASubrequest.TestCase
