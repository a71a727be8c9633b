from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.server import ACCESS_FIELDS, AccessFormat, AccessLog
from sansio_pingora.wire import RequestHeader

RECORD = SimpleNamespace(
    status=200,
    body_bytes_sent=5,
    body_bytes_received=0,
    duration=0.25,
    peer=SimpleNamespace(address="127.0.0.1:9000"),
    attempts=1,
    reused=False,
    error=None,
    durations=lambda: {"filters": 0.0, "connect": 0.05, "wait": 0.1, "response": 0.1},
)


def line(text: str, *fields: tuple[str, str], record: object = RECORD, target: str = "/a") -> str:
    head = RequestHeader("GET", target, [("Host", "a.test"), *fields])
    session = SimpleNamespace(req_header=head)
    return AccessFormat(text).line(session, record, "192.0.2.1", 0.0)


def test_combined_with_the_duration():
    assert line("combined", ("User-Agent", "curl")) == (
        '192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl" 0.250000'
    )


def test_json_leaves_out_what_is_not_there():
    values = json.loads(line("json"))

    assert values["connect"] == 0.05
    assert values["upstream"] == "127.0.0.1:9000"
    assert "user_agent" not in values
    assert values.keys() <= set(ACCESS_FIELDS)


@pytest.mark.parametrize("value", ['a" 200 1 "b', "a\\", "\x9bb", "\xe9"])
def test_a_client_cannot_forge_a_line(value):
    written = line('"{user_agent}" {status}', ("User-Agent", value))

    assert written.isprintable()
    assert written.replace("\\\\", "").replace('\\"', "").count('"') == 2


def test_a_request_without_a_head():
    error = Error(ErrorType.INVALID_HTTP_HEADER, "bad")
    record = SimpleNamespace(**{**vars(RECORD), "status": 400, "peer": None, "error": error, "durations": dict})
    session = SimpleNamespace(req_header=None)

    assert AccessFormat("{method} {status} {upstream} {error} {wait}").line(session, record, "unix", 0.0) == (
        "- 400 - InvalidHTTPHeader -"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{statsu}", "did you mean {status}?"),
        ("{status!r}", "there is no field"),
        ("{status:>9}", "there is no field"),
        ("none", "it names no field"),
        ("{", "Single '{'"),
        ("{0}", "there is no field {0}"),
    ],
)
def test_a_format_that_does_not_go(text, told):
    with pytest.raises(ValueError, match=r".") as caught:
        AccessFormat(text)
    assert told in str(caught.value)


def test_a_log_asks_for_the_wall_clock_at_each_line():
    lines, offsets = [], [0.0, 3600.0]
    log = AccessLog(AccessFormat("{time}"), lines.append, lambda now: now + offsets.pop(0))
    for _ in range(2):
        log.tell(SimpleNamespace(req_header=None, client_addr=None, now=1.0), RECORD)
    assert lines == ["01/Jan/1970:00:00:01 +0000", "01/Jan/1970:01:00:01 +0000"]
