import math
import re

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed
from sansio_pingora.testing import Dialogue, DialogueMismatch
from sansio_pingora.wire import Body, Failed, Header, RequestHeader, ResponseHeader

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def server():
    return Dialogue(Http1Server(0.0, Limits()))


def test_a_request_its_answer_and_the_end():
    (
        server()
        .receives(GET)
        .emits(Header(RequestHeader("GET", "/", [("Host", "h")]), True))
        .sends(Header(ResponseHeader(204), True))
        .writes(NO_CONTENT)
        .reads()
        .stays_open()
        .waits(60.0)
        .at(60.0)
        .times_out()
        .emits((0, ConnectionClosed(None)))
        .closes()
        .loses()
        .ends()
    )


def test_a_client_opens_and_sends():
    (
        Dialogue(Http1Client(Limits()))
        .opens()
        .sends(Header(RequestHeader("GET", "/", [("Host", "h")]), True))
        .writes(GET)
        .receives(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .emits(Header, lambda body: body.data == b"ok")
        .ends()
    )


def test_steps_of_every_kind():
    (
        server()
        .receives(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .emits(Header)
        .may_not_send(Body(b"too early"))
        .invites()
        .writes(re.compile(rb"HTTP/1\.1 100 [A-Za-z]+\r\n\r\n"))
        .receives(b"abc")
        .emits((1, Body(b"abc", True)))
        .consumes(3)
        .pauses()
        .sends(Header(ResponseHeader(200, [("Content-Length", "1")]), False), room=False)
        .writes(re.compile(rb"(?s)HTTP/1\.1 200 OK\r\n.*\r\n\r\n"))
        .resumes()
        .emits(lambda event: event.room > 0)
        .drains()
        .aborts()
        .closes(Closing.ABORT)
        .ends()
    )


def test_a_loss_is_told():
    (
        server()
        .receives(GET)
        .emits(Header)
        .loses(Error(ErrorType.READ_ERROR, "reset"))
        .emits(Failed, ConnectionClosed)
        .closes(Closing.ABORT)
        .waits(math.inf)
    )


MISMATCHES = {
    "another event": lambda d: d.receives(GET).emits(Body),
    "another stream": lambda d: d.receives(GET).emits((2, Header)),
    "an event too few": lambda d: d.receives(GET).emits(Header, Body),
    "an event too many": lambda d: d.receives(GET).receives(GET),
    "other bytes": lambda d: d.receives(GET).emits(Header).sends(Header(ResponseHeader(204), True)).writes(b"HTTP/1.0"),
    "no such bytes": lambda d: d.writes(re.compile(rb"x")),
    "bytes too many": lambda d: d.receives(GET).emits(Header).sends(Header(ResponseHeader(204), True)).ends(),
    "no deadline yet": lambda d: d.at(1.0).times_out(),
    "another deadline": lambda d: d.waits(1.0),
    "not closing": lambda d: d.closes(),
    "not shut": lambda d: d.shuts_write(),
    "still reading": lambda d: d.reads(False),
    "legal after all": lambda d: d.receives(GET).emits(Header).may_not_send(Header(ResponseHeader(204), True)),
    "no stream": lambda d: d.opens(),
    "room left": lambda d: d.receives(GET).emits(Header).sends(Header(ResponseHeader(204), True), room=False),
}


@pytest.mark.parametrize("script", MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_is_a_failure(script):
    with pytest.raises(DialogueMismatch):
        script(server())


def test_a_mismatch_marks_the_step():
    with pytest.raises(DialogueMismatch) as caught:
        server().receives(GET).emits(Header).at(2.0).emits(Body)

    lines = str(caught.value).splitlines()
    assert lines[0] == "the dialogue went differently:"
    assert lines[1].strip().startswith("receives(b'GET /")
    assert lines[2].strip() == "emits(Header)"
    assert lines[3].strip() == "at(2.0)"
    assert lines[4] == "  --> emits(Body)"
    assert lines[5].strip() == "expected: Body"
    assert lines[6].strip() == "got:      no event"
    assert "Http1Server stream 1" in lines[7]


def test_time_does_not_run_backwards():
    with pytest.raises(ValueError, match="backwards"):
        server().at(2.0).at(1.0)
