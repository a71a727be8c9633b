"""Every byte value at every place where one byte decides: what is not legal there is refused, however it is cut."""

from __future__ import annotations

import pytest

from tests.http1.runs import bytewise, run_client, run_server, whole

NEXT = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"
TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
BLANK = frozenset(b" \t")
TEXT = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
DIGIT = frozenset(b"0123456789")
HEX = DIGIT | frozenset(b"abcdefABCDEF")
TARGET = frozenset(range(0x21, 0x7F)) - frozenset(b'"#<>\\')
HOST = frozenset(b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
QUOTED = TEXT - frozenset(b'"\\')
NONE: frozenset[int] = frozenset()


def head(lines: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n"


def chunked(body: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked\r\n") + body


# place: (bytes with one @ for the byte, what is legal there)
PLACES = {
    "before the method": (b"@GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", TOKEN),
    "in the method": (b"G@T / HTTP/1.1\r\nHost: a.test\r\n\r\n", TOKEN),
    "between method and target": (b"GET@/ HTTP/1.1\r\nHost: a.test\r\n\r\n", frozenset(b" ")),
    "first of the target": (b"GET @ HTTP/1.1\r\nHost: a.test\r\n\r\n", frozenset(b"/")),
    "in the path": (b"GET /a@b HTTP/1.1\r\nHost: a.test\r\n\r\n", TARGET),
    "in the query": (b"GET /?a@b HTTP/1.1\r\nHost: a.test\r\n\r\n", TARGET),
    "last of the target": (b"GET /a@ HTTP/1.1\r\nHost: a.test\r\n\r\n", TARGET),
    "between target and version": (b"GET /@HTTP/1.1\r\nHost: a.test\r\n\r\n", frozenset(b" ")),
    "in the version's name": (b"GET / HTT@/1.1\r\nHost: a.test\r\n\r\n", frozenset(b"P")),
    "the version's slash": (b"GET / HTTP@1.1\r\nHost: a.test\r\n\r\n", frozenset(b"/")),
    "the major version": (b"GET / HTTP/@.1\r\nHost: a.test\r\n\r\n", frozenset(b"1")),
    "the version's point": (b"GET / HTTP/1@1\r\nHost: a.test\r\n\r\n", frozenset(b".")),
    "the minor version": (b"GET / HTTP/1.@\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", frozenset(b"01")),
    "behind the version": (b"GET / HTTP/1.1@\r\nHost: a.test\r\n\r\n", NONE),
    "before the first name": (b"GET / HTTP/1.1\r\n@X: y\r\nHost: a.test\r\n\r\n", TOKEN),
    "before a later name": (b"GET / HTTP/1.1\r\nHost: a.test\r\n@X: y\r\n\r\n", TOKEN),
    "in a name": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX@Y: z\r\n\r\n", TOKEN | frozenset(b":")),
    "behind a name": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX@: y\r\n\r\n", TOKEN | frozenset(b":")),
    "before a value": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX:@y\r\n\r\n", TEXT),
    "in a value": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a@b\r\n\r\n", TEXT),
    "behind a value": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y@\r\n\r\n", TEXT),
    "instead of CR behind the request line": (b"GET / HTTP/1.1@\nHost: a.test\r\n\r\n", frozenset(b"\r")),
    "instead of LF behind the request line": (b"GET / HTTP/1.1\r@Host: a.test\r\n\r\n", frozenset(b"\n")),
    "instead of CR behind a field": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y@\nY: z\r\n\r\n", frozenset(b"\r")),
    "instead of LF behind a field": (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: y\r@Y: z\r\n\r\n", frozenset(b"\n")),
    "instead of CR at the end of a head": (b"GET / HTTP/1.1\r\nHost: a.test\r\n@\n", frozenset(b"\r")),
    "instead of LF at the end of a head": (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r@", frozenset(b"\n")),
    "in the name Host": (b"GET / HTTP/1.1\r\nH@st: a.test\r\n\r\n", frozenset(b"oO")),
    "first of the host": (b"GET / HTTP/1.1\r\nHost: @a.test\r\n\r\n", HOST | BLANK),
    "in the host": (b"GET / HTTP/1.1\r\nHost: a@test\r\n\r\n", HOST),
    "last of the host": (b"GET / HTTP/1.1\r\nHost: a.test@\r\n\r\n", HOST | BLANK),
    "in the port": (b"GET / HTTP/1.1\r\nHost: a.test:8@0\r\n\r\n", DIGIT),
    "in an address": (b"GET / HTTP/1.1\r\nHost: [::@1]\r\n\r\n", HEX),
    "before a length": (head(b"Content-Length: @5\r\n") + b"hello", BLANK | frozenset(b"0")),
    "behind a length": (head(b"Content-Length: 5@\r\n") + b"hello", BLANK),
    "in the name Content-Length": (head(b"Content@Length: 0\r\n"), TOKEN | frozenset(b":")),
    "behind the name Content-Length": (head(b"Content-Length@: 0\r\n"), TOKEN),
    "before chunked": (head(b"Transfer-Encoding: @chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n", BLANK),
    "in chunked": (head(b"Transfer-Encoding: chun@ed\r\n") + b"5\r\nhello\r\n0\r\n\r\n", frozenset(b"kK")),
    "behind chunked": (head(b"Transfer-Encoding: chunked@\r\n") + b"5\r\nhello\r\n0\r\n\r\n", BLANK),
    "behind the name Transfer-Encoding": (head(b"Transfer-Encoding@: chunked\r\n"), TOKEN),
    "before a chunk size": (chunked(b"@5\r\nhello\r\n0\r\n\r\n"), frozenset(b"0")),
    "a chunk size": (chunked(b"@\r\nhello\r\n0\r\n\r\n"), frozenset(b"5")),
    "behind a chunk size": (chunked(b"5@\r\nhello\r\n0\r\n\r\n"), NONE),
    "instead of CR behind a chunk size": (chunked(b"5@\nhello\r\n0\r\n\r\n"), frozenset(b"\r")),
    "instead of LF behind a chunk size": (chunked(b"5\r@hello\r\n0\r\n\r\n"), frozenset(b"\n")),
    "instead of CR behind a chunk": (chunked(b"5\r\nhello@\n0\r\n\r\n"), frozenset(b"\r")),
    "instead of LF behind a chunk": (chunked(b"5\r\nhello\r@0\r\n\r\n"), frozenset(b"\n")),
    "behind a chunk": (chunked(b"5\r\nhello@\r\n0\r\n\r\n"), NONE),
    "in an extension's name": (chunked(b"5;a@b\r\nhello\r\n0\r\n\r\n"), TOKEN | frozenset(b";=")),
    "behind an extension's semicolon": (chunked(b"5;@a\r\nhello\r\n0\r\n\r\n"), TOKEN),
    "in an extension's value": (chunked(b"5;a=b@c\r\nhello\r\n0\r\n\r\n"), TOKEN | frozenset(b";")),
    "in a quoted extension": (chunked(b'5;a="b@c"\r\nhello\r\n0\r\n\r\n'), QUOTED | frozenset(b"\\")),
    "escaped in a quoted extension": (chunked(b'5;a="b\\@"\r\nhello\r\n0\r\n\r\n'), TEXT),
    "behind a quoted extension": (chunked(b'5;a="b"@\r\nhello\r\n0\r\n\r\n'), NONE),
    "the last chunk": (chunked(b"5\r\nhello\r\n@\r\n\r\n"), frozenset(b"0")),
    "behind the last chunk": (chunked(b"5\r\nhello\r\n0@\r\n\r\n"), frozenset(b"0")),
    "instead of CR behind the last chunk": (chunked(b"5\r\nhello\r\n0@\n\r\n"), frozenset(b"\r")),
    "instead of LF behind the last chunk": (chunked(b"5\r\nhello\r\n0\r@\r\n"), frozenset(b"\n")),
    "instead of CR at the end of a body": (chunked(b"5\r\nhello\r\n0\r\n@\n"), frozenset(b"\r")),
    "instead of LF at the end of a body": (chunked(b"5\r\nhello\r\n0\r\n\r@"), frozenset(b"\n")),
    "in a trailer's name": (chunked(b"5\r\nhello\r\n0\r\nX@Y: z\r\n\r\n"), TOKEN | frozenset(b":")),
    "before a trailer's name": (chunked(b"5\r\nhello\r\n0\r\n@X: y\r\n\r\n"), TOKEN),
    "in a trailer's value": (chunked(b"5\r\nhello\r\n0\r\nX: a@b\r\n\r\n"), TEXT),
    "instead of LF behind a trailer": (chunked(b"5\r\nhello\r\n0\r\nX: y\r@Y: z\r\n\r\n"), frozenset(b"\n")),
}


# Legal as well, but it says something else: another length, another size.
ELSEWISE = {
    "before a length": DIGIT,
    "behind a length": DIGIT,
    "before a chunk size": HEX,
    "a chunk size": HEX,
    "behind a chunk size": HEX,
    "the last chunk": HEX,
    "behind the last chunk": HEX,
}


@pytest.mark.parametrize("place", PLACES)
def test_request(place):
    template, legal = PLACES[place]
    before, mark, after = template.partition(b"@")
    assert mark
    for byte in range(256):
        raw = before + bytes([byte]) + after + NEXT
        first, second = run_server(whole(raw)), run_server(bytewise(raw))
        told = f"byte {byte:#04x}: {raw!r}"
        assert (first.events, first.out) == (second.events, second.out), told
        if byte not in legal and byte in ELSEWISE.get(place, NONE):
            continue
        if byte in legal:
            assert [seen[1] for seen in first.seen][-1:] == ["/next"], told
            assert len(first.seen) == 2, told
            assert not first.failures, told
        else:
            assert first.seen == [], told
            # Short of a refusal it may wait: a CR may still become a line end, digits a longer chunk.
            assert first.refused or not first.over, told
            if not first.refused:
                assert run_server(whole(raw), eof=True).seen == [], told


# What an origin sends; behind it the answer ends by its length.
ANSWERS = {
    "in the version": (b"HTTP/1.@ 200 OK\r\nContent-Length: 2\r\n\r\nok", frozenset(b"01")),
    "before the status": (b"HTTP/1.1@200 OK\r\nContent-Length: 2\r\n\r\nok", frozenset(b" ")),
    "in the status": (b"HTTP/1.1 2@0 OK\r\nContent-Length: 2\r\n\r\nok", DIGIT),
    "first of the status": (b"HTTP/1.1 @00 OK\r\nContent-Length: 2\r\n\r\nok", frozenset(b"23456789")),
    "behind the status": (b"HTTP/1.1 200@OK\r\nContent-Length: 2\r\n\r\nok", frozenset(b" ")),
    "in the reason": (b"HTTP/1.1 200 O@K\r\nContent-Length: 2\r\n\r\nok", TEXT),
    "before the status line": (b"@HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", NONE),
    "in a name": (b"HTTP/1.1 200 OK\r\nX@Y: z\r\nContent-Length: 2\r\n\r\nok", TOKEN | frozenset(b":")),
    "before a name": (b"HTTP/1.1 200 OK\r\n@X: y\r\nContent-Length: 2\r\n\r\nok", TOKEN),
    "in a value": (b"HTTP/1.1 200 OK\r\nX: a@b\r\nContent-Length: 2\r\n\r\nok", TEXT),
    "before a length": (b"HTTP/1.1 200 OK\r\nContent-Length: @2\r\n\r\nok", BLANK | frozenset(b"0")),
    "behind a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2@\r\n\r\nok", BLANK),
    "in chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chun@ed\r\n\r\n2\r\nok\r\n0\r\n\r\n", frozenset(b"kK")),
    "behind a chunk size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2@\r\nok\r\n0\r\n\r\n", NONE),
    "behind a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok@\r\n0\r\n\r\n", NONE),
    "instead of LF behind a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r@0\r\n\r\n",
        frozenset(b"\n"),
    ),
    "in a trailer's name": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX@Y: z\r\n\r\n",
        TOKEN | frozenset(b":"),
    ),
}


@pytest.mark.parametrize("place", ANSWERS)
def test_response(place):
    template, legal = ANSWERS[place]
    before, mark, after = template.partition(b"@")
    assert mark
    for byte in range(256):
        raw = before + bytes([byte]) + after
        first, second = run_client(whole(raw)), run_client(bytewise(raw))
        told = f"byte {byte:#04x}: {raw!r}"
        assert first.events == second.events, told
        body = b"".join(event[2] for event in first.events if event[1] == "body")
        complete = any(event[1] == "done" or event[-1] is True or event[1] == "trailer" for event in first.events)
        if byte in legal:
            assert not first.failures, told
            assert complete or body == b"ok", told
        else:
            assert not complete, told
            if not first.failures:
                assert run_client(whole(raw), eof=True).failures, told
