import pytest

from sansio_pingora.testing.reader import StrictReader, Uncanonical, reference_body

GET = b"GET /t/a HTTP/1.1\r\nHost: h\r\n\r\n"


def read(raw, *, methods=None, size=None):
    reader = StrictReader(requests=methods is None)
    reader.methods.extend(methods or [])
    for at in range(0, len(raw), size or len(raw) or 1):
        reader.feed(raw[at : at + (size or len(raw))])
    return reader


@pytest.mark.parametrize("size", [None, 1, 3])
def test_requests_in_a_row(size):
    raw = (
        GET
        + b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        + b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\nX-T: 1\r\n\r\n"
    )

    reader = read(raw, size=size)

    assert [bytes(message.body) for message in reader.messages] == [b"", b"abc", b"xyz"]
    assert [message.framing for message in reader.messages] == ["none", "length", "chunked"]
    assert reader.messages[2].trailers == {b"x-t": [b"1"]}
    assert raw[reader.messages[1].start : reader.messages[1].end].startswith(b"POST")
    assert reader.message is None


@pytest.mark.parametrize("size", [None, 1])
def test_responses(size):
    raw = (
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
    )

    reader = read(raw, methods=[b"HEAD", b"POST", b"GET", b"GET"], size=size)
    assert [message.status for message in reader.messages] == [200, 204, 304]
    assert not reader.message.complete
    reader.end()

    assert reader.messages[0].informational == [103]
    assert reader.messages[3].body == b"until the end"
    assert reader.messages[3].complete


def test_an_end_within_a_counted_body_completes_nothing():
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", methods=[b"GET"])

    reader.end()

    assert reader.messages == []
    assert not reader.message.complete


def test_a_switch_of_protocols_makes_the_rest_raw():
    reader = read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\r\n\r\n", methods=[b"GET"])

    assert reader.message.framing == "raw"
    assert reader.message.body == b"\x00\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /t/a HTTP/1.1\nHost: h\n\n\r\n\r\n",
        b"GET /t/a HTTP/1.0\r\nHost: h\r\n\r\n",
        b"GET /t/a HTTP/1.1\r\n\r\n",
        b"GET /t/a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET /t/a HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
        b"GET /t/a HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    ],
)
def test_requests_that_are_not_canonical(raw):
    with pytest.raises(Uncanonical):
        read(raw)


@pytest.mark.parametrize(
    ("raw", "methods"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", [b"GET"]),
        (b"HTTP/1.0 200 OK\r\n\r\n", [b"GET"]),
    ],
)
def test_responses_that_are_not_canonical(raw, methods):
    reader = StrictReader(requests=False)
    reader.methods.extend(methods)

    with pytest.raises(Uncanonical):
        reader.feed(raw)


def test_the_reference_reads_the_same():
    assert reference_body(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", None) == b"abc"
    assert reference_body(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest", b"GET") == b"rest"
    assert reference_body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"HEAD") == b""


@pytest.mark.parametrize("raw", [b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab", b"what?\r\n\r\n"])
def test_the_reference_refuses_what_is_broken(raw):
    with pytest.raises(Uncanonical):
        reference_body(raw, None)
