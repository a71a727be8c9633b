"""One named test per known attack on HTTP/1 framing, in each direction that it has, with the members of its class.

Towards us as a server: refused with an error page and ``Connection: close``, and no byte behind it is read
as a request. From an origin: the exchange fails, and the connection is not used again.
"""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Done, Header, RequestHeader, ResponseHeader, Trailer
from tests.http1.runs import (
    LIMITS,
    Run,
    bytewise,
    make_client,
    make_server,
    plain,
    read_responses,
    run_client,
    run_server,
    segmentations,
    whole,
)

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"


def post(lines: bytes, body: bytes = b"", *, version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/%b\r\nHost: a.test\r\n%b\r\n%b" % (version, lines, body)


def reply(lines: bytes, body: bytes = b"", *, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return b"HTTP/%b %b\r\n%b\r\n%b" % (version, status, lines, body)


def refused(raw: bytes, *statuses: int) -> Run:
    """Nothing of *raw* is served, whatever comes behind it, and however it is cut."""
    raw += SMUGGLED
    first: Run | None = None
    for how, pieces in segmentations(raw):
        run = run_server(pieces)
        assert run.seen == [], (how, raw)
        assert run.refused, (how, raw)
        assert run.statuses == [run.statuses[0]], (how, raw)
        assert run.statuses[0] in (statuses or (400,)), (how, raw)
        assert read_responses(run.out)[0][1]["connection"] == "close", (how, raw)
        first = first or run
        assert (run.events, run.out) == (first.events, first.out), (how, raw)
    assert first is not None
    return first


def served(raw: bytes, *seen: list[str]) -> None:
    for how, pieces in segmentations(raw):
        run = run_server(pieces)
        assert run.seen == list(seen), (how, raw)
        assert not run.failures, (how, raw)


def discarded(raw: bytes, *, request: RequestHeader | None = None, eof: bool = False) -> None:
    """The answer counts as failed, and the connection is not used again."""
    for how, pieces in segmentations(raw):
        run = run_client(pieces, request=request, eof=eof)
        assert run.failures, (how, raw)
        assert run.over, (how, raw)
        assert not run.reusable, (how, raw)
        assert not any(event[1] == "done" for event in run.events), (how, raw)


def taken(raw: bytes, *, reusable: bool, body: bytes = b"hello", eof: bool = False, request=None) -> None:
    """The answer is complete, nothing behind it counts, and the connection may be used again or not."""
    for how, pieces in segmentations(raw):
        run = run_client(pieces, request=request, eof=eof)
        assert not run.failures, (how, raw)
        assert b"".join(event[2] for event in run.events if event[1] == "body") == body, (how, raw)
        assert run.reusable == reusable, (how, raw)


CHUNKED_HELLO = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"

# ── S1: both Content-Length and Transfer-Encoding ────────────────────────────────────

BOTH = [
    b"Content-Length: 5\r\n" + TE,
    TE + b"Content-Length: 5\r\n",
    TE + b"Content-Length: 0\r\n",
    TE + b"content-length: 99999\r\n",
    TE + b"Content-Length: \r\n",
    TE + b"Content-Length: -1\r\n",
    TE + b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding:\r\n",
    b"Content-Length: 5\r\nX: y\r\nTRANSFER-ENCODING: CHUNKED\r\n",
]


@pytest.mark.parametrize("lines", BOTH)
def test_s1_both_framings_in_a_request(lines):
    refused(post(lines, CHUNKED_HELLO))
    refused(post(lines, b"0\r\n\r\n"))
    refused(b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % lines)


@pytest.mark.parametrize("lines", BOTH)
def test_s1_both_framings_in_an_answer(lines):
    discarded(reply(lines, CHUNKED_HELLO))
    discarded(reply(lines, b"", status=b"304 Not Modified"))


# ── S2: an obfuscated Transfer-Encoding ──────────────────────────────────────────────

CODINGS = [
    b"",
    b" ",
    b",",
    b"chunked,",
    b",chunked",
    b"chunked, ,",
    b"chunked;",
    b"chunked;q=1",
    b"chunked ;a=b",
    b'"chunked"',
    b"'chunked'",
    b"chunked chunked",
    b"chunked, chunked",
    b"chunked, identity",
    b"identity, chunked",
    b"identity",
    b"xchunked",
    b"chunkedx",
    b"chunke",
    b"hunked",
    b"chun\xe2\x84\xaaed",
    b"chun\xc3\xabed",
    b"\xa0chunked",
    b"chunked\xa0",
    b"\x85chunked",
    b"\xef\xbb\xbfchunked",
    b"\x0bchunked",
    b"chunked\x0b",
    b"\x0cchunked",
    b"\x00chunked",
    b"chunked\x00",
    b"chunked\x00, gzip",
    b"\x1cchunked",
    b"chunked\r",
    b"\rchunked",
    b"chunked\n",
    b"\nchunked",
    b"\r\n chunked",
    b"\r\n\tchunked",
    b"gzip, chunked",
    b"gzip;chunked",
    b"chunked, gzip",
    b"gzip",
    b"deflate",
    b"cow",
    b": chunked",
    b"=chunked",
    b"%63hunked",
    b"chunked/1.0",
]


@pytest.mark.parametrize("coding", CODINGS)
def test_s2_transfer_coding_of_a_request(coding):
    refused(post(b"Transfer-Encoding: %b\r\n" % coding, CHUNKED_HELLO), 400, 501)
    refused(post(b"X: y\r\nTransfer-Encoding:%b\r\n" % coding, CHUNKED_HELLO), 400, 501)


@pytest.mark.parametrize("coding", CODINGS)
def test_s2_transfer_coding_of_an_answer(coding):
    discarded(reply(b"Transfer-Encoding: %b\r\n" % coding, CHUNKED_HELLO))


@pytest.mark.parametrize("second", [b"chunked", b"identity", b"gzip", b"", b"cow", b"x"])
@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING"])
def test_s2_transfer_coding_on_two_lines(second, name):
    for lines in (TE + b"%b: %b\r\n" % (name, second), b"%b: %b\r\n" % (name, second) + TE):
        refused(post(lines, CHUNKED_HELLO), 400, 501)
        discarded(reply(lines, CHUNKED_HELLO))


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"cow", b"br;q=1, chunked", b"xchunked"])
def test_s2_a_well_formed_unknown_coding_is_not_implemented(coding):
    assert run_server([post(b"Transfer-Encoding: %b\r\n" % coding)]).statuses == [501 if b";" not in coding else 400]


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b"ChUnKeD", b"\t chunked \t"])
def test_s2_one_chunked_is_taken(coding):
    served(post(b"Transfer-Encoding:%b\r\n" % coding, CHUNKED_HELLO), ["POST", "/", "hello"])
    taken(reply(b"Transfer-Encoding:%b\r\n" % coding, CHUNKED_HELLO), reusable=True)


# ── S3: Transfer-Encoding in HTTP/1.0 ────────────────────────────────────────────────


@pytest.mark.parametrize(
    "lines",
    [TE, TE + b"Connection: keep-alive\r\n", TE + b"Content-Length: 15\r\n", b"Transfer-Encoding: identity\r\n"],
)
def test_s3_transfer_encoding_in_http_10(lines):
    refused(post(lines, CHUNKED_HELLO, version=b"1.0"))
    discarded(reply(lines, CHUNKED_HELLO, version=b"1.0"))
    discarded(reply(lines, version=b"1.0"), request=RequestHeader("HEAD", "/", [("Host", "a.test")]))


# ── S4: a Content-Length that is no number ───────────────────────────────────────────

LENGTHS = [
    b"",
    b" ",
    b"+5",
    b"-5",
    b"-0",
    b"0x5",
    b"5_0",
    b"5,6",
    b"5, 5",
    b"5,",
    b",5",
    b"5 5",
    b"5.0",
    b"5e0",
    b"5a",
    b"a",
    b"05x",
    b"(5)",
    b'"5"',
    b"5;q=1",
    b"%35",
    b"\xd9\xa5",
    b"\xef\xbc\x95",
    b"\xe2\x81\xb5",
    b"\xb2",
    b"5\xa0",
    b"\xa05",
    b"5\x85",
    b"5\x00",
    b"\x005",
    b"5\x0b",
    b"\x0b5",
    b"5\x0c",
    b"5\x1c",
    b"5\x1f",
    b"5\r",
    b"5\n",
    b"9223372036854775808",
    b"9223372036854775813",
    b"18446744073709551616",
    b"18446744073709551621",
    b"99999999999999999999",
    b"0" * 20,
    b"5" * 400,
    b"infinity",
    b"NaN",
    b"null",
]


@pytest.mark.parametrize("value", LENGTHS)
def test_s4_length_of_a_request(value):
    refused(post(b"Content-Length: %b\r\n" % value, b"hello"))
    refused(b"GET / HTTP/1.1\r\nContent-Length:%b\r\nHost: a.test\r\n\r\n" % value)
    refused(post(b"Content-Length: %b\r\n" % value, version=b"1.0"))


@pytest.mark.parametrize("value", LENGTHS)
def test_s4_length_of_an_answer(value):
    discarded(reply(b"Content-Length: %b\r\n" % value, b"hello"))
    discarded(reply(b"Content-Length: %b\r\n" % value, status=b"304 Not Modified"))
    discarded(reply(b"Content-Length: %b\r\n" % value), request=RequestHeader("HEAD", "/", [("Host", "a.test")]))


@pytest.mark.parametrize("value", [b"5", b"05", b"\t 5 \t", b"0000000000000000005"])
def test_s4_a_number_is_taken(value):
    served(post(b"Content-Length:%b\r\n" % value, b"hello"), ["POST", "/", "hello"])
    taken(reply(b"Content-Length:%b\r\n" % value, b"hello"), reusable=True)


@pytest.mark.parametrize("size", [2**31, 2**32 + 5, 2**63 - 1])
def test_s4_a_large_length_does_not_wrap(size):
    run = run_server([post(b"Content-Length: %d\r\n" % size, b"hello" + SMUGGLED)])

    assert run.seen == []
    assert not run.over
    assert run_server([post(b"Content-Length: %d\r\n" % size, b"hello")], limits=Limits(max_body=10**6)).statuses == [
        413
    ]


# ── S5: more than one Content-Length ─────────────────────────────────────────────────


@pytest.mark.parametrize("pair", [(b"5", b"6"), (b"6", b"5"), (b"5", b"5"), (b"", b"5"), (b"0", b"40"), (b"40", b"0")])
@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
def test_s5_two_lengths(pair, name):
    lines = b"Content-Length: %b\r\nX: y\r\n%b: %b\r\n" % (pair[0], name, pair[1])

    refused(post(lines, b"hello!"))
    discarded(reply(lines, b"hello!"))


# ── S6: obfuscated names ─────────────────────────────────────────────────────────────

NAMES = [
    b"%b :",
    b"%b\t:",
    b" %b:",
    b"\t%b:",
    b"%b\x00:",
    b"\x00%b:",
    b"%b\xa0:",
    b"\xef%b:",
    b"\xef\xbb\xbf%b:",
    b"%b\x0b:",
    b"\x0b%b:",
    b"%b\x7f:",
    b":%b:",
    b"%b",
    b"%b\r:",
    b"%b\n:",
    b'"%b":',
    b"(%b):",
    b"X %b:",
    b"X: y\r%b:",
    b"X: y\r\r\n%b:",
    b"X: y\n%b:",
    b"X: y\x00\r\n%b:",
    b"X: y\r\n %b:",
]


@pytest.mark.parametrize("shape", NAMES)
@pytest.mark.parametrize(
    ("name", "value"), [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"Host", b"b.test")]
)
def test_s6_names(shape, name, value):
    line = shape % name + b" %b\r\n" % value
    lines = b"X: y\r\n" + line

    refused(post(lines, CHUNKED_HELLO))
    refused(b"POST / HTTP/1.1\r\n%bHost: a.test\r\n\r\n%b" % (line, CHUNKED_HELLO))
    discarded(reply(lines, CHUNKED_HELLO), eof=True)


@pytest.mark.parametrize(
    "line", [b":", b": y", b" ", b"\t", b"X", b"X y", b"=: y", b"\xff", b"\x00", b"X\x80: y", b"a b: c"]
)
def test_s6_lines_without_a_name(line):
    refused(post(line + b"\r\n"))
    refused(b"POST / HTTP/1.1\r\n%b\r\nHost: a.test\r\n\r\n" % line)
    discarded(reply(b"X: y\r\n%b\r\n" % line, b"hello"), eof=True)


# ── S7: line ends, folding, controls ─────────────────────────────────────────────────

LINE_ENDS = [
    b"X: a\nY: b\r\n",
    b"X: a\rY: b\r\n",
    b"X: a\r\r\nY: b\r\n",
    b"X: a\n\rY: b\r\n",
    b"X: a\r\n b\r\n",
    b"X: a\r\n\tb\r\n",
    b"X:\r\n a\r\n",
    b"X: a\x00b\r\n",
    *(b"X: a%cb\r\n" % byte for byte in range(32) if byte != 9),
    b"X: a\x7fb\r\n",
    b"X\r: a\r\n",
    b"\nX: a\r\n",
    b"\rX: a\r\n",
]


@pytest.mark.parametrize("lines", LINE_ENDS)
def test_s7_lines(lines):
    refused(post(lines))
    discarded(reply(lines, b"hello"), eof=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a.test\n\n",
        b"GET / HTTP/1.1\nHost: a.test\n\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\r",
        b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\n\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\x00GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(range(256)),
        b"\r\n" * 51_200,
    ],
)
def test_s7_request_lines(raw):
    refused(raw)


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n"])
def test_s7_a_blank_line_or_two_before_a_request(blank):
    """RFC 9112 section 2.2: an old client's habit behind a body."""
    request = b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n"

    served(blank + request % 1 + blank + request % 2, ["GET", "/1", ""], ["GET", "/2", ""])


# ── S8, S9: chunk sizes, ends and extensions ─────────────────────────────────────────

CHUNKS = [
    b"0x5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"\t5\r\nhello\r\n",
    b"5\t\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"5_\r\nhello\r\n",
    b"0_5\r\nhello\r\n",
    b"5.0\r\nhello\r\n",
    b"5G\r\nhello\r\n",
    b"5h\r\nhello\r\n",
    b"g\r\nhello\r\n",
    b"\r\nhello\r\n",
    b";a\r\nhello\r\n",
    b"5\x00\r\nhello\r\n",
    b"5\x0b\r\nhello\r\n",
    b"5\xa0\r\nhello\r\n",
    b"\xef\xbc\x95\r\nhello\r\n",
    b'"5"\r\nhello\r\n',
    b"5\nhello\r\n",
    b"5\rhello\r\n",
    b"5\r\r\nhello\r\n",
    b"5\n\rhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhello\r",
    b"5\r\nhello",
    b"5\r\nhello\r\r\n",
    b"5\r\nhello\n\r\n",
    b"5\r\nhello\r\n\r\n",
    b"5\r\nhelloXX",
    b"5\r\nhello!\r\n",
    b"5\r\nhell\r\n",
    b"6\r\nhello\r\n",
    b"4\r\nhello\r\n",
    b"10000000000000005\r\nhello\r\n",
    b"8000000000000000\r\nhello\r\n",
    b"FFFFFFFFFFFFFFFF\r\nhello\r\n",
    b"FFFFFFFFFFFFFFF0\r\nhello\r\n",
    b"00000000000000005\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b"5; \r\nhello\r\n",
    b"5 ;a\r\nhello\r\n",
    b"5; a\r\nhello\r\n",
    b"5;a \r\nhello\r\n",
    b"5;a =b\r\nhello\r\n",
    b"5;a= b\r\nhello\r\n",
    b"5;a=\r\nhello\r\n",
    b"5;=b\r\nhello\r\n",
    b"5;a=b=c\r\nhello\r\n",
    b"5;a;;b\r\nhello\r\n",
    b'5;a="b\r\nhello\r\n',
    b'5;a="\r\n"\r\nhello\r\n',
    b'5;a="b"c\r\nhello\r\n',
    b'5;a="b\\"\r\nhello\r\n',
    b'5;a="\x00"\r\nhello\r\n',
    b"5;a\nb\r\nhello\r\n",
    b"5;a\rb\r\nhello\r\n",
    b"5;\x0ba\r\nhello\r\n",
    b"5;a=\x7f\r\nhello\r\n",
    b"5;a=\xff\r\nhello\r\n",
    b"5,a\r\nhello\r\n",
    b"5 (x)\r\nhello\r\n",
    b"2;\nxx\r\n2d\r\n",
    b"5;" + b"a" * 257 + b"\r\nhello\r\n",
    b"5;" + b"a" * 65_536 + b"\r\nhello\r\n",
]


@pytest.mark.parametrize("chunk", CHUNKS, ids=lambda chunk: repr(chunk[:24]))
def test_s8_s9_chunks(chunk):
    """A fault is told after the payload before it, which may have reached the application already."""
    raw = post(TE, chunk + b"0\r\n\r\n") + SMUGGLED
    first = None
    for how, pieces in segmentations(raw):
        run = run_server(pieces)
        assert run.seen == [], how
        assert run.refused, how
        assert run.statuses == [400], how
        first = first or run
        assert (run.events, run.out) == (first.events, first.out), how
    discarded(reply(TE, chunk + b"0\r\n\r\n"))


LAST_CHUNKS = [
    b"0\n\r\n",
    b"0\n\n",
    b"0\r\n\n",
    b"0\r\n\r\r",
    b"0\r\n\rX",
    b"0\r\r\n\r\n",
    b"0\r\rX",
    b"0 \r\n\r\n",
    b"0;\r\n\r\n",
    b"0x0\r\n\r\n",
    b"-0\r\n\r\n",
    b"\r\n\r\n",
]


@pytest.mark.parametrize("last", LAST_CHUNKS)
def test_s8_last_chunks(last):
    refused(post(TE, b"5\r\nhello\r\n" + last))
    discarded(reply(TE, b"5\r\nhello\r\n" + last))


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n000\r\n\r\n",
        b"0000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
        b'2;a="\\"x;y\r";b=1\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n'.replace(b'\r"', b'"'),
        b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n",
        b"5;" + b"a" * 250 + b"\r\nhello\r\n0\r\n\r\n",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_s8_s9_legal_chunks(body):
    served(post(TE, body), ["POST", "/", "hello"])
    taken(reply(TE, body), reusable=True)


# ── S10: chunk framing without end ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    "chunk",
    [
        b"1;" + b"a" * 200 + b"\r\nx\r\n",
        b"1".rjust(200, b"0") + b"\r\nx\r\n",
        b"40;%b\r\n%b\r\n" % (b"a" * 250, b"x" * 64),
    ],
    ids=["extensions", "padded sizes", "extensions longer than their data"],
)
def test_s10_framing_beyond_the_ceiling(chunk, engine):
    for how, pieces in segmentations(post(TE, chunk * 160)):
        run = run_server(pieces, engine=engine)
        assert run.statuses == [400], how
        assert run.refused, how
    discarded(reply(TE, chunk * 160))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17])
def test_s10_tiny_chunks_are_a_slow_talker(size, engine):
    """Events and the words of language models come so: their framing is several times the body, and no attack."""
    limits = Limits(max_chunk_overhead=100)
    text = b"x" * size * 400
    body = b"%x\r\n%b\r\n" % (size, b"x" * size) * 400 + b"0\r\n\r\n"
    for how, pieces in segmentations(post(TE, body)):
        run = run_server(pieces, engine=engine, limits=limits)
        assert run.seen == [["POST", "/", text.decode()]], how
    for how, pieces in segmentations(reply(TE, body)):
        run = run_client(pieces, engine=engine, limits=limits)
        assert [event[1] for event in run.events] == ["response", "body", "done"], how


def test_s10_tiny_chunks_without_end():
    served(post(TE, b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"), ["POST", "/", "x" * 20_000])


def test_s10_large_chunks_may_have_extensions(engine):
    """As each chunk of an upload to S3 has a signature."""
    chunk = b"800;chunk-signature=%b\r\n%b\r\n" % (b"f" * 64, b"x" * 2048)
    run = run_server([post(TE, chunk * 500 + b"0\r\n\r\n")], engine=engine)
    assert run.statuses == [200]


# ── S11: trailers ────────────────────────────────────────────────────────────────────

TRAILERS = [
    b"X : y\r\n",
    b" X: y\r\n",
    b"X\r\n",
    b": y\r\n",
    b"X: y\nZ: w\r\n",
    b"X: y\rZ: w\r\n",
    b"X: y\r\n z\r\n",
    b"X: a\x00b\r\n",
    b"X: a\x01b\r\n",
    b"X\xff: y\r\n",
    b"Content-Length: 44\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HOST: evil.test\r\n",
    b"Authorization: x\r\n",
    b"Cookie: a=b\r\n",
    b"Set-Cookie: a=b\r\n",
    b"Connection: close\r\n",
    b"content-type: text/html\r\n",
    b"Upgrade: h2c\r\n",
    b"TE: trailers\r\n",
    b"Trailer: X\r\n",
    b"Expect: 100-continue\r\n",
]


@pytest.mark.parametrize("trailers", TRAILERS)
def test_s11_trailers(trailers):
    refused(post(TE, b"5\r\nhello\r\n0\r\nX-First: 1\r\n%b\r\n" % trailers))
    discarded(reply(TE, b"5\r\nhello\r\n0\r\n%b\r\n" % trailers))


@pytest.mark.parametrize(
    "trailers",
    [b"X: y\r\n" * 33, b"X: " + b"a" * 8190 + b"\r\n", b"X: y\r\n" * 20_000, b"a" * 9000],
    ids=["33 lines", "a long line", "20,000 lines", "no line"],
)
def test_s11_trailers_beyond_the_ceilings(trailers):
    refused(post(TE, b"0\r\n%b\r\n" % trailers), 431)
    discarded(reply(TE, b"0\r\n%b\r\n" % trailers))


def test_s11_trailers_stay_apart():
    raw = post(TE, b"5\r\nhello\r\n0\r\nX-Sum: 1 \r\nX-Sum:2\r\n\r\n")
    for how, pieces in segmentations(raw):
        run = run_server(pieces)
        assert run.seen == [["POST", "/", "hello"]], how
        assert (1, "trailer", [(b"x-sum", b"1"), (b"x-sum", b"2")]) in run.events, how


# ── S12: a body that nobody reads ────────────────────────────────────────────────────


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"PUT"])
def test_s12_a_body_is_never_the_next_request(method):
    raw = b"%b /noread HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%b" % (method, len(SMUGGLED), SMUGGLED)
    for how, pieces in segmentations(raw + b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"):
        run = run_server(pieces)
        assert [seen[1] for seen in run.seen] == ["/noread", "/next"], how


def test_s12_an_unread_body_beyond_the_ceiling_ends_the_connection():
    head = b"POST /noread HTTP/1.1\r\nHost: a.test\r\nContent-Length: 70000\r\n\r\n"
    run = run_server([head, b"x" * 70_000 + SMUGGLED])

    assert [seen[1] for seen in run.seen] == ["/noread"]
    assert run.over
    assert read_responses(run.out)[0][1]["connection"] == "close"


def test_s12_an_unread_chunked_body_beyond_the_ceiling_ends_the_connection():
    head = b"POST /noread HTTP/1.1\r\nHost: a.test\r\n" + TE + b"\r\n"
    body = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    for how, pieces in segmentations(body * 2 + b"0\r\n\r\n" + SMUGGLED):
        run = run_server([head, *pieces])
        assert [seen[1] for seen in run.seen] == ["/noread"], how
        assert run.over, how


@pytest.mark.parametrize(
    "value",
    [b"200-ok", b"100-continue, x", b"100-continue;q=1", b"100", b"", b"x=y", b"100-continuee", b'"100-continue"'],
)
def test_s12_unknown_expectations(value):
    refused(post(b"Expect: %b\r\nContent-Length: 5\r\n" % value, b"hello"), 417)
    refused(b"GET / HTTP/1.1\r\nHost: a.test\r\nExpect: %b\r\n\r\n" % value, 417)


def test_s12_an_expectation_twice():
    refused(post(b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n", b"hello"), 417)


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE"])
def test_s12_a_client_that_waits_and_is_refused_is_not_read_on(value):
    """What comes behind a head that was answered without an invitation may be the body or the next request."""
    raw = b"POST /noread HTTP/1.1\r\nHost: a.test\r\nExpect: %b\r\nContent-Length: %d\r\n\r\n" % (value, len(SMUGGLED))
    run = run_server([raw, SMUGGLED, SMUGGLED])

    assert [seen[1] for seen in run.seen] == ["/noread"]
    assert run.over
    assert read_responses(run.out)[0][1]["connection"] == "close"


# ── S13, S14: upgrades that were not accepted ────────────────────────────────────────

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_s13_nothing_is_opaque_before_the_101():
    run = run_server(whole(UPGRADE + SMUGGLED))

    assert [seen[1] for seen in run.seen] == ["/ws", "/smuggled"]  # read as what it is: a request
    assert not any(event[1] == "raw" for event in run.events)


def test_s13_behind_the_101_everything_is_opaque():
    def accept(connection, stream, _):
        head = ResponseHeader(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        connection.send(stream, Header(head, False), 0.0)

    for how, pieces in segmentations(UPGRADE + SMUGGLED):
        run = run_server(pieces, answer=accept)
        assert [seen[1] for seen in run.seen] == ["/ws"], how
        assert run.events[-1] == (1, "raw", SMUGGLED, False), how


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgraded\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_s14_no_switch_without_an_offer(raw):
    server = make_server()
    server.receive_data(raw, 0.0)
    with pytest.raises(LocalProtocolError, match="offered no upgrade"):
        server.send(1, Header(ResponseHeader(101, [("Upgrade", "websocket")]), False), 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocke\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_s14_an_origin_switches_to_nothing_that_was_not_offered(answer):
    fields = [("Host", "a.test"), ("Connection", "upgrade"), ("Upgrade", "websocket")]

    discarded(answer + b"opaque", request=RequestHeader("GET", "/", fields))
    discarded(answer + b"opaque")


# ── S15: Connection options that name what must stay ─────────────────────────────────


@pytest.mark.parametrize("names", [b"Content-Length", b"Host", b"Transfer-Encoding, close", b"close, X-Forwarded-For"])
def test_s15_options_change_no_framing(names):
    served(post(b"Connection: %b\r\nContent-Length: 5\r\n" % names, b"hello"), ["POST", "/", "hello"])
    served(post(b"Connection: %b\r\n" % names + TE, CHUNKED_HELLO), ["POST", "/", "hello"])


@pytest.mark.parametrize(
    ("lines", "keeps"),
    [
        (b"", True),
        (b"Connection: close\r\n", False),
        (b"Connection: CLOSE\r\n", False),
        (b"Connection: keep-alive, close\r\n", False),
        (b"Connection: close\r\nConnection: keep-alive\r\n", False),
        (b"Connection: foo\r\nConnection:\t , ,close ,\r\n", False),
        (b"Connection: closed\r\n", True),
        (b'Connection: "close"\r\n', True),
        (b"Connection: keep-alive\r\n", True),
        (b"Connection:\r\n", True),
    ],
)
def test_s15_close_wherever_it_stands(lines, keeps):
    run = run_server(whole(post(lines + b"Content-Length: 5\r\n", b"hello") + SMUGGLED))
    assert len(run.seen) == (2 if keeps else 1)
    taken(reply(lines + b"Content-Length: 5\r\n", b"hello"), reusable=keeps)


# ── S16: Host and target ─────────────────────────────────────────────────────────────

HOSTS = [
    b"",
    b"a b",
    b"a\tb",
    b"a,b",
    b"a.test, b.test",
    b"a.test,",
    b"u@a.test",
    b"u:p@a.test",
    b"a.test/",
    b"a.test/x",
    b"/a.test",
    b"http://a.test",
    b"a.test?x",
    b"a.test#x",
    b"a.test\\b",
    b"a.test:",
    b"a.test:-1",
    b"a.test:+1",
    b"a.test:8a",
    b"a.test:0x50",
    b"a.test:80:80",
    b"a.test:65536",
    b"a.test:123456",
    b"a.test: 80",
    b":80",
    b"[::1",
    b"::1",
    b"[::1]x",
    b"[::1]]",
    b"[::1%25eth0]",
    b"[v1.x]",
    b"[]",
    b"[1.2.3.4]",
    b"\xffa.test",
    b"b\xc3\xbccher.test",
    b'"a.test"',
    b"<script>",
    b"a%2etest",
    b"a%00b",
    b"a;b",
    b"a=b",
    b"a&b",
    b"a'b",
    b"(a)",
    b"a$b",
    b"a*b",
    b"a|b",
    b"{a}",
    b"a" * 256,
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: repr(host[:24]))
def test_s16_hosts(host):
    refused(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    refused(b"GET / HTTP/1.0\r\nHost: %b\r\n\r\n" % host)


@pytest.mark.parametrize("lines", [b"", b"X: y\r\n", b"Hos: a\r\n", b"X-Host: a\r\n"])
def test_s16_no_host(lines):
    refused(b"GET / HTTP/1.1\r\n%b\r\n" % lines)
    refused(b"GET http://a.test/ HTTP/1.1\r\n%b\r\n" % lines)


@pytest.mark.parametrize("second", [b"a.test", b"b.test", b""])
@pytest.mark.parametrize("name", [b"Host", b"host", b"HOST"])
def test_s16_two_hosts(second, name):
    for version in (b"1.0", b"1.1"):
        refused(b"GET / HTTP/%b\r\nHost: a.test\r\nX: y\r\n%b: %b\r\n\r\n" % (version, name, second))
    refused(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n%b: %b\r\n\r\n" % (name, second))


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"A.Test",
        b"a.test:80",
        b"a.test:0",
        b"a.test:65535",
        b"a.test:00080",
        b"127.0.0.1:8080",
        b"[::1]",
        b"[2001:DB8::1]:443",
        b"[::ffff:1.2.3.4]",
        b"my_app.test",
        b"xn--bcher-kva.test",
        b"a.test.",
        b"~a-b",
        b"a" * 255,
    ],
    ids=lambda host: repr(host[:24]),
)
def test_s16_legal_hosts(host):
    served(b"GET / HTTP/1.1\r\nHost:\t%b \r\n\r\n" % host, ["GET", "/", ""])


TARGETS = [
    b"*",
    b"?x",
    b"#x",
    b"a",
    b"a/b",
    b"a.test",
    b"a.test:80",
    b"/a#b",
    b"/a\x7fb",
    b"/a\x80b",
    b"/a\xc3\xbcb",
    b"/a\x00b",
    b"/a\tb",
    b"/a b",
    b'/a"b',
    b"/a<b",
    b"/a>b",
    b"/a\\b",
    b"\\a",
    b"http:/a.test/",
    b"http:a.test",
    b"http://",
    b"http:///x",
    b"http://?x",
    b"http://u@a.test/",
    b"http://u:p@a.test/",
    b"http://a.test:x/",
    b"http://a.test:65536/",
    b"http://a b/",
    b"http://a.test,b.test/",
    b"http://a.test#x",
    b"http://[::1/",
    b"https://a.test/",
    b"HTTPS://a.test/",
    b"ftp://a.test/",
    b"gopher://a.test/",
    b"file:///etc/passwd",
    b"javascript:x",
    b"ws://a.test/",
    b"",
]


@pytest.mark.parametrize("target", TARGETS)
def test_s16_targets(target):
    refused(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target)
    refused(b"POST %b HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello" % target)


@pytest.mark.parametrize(
    ("target", "seen", "host"),
    [
        (b"http://b.test/x?y", b"/x?y", b"b.test"),
        (b"HTTP://b.test:8080", b"/", b"b.test:8080"),
        (b"http://b.test?y", b"/?y", b"b.test"),
        (b"http://[::1]:80/", b"/", b"[::1]:80"),
        (b"http://b.test//x", b"//x", b"b.test"),
        (b"http://b.test/http://c.test/", b"/http://c.test/", b"b.test"),
        (b"//b.test/x", b"//b.test/x", b"a.test"),
    ],
)
def test_s16_the_targets_authority_wins(target, seen, host):
    for version in (b"1.0", b"1.1"):
        server = make_server()
        ((_, header),) = server.receive_data(b"GET %b HTTP/%b\r\nHost: a.test\r\n\r\n" % (target, version), 0.0)
        assert header.head.target == seen
        assert header.head.fields.get_all("host") == [host]


def test_s16_options():
    served(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", ["OPTIONS", "*", ""])
    served(b"OPTIONS http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n", ["OPTIONS", "*", ""])
    served(b"OPTIONS http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", ["OPTIONS", "/", ""])
    refused(b"OPTIONS ** HTTP/1.1\r\nHost: a.test\r\n\r\n")


@pytest.mark.parametrize(
    "target",
    [b"/", b"a.test", b"a.test:", b"a.test:x", b"http://a.test:80/", b"u@a.test:80", b"*", b":80", b"a.test:80/"],
)
def test_s16_connect_names_an_authority(target):
    for allow in (False, True):
        raw = b"CONNECT %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target + SMUGGLED
        for how, pieces in segmentations(raw):
            run = run_server(pieces, allow_connect=allow)
            assert run.seen == [], how
            assert run.statuses == [400], how


def test_s16_connect_is_refused_unless_enabled():
    refused(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", 405)


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT"])
def test_s16_methods_without_a_body(method):
    target = b"/" if method == b"TRACE" else b"a.test:80"
    for lines in (b"Content-Length: 5\r\n", TE):
        raw = b"%b %b HTTP/1.1\r\nHost: a.test:80\r\n%b\r\n" % (method, target, lines)
        run = run_server(whole(raw + CHUNKED_HELLO + SMUGGLED), allow_connect=True)
        assert run.seen == []
        assert run.statuses == [400]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET\t/\tHTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/1.1x", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.", 400),
        (b"GET / HTTP/.1", 400),
        (b"GET / HTTP 1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / Http/1.1", 400),
        (b"GET / HTTP/1,1", 400),
        (b"GET / HTTP/1.-1", 400),
        (b"GET / HTTP/+1.1", 400),
        (b"GET / HTTP/4294967297.1", 400),
        (b"GET / RTSP/1.0", 400),
        (b"GET / ICE/1.0", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"/ HTTP/1.1", 400),
        (b" / HTTP/1.1", 400),
        (b"HTTP/1.1 200 OK", 400),
        (b"GE(T / HTTP/1.1", 400),
        (b"GET: / HTTP/1.1", 400),
        (b'"GET" / HTTP/1.1', 400),
        (b"GET\xff / HTTP/1.1", 400),
        (b"G\x00ET / HTTP/1.1", 400),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/3.0", 505),
        (b"GET / HTTP/9.9", 505),
    ],
)
def test_s16_request_lines(line, status):
    refused(line + b"\r\nHost: a.test\r\n\r\n", status)


# ── S17: what an origin may not do ───────────────────────────────────────────────────

HELLO = b"Content-Length: 5\r\n"
POISON = reply(b"Content-Length: 6\r\n", b"poison")
HEAD = RequestHeader("HEAD", "/", [("Host", "a.test")])


@pytest.mark.parametrize("surplus", [b"x", b"\r\n", b"\n", b"\x00", POISON])
def test_s17_bytes_behind_an_answer(surplus):
    for how, pieces in segmentations(reply(HELLO, b"hello") + surplus):
        run = run_client(pieces)
        assert not run.failures, how
        assert [event[2] for event in run.events if event[1] == "body"] == [b"hello"], how
        assert (0, "closed", "H1Error") in run.events, how
        assert not run.reusable, how
    taken(reply(TE, CHUNKED_HELLO) + surplus, reusable=False)
    taken(reply(HELLO) + surplus, reusable=False, request=HEAD, body=b"")
    for status in (b"204 No Content", b"304 Not Modified"):
        taken(reply(b"", status=status) + surplus, reusable=False, body=b"")


@pytest.mark.parametrize("early", [b"H", b"\r\n", reply(HELLO, b"hello"), reply(HELLO, b"hello")[:30]])
def test_s17_an_answer_before_the_request(early):
    """Response-queue poisoning: what came before the request was sent is never its answer."""
    for opened in (False, True):
        client = make_client()
        if opened:
            assert client.open_stream(0.0) == 1
        events = [plain(event) for event in client.receive_data(early, 0.0)]
        assert events[-1] == (0, "closed", "H1Error")
        assert [event[1] for event in events[:-1]] == ["failed"] * opened
        assert not client.reusable
        assert client.open_stream(0.0) is None


def test_s17_an_answer_while_the_request_is_opened():
    """Bytes before the head was sent, and the rest of an answer behind it."""
    client = make_client()
    client.open_stream(0.0)
    events = client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Le", 0.0)

    assert [plain(event)[1] for event in events] == ["failed", "closed"]
    client.send(1, Header(RequestHeader("GET", "/", [("Host", "a.test")]), True), 0.0)  # it may not know yet
    assert client.data_to_send() == []


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 99 X",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 0 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.1 2000 X",
        b"HTTP/1.1 +20 X",
        b"HTTP/1.1 2x0 X",
        b"HTTP/1.1  200 X",
        b"HTTP/1.1\t200 X",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x1bK",
        b"HTTP/1.1",
        b"200 OK",
        b" HTTP/1.1 200 OK",
        b"ICY 200 OK",
        b"<html>",
        b"",
        b"GET / HTTP/1.1",
    ],
)
def test_s17_status_lines(line):
    discarded(line + b"\r\n" + HELLO + b"\r\nhello")


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1 200 caf\xe9\t!", b"HTTP/1.1 599 x"]
)
def test_s17_legal_status_lines(line):
    taken(line + b"\r\n" + HELLO + b"\r\nhello", reusable=True)


@pytest.mark.parametrize(
    "raw",
    [
        reply(b"Content-Length: 50\r\n", b"hello"),
        reply(TE, b"5\r\nhello\r\n"),
        reply(TE, b"5\r\nhel"),
        reply(TE, b"5\r\nhello\r\n0\r\n"),
        reply(TE, b"5\r\nhello\r\n0\r\nX: y\r\n"),
        reply(TE, b"5"),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"H",
        b"",
    ],
)
def test_s17_an_answer_that_is_cut_is_seen_to_be(raw):
    discarded(raw, eof=True)


def test_s17_an_error_of_the_transport_is_no_end():
    """A body that lasts until the close is complete by an orderly end alone."""
    client = make_client()
    client.open_stream(0.0)
    client.send(1, Header(RequestHeader("GET", "/", [("Host", "a.test")]), True), 0.0)
    client.receive_data(reply(b"", b"hello"), 0.0)
    events = client.transport_lost(None, 0.0)

    assert [plain(event)[1] for event in events] == ["failed", "closed"]
    assert client.transport_lost(None, 0.0) == []


def test_s17_until_close():
    taken(reply(b"", b"hello"), reusable=False, eof=True)
    taken(reply(b"", b"hello", version=b"1.0"), reusable=False, eof=True)
    taken(reply(b"Connection: keep-alive\r\n", b"hello"), reusable=False, eof=True)


@pytest.mark.parametrize(
    ("lines", "version", "keeps"),
    [
        (b"", b"1.1", True),
        (b"", b"1.0", False),
        (b"Connection: keep-alive\r\n", b"1.0", True),
        (b"Connection: Keep-Alive\r\n", b"1.0", True),
        (b"Connection: close\r\n", b"1.1", False),
        (b"Connection: upgrade, close\r\n", b"1.1", False),
        (b"Connection: keep-alive, close\r\n", b"1.0", False),
    ],
)
def test_s17_reuse(lines, version, keeps):
    taken(reply(lines + HELLO, b"hello", version=version), reusable=keeps)


def test_s17_not_reused_while_the_request_is_under_way():
    client = make_client()
    client.open_stream(0.0)
    client.send(1, Header(RequestHeader("POST", "/", [("Host", "a.test"), ("Content-Length", "10")]), False), 0.0)
    client.send(1, Body(b"part"), 0.0)
    events = client.receive_data(reply(HELLO, b"hello"), 0.0)

    assert [plain(event)[1] for event in events] == ["response", "body"]
    assert not client.reusable
    assert client.open_stream(0.0) is None
    client.send(1, Body(b"whole!", True), 0.0)
    assert client.reusable


# ── S18: injection through what an application sends ─────────────────────────────────


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\x00b", " a", "a\t", "\u2028"])
def test_s18_values(value):
    for build in (
        lambda: ResponseHeader(200, [("X", value)]),
        lambda: RequestHeader("GET", "/", [("X", value)]),
        lambda: ResponseHeader(200).append("X", value),
        lambda: ResponseHeader(200).insert("X", value),
    ):
        with pytest.raises(Error):
            build()


@pytest.mark.parametrize("name", ["a b", "a:", "", "a\r\n", "X\x00", "caf\xe9", "(a)"])
def test_s18_names(name):
    with pytest.raises(Error):
        ResponseHeader(200, [(name, "x")])


@pytest.mark.parametrize("part", ["G T", "", "GET\r\n", "GE:T"])
def test_s18_methods(part):
    with pytest.raises(Error):
        RequestHeader(part, "/")


@pytest.mark.parametrize("part", ["/ HTTP/1.1\r\nX: y", "/a b", "", "/\x00", "/\xe9", "/#"])
def test_s18_targets(part):
    with pytest.raises(Error):
        RequestHeader("GET", part)


@pytest.mark.parametrize("reason", ["OK\r\nX: y", "O\nK", "\x00"])
def test_s18_reasons(reason):
    with pytest.raises(Error):
        ResponseHeader(200, reason=reason)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ([("Content-Length", "5"), ("Content-Length", "6")], False),
        ([("Content-Length", "5"), ("Content-Length", "5")], False),
        ([("Content-Length", "-1")], False),
        ([("Content-Length", "")], False),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], False),
        ([("Transfer-Encoding", "gzip")], False),
        ([("Transfer-Encoding", "chunked, chunked")], False),
        ([("Content-Length", "5")], True),
        ([("Transfer-Encoding", "chunked")], True),
    ],
)
def test_s18_framing_that_an_application_gets_wrong(fields, end):
    server = make_server()
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0.0)
    with pytest.raises(LocalProtocolError):
        server.send(1, Header(ResponseHeader(200, fields), end), 0.0)
    assert server.data_to_send() == []
    client = make_client()
    client.open_stream(0.0)
    with pytest.raises(LocalProtocolError):
        client.send(1, Header(RequestHeader("POST", "/", [("Host", "a.test"), *fields]), end), 0.0)
    assert client.data_to_send() == []


def test_s18_a_body_other_than_declared():
    server = make_server()
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0.0)
    server.send(1, Header(ResponseHeader(200, [("Content-Length", "5")]), False), 0.0)
    for task in (Body(b"toolong"), Body(b"hell", True), Done(), Trailer(ResponseHeader(200).fields)):
        with pytest.raises(LocalProtocolError):
            server.send(1, task, 0.0)
    server.send(1, Body(b"hello"), 0.0)
    with pytest.raises(LocalProtocolError):
        server.send(1, Body(POISON), 0.0)

    assert read_responses(b"".join(server.data_to_send()))[0][2] == b"hello"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Host", "Authorization"])
def test_s18_trailers(name):
    server = make_server()
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0.0)
    server.send(1, Header(ResponseHeader(200), False), 0.0)
    with pytest.raises(LocalProtocolError):
        server.send(1, Trailer(ResponseHeader(200, [(name, "1")]).fields), 0.0)


# ── oversized ones ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 2**20 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(2_000)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(20_000)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"a" * 2**16 + b": y\r\n\r\n", 431),
        (b"\r\n" * 51_200 + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        (b"GET /" + b"a" * 102_400 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
        (b"a" * 102_400, 414),
        (
            b"GET / HTTP/1.1\r\nHost: a.test\r\n"
            + b"".join(b"x%d: %b\r\n" % (i, b"a" * 1000) for i in range(80))
            + b"\r\n",
            431,
        ),
    ],
    ids=[
        "field line",
        "2,000 fields",
        "20,000 fields",
        "field name",
        "leading CRLF",
        "target",
        "method",
        "80 KiB head",
    ],
)
def test_d5_oversized_requests(raw, status):
    refused(raw, status)


@pytest.mark.parametrize(
    "raw",
    [
        reply(b"X: " + b"a" * 2**20 + b"\r\n"),
        reply(b"".join(b"x%d: y\r\n" % i for i in range(2_000))),
        reply(b"".join(b"x%d: y\r\n" % i for i in range(20_000))),
        reply(b"a" * 2**16 + b": y\r\n"),
        b"\r\n" * 51_200,
        b"HTTP/1.1 200 " + b"a" * 2**20,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 16_000 + b"\r\n\r\n",
    ],
    ids=["line", "2,000 fields", "20,000 fields", "name", "CRLF", "reason", "17 1xx", "20,000 1xx", "cut 103"],
)
def test_d5_d12_oversized_answers(raw):
    discarded(raw, eof=True)


def test_d12_informational_heads_within_the_ceilings():
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 16
    taken(early + reply(HELLO, b"hello"), reusable=True)


def test_d12_informational_bytes():
    early = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 16_000 + b"\r\n\r\n"
    discarded(early * 5 + reply(HELLO, b"hello"))


def test_d5_limits_do_not_depend_on_the_cut():
    fields = b"".join(b"x%d: y\r\n" % i for i in range(LIMITS.max_fields - 1))
    at_limit = b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"
    line = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * (LIMITS.max_line - 3) + b"\r\n\r\n"
    for raw in (at_limit, line):
        served(raw, ["GET", "/", ""])
    refused(at_limit[:-2] + b"y: z\r\n\r\n", 431)
    refused(line[:-4] + b"a\r\n\r\n", 431)
    target = b"GET /" + b"a" * (LIMITS.max_line - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
    assert len(run_server(bytewise(target)).seen) == 1
    assert len(run_server(whole(target)).seen) == 1
    refused(b"G" + target, 414)
