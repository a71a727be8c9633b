"""Compressed responses through a proxy: when, how the head says so, and how it streams."""

from __future__ import annotations

import gzip
import zlib
from functools import partial

import brotli
import pytest
from backports import zstd

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.modules import Dictionary, ResponseCompression
from sansio_pingora.modules.codings import new_decoder
from tests.proxy.harness import App, Bench, chunked, dechunk, head_of, status_of

TEXT = b"the quick brown fox jumps over the lazy dog. " * 40
WORDS = Dictionary(TEXT[:200])


class Compressing(App):
    def __init__(self, side="downstream", **options):
        super().__init__()
        self.side = side
        self.options = options

    def init_downstream_modules(self, modules):
        if self.side == "downstream":
            modules.add_module(partial(ResponseCompression, **self.options))

    def init_upstream_modules(self, modules):
        if self.side == "upstream":
            modules.add_module(partial(ResponseCompression, **self.options))


def get(accept=None, method=b"GET", fields=b""):
    line = b"" if accept is None else b"Accept-Encoding: %b\r\n" % accept
    return b"%b / HTTP/1.1\r\nHost: a.test\r\n%b%b\r\n" % (method, line, fields)


def response(body=TEXT, *, kind=b"text/plain", fields=b"", status=b"200 OK"):
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        fields,
        body,
    )


def ask(app, request, answer, **limits):
    """The start line, fields and body that a client gets."""
    bench = Bench(app, **limits)
    client = bench.client()
    client.send(request)
    bench.origin.send(answer)
    start, fields, rest = head_of(client.take())
    if fields.get(b"transfer-encoding") == b"chunked" and rest:
        rest = dechunk(rest)[0]
    return start, fields, rest


@pytest.mark.parametrize("side", ["downstream", "upstream"])
@pytest.mark.parametrize(
    ("accept", "coding", "decode"),
    [
        (b"gzip", b"gzip", gzip.decompress),
        (b"deflate", b"deflate", zlib.decompress),
        (b"br", b"br", brotli.decompress),
        (b"zstd", b"zstd", zstd.decompress),
        (b"gzip, br;q=0.5", b"gzip", gzip.decompress),
        (b"*", b"zstd", zstd.decompress),
    ],
)
def test_each_coding(side, accept, coding, decode):
    _, fields, body = ask(Compressing(side), get(accept), response(fields=b'ETag: "v1"\r\nAccept-Ranges: bytes\r\n'))
    assert decode(body) == TEXT
    assert len(body) < len(TEXT)
    assert fields[b"content-encoding"] == coding
    assert fields[b"vary"] == b"accept-encoding"
    assert fields[b"etag"] == b'W/"v1"'
    assert b"content-length" not in fields
    assert b"accept-ranges" not in fields


SAME = [
    ("nothing said", None, response()),
    ("none acceptable", b"identity", response()),
    ("all refused", b"gzip;q=0, *;q=0", response()),
    ("a part", b"gzip", response(status=b"206 Partial Content", fields=b"Content-Range: bytes 0-99/1000\r\n")),
    ("no-transform", b"gzip", response(fields=b"Cache-Control: max-age=3, no-transform\r\n")),
    ("too short", b"gzip", response(b"x" * 19)),
    ("a picture", b"gzip", response(kind=b"image/png")),
    ("coded already", b"gzip, br", response(gzip.compress(TEXT), fields=b"Content-Encoding: gzip\r\n")),
    ("twice coded already", b"gzip", response(TEXT, fields=b"Content-Encoding: gzip, br\r\n")),
]


@pytest.mark.parametrize(("accept", "answer"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_what_stays_as_it_is(accept, answer):
    start, fields, body = ask(Compressing(decompress=True), get(accept), answer)
    expected_start, expected, expected_body = head_of(answer)
    vary = fields.pop(b"vary", b"accept-encoding")
    assert vary == b"accept-encoding"
    fields.pop(b"date", None)
    assert (start, fields, body) == (expected_start, expected, expected_body)


def test_no_transform_in_the_request():
    assert ask(Compressing(), get(b"gzip", fields=b"Cache-Control: no-transform\r\n"), response())[2] == TEXT


def test_twenty_bytes_are_enough():
    assert ask(Compressing(), get(b"gzip"), response(b"x" * 20))[1][b"content-encoding"] == b"gzip"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (b"", b"accept-encoding"),
        (b"Vary: Accept-Language\r\n", b"Accept-Language, accept-encoding"),
        (b"Vary: cookie, Accept-Encoding\r\n", b"cookie, Accept-Encoding"),
        (b"Vary: *\r\n", b"*"),
    ],
)
@pytest.mark.parametrize("accept", [b"gzip", None])
def test_vary_is_said_whatever_was_chosen(there, expected, accept):
    assert ask(Compressing(), get(accept), response(fields=there))[1][b"vary"] == expected


@pytest.mark.parametrize(
    ("tag", "preserve", "expected"),
    [
        (b'"a"', False, b'W/"a"'),
        (b'W/"a"', False, b'W/"a"'),
        (b"a", False, None),
        (b'"a"', True, b'"a"'),
    ],
)
def test_etags(tag, preserve, expected):
    app = Compressing(preserve_etag=preserve)
    assert ask(app, get(b"gzip"), response(fields=b"ETag: %b\r\n" % tag))[1].get(b"etag") == expected


def test_not_modified_has_the_weak_etag_of_what_the_client_has():
    answer = b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n'
    assert ask(Compressing(), get(b"gzip"), answer)[1][b"etag"] == b'W/"v1"'
    assert ask(Compressing(), get(), answer)[1][b"etag"] == b'"v1"'


def test_head_says_what_get_would():
    _, of_head, body = ask(Compressing(), get(b"gzip", b"HEAD"), response()[: -len(TEXT)])
    _, of_get, _ = ask(Compressing(), get(b"gzip"), response())
    assert body == b""
    assert {name: of_head.get(name) for name in (b"content-encoding", b"vary", b"content-length")} == {
        name: of_get.get(name) for name in (b"content-encoding", b"vary", b"content-length")
    }


def test_a_level_of_zero_does_nothing():
    _, fields, body = ask(Compressing(level=0), get(b"gzip"), response())
    assert body == TEXT
    assert b"vary" not in fields


def test_digests_of_other_bytes_go():
    _, fields, _ = ask(
        Compressing(), get(b"gzip"), response(fields=b"Content-MD5: x\r\nContent-Digest: sha-256=:x:\r\n")
    )
    assert not {b"content-md5", b"content-digest"} & fields.keys()


# ── adjusting ────────────────────────────────────────────────────────────────────────


def test_a_filter_adjusts_one_response():
    class Adjusts(Compressing):
        def request_filter(self, session, ctx):
            compression = session.downstream_modules_ctx.get(ResponseCompression)
            compression.adjust_level(9)
            compression.adjust_algorithm_level("zstd", 0)
            compression.adjust_preserve_etag(True)
            compression.adjust_decompression(True)

        def logging(self, session, error, ctx):
            super().logging(session, error, ctx)
            compression = session.downstream_modules_ctx.get(ResponseCompression)
            self.info = compression.get_info()
            with pytest.raises(LocalProtocolError, match="adjust it before"):
                compression.adjust_level(1)

    app = Adjusts(level=0)
    _, fields, body = ask(app, get(b"zstd, gzip"), response(fields=b'ETag: "a"\r\n'))
    assert gzip.decompress(body) == TEXT
    assert fields[b"etag"] == b'"a"'
    assert app.info == ("gzip", len(TEXT), len(body))
    assert app.ended[0][0].body_bytes_sent == len(body)


def test_codings_that_are_not_there(monkeypatch):
    with pytest.raises(ValueError, match="unknown content coding 'lzma'"):
        ResponseCompression(codings=["gzip", "lzma"])
    monkeypatch.setattr("sansio_pingora.modules.compression.available_codings", lambda: ("gzip", "deflate"))
    with pytest.raises(ValueError, match=r"pip install 'sansio-pingora\[compress\]'"):
        ResponseCompression(codings=["br"])
    with pytest.raises(LocalProtocolError, match="'br' is not among the codings"):
        ResponseCompression().adjust_algorithm_level("br", 3)


# ── dictionaries ─────────────────────────────────────────────────────────────────────

HAS = b"Available-Dictionary: :%b:\r\n" % __import__("base64").b64encode(WORDS.hash)


def test_a_dictionary_that_the_client_has():
    app = Compressing(dictionaries=[WORDS])
    _, fields, body = ask(app, get(b"dcz, br, gzip", fields=HAS), response())
    assert fields[b"content-encoding"] == b"dcz"
    assert fields[b"vary"] == b"accept-encoding, available-dictionary"
    decoder = new_decoder("dcz", lambda _: WORDS)
    assert decoder.decode(body, 10_000) == TEXT


@pytest.mark.parametrize("fields", [b"", b"Available-Dictionary: :AAAA:\r\n"])
def test_a_dictionary_that_it_has_not(fields):
    _, got, body = ask(Compressing(dictionaries=[WORDS]), get(b"dcz, br", fields=fields), response())
    assert got[b"content-encoding"] == b"br"
    assert brotli.decompress(body) == TEXT


# ── decompression ────────────────────────────────────────────────────────────────────

CODED = {
    b"gzip": gzip.compress(TEXT),
    b"x-gzip": gzip.compress(TEXT),
    b"br": brotli.compress(TEXT),
    b"zstd": zstd.compress(TEXT),
    b"deflate": zlib.compress(TEXT),
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("accept", [None, b"gzip;q=0, br;q=0, zstd;q=0, deflate;q=0", b"identity"])
def test_what_the_client_cannot_read_is_decoded(coding, accept):
    answer = response(CODED[coding], fields=b'Content-Encoding: %b\r\nETag: "a"\r\n' % coding)
    _, fields, body = ask(Compressing(level=0, decompress=True), get(accept), answer)
    assert body == TEXT
    assert b"content-encoding" not in fields
    assert fields[b"vary"] == b"accept-encoding"
    assert fields[b"etag"] == b'W/"a"'


def test_from_one_coding_to_another():
    answer = response(CODED[b"br"], fields=b"Content-Encoding: br\r\n")
    app = Compressing(decompress=True)
    _, fields, body = ask(app, get(b"gzip"), answer)
    assert gzip.decompress(body) == TEXT
    assert fields[b"content-encoding"] == b"gzip"


def test_a_body_that_is_broken_breaks_the_response():
    bench = Bench(app := Compressing(decompress=True))
    client = bench.client()
    client.send(get())
    bench.origin.send(response(b"this is not gzip", fields=b"Content-Encoding: gzip\r\n"))
    assert status_of(client.take()) == 200
    assert client.closed
    assert app.ended[0][1].type_str == "DecompressionError"
    bench.assert_clean()


@pytest.mark.parametrize(
    ("size", "limits", "passes"),
    [
        (1_000_000, {}, True),
        (50_000_000, {}, False),
        (3_000_000, {"max_expansion": 2.0}, False),
        (3_000_000, {"max_expansion": 1_000_000.0}, True),
        (500_000, {"max_decoded_body": 400_000}, False),
    ],
)
@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd"])
def test_a_bomb_is_stopped_at_its_ceiling(coding, size, limits, passes):
    bomb = {b"gzip": gzip.compress, b"br": partial(brotli.compress, quality=3), b"zstd": zstd.compress}[coding](
        bytes(size)
    )
    bench = Bench(app := Compressing(level=0, decompress=True), **limits)
    client = bench.client()
    client.send(get())
    bench.origin.send(response(bomb, fields=b"Content-Encoding: %b\r\n" % coding))
    got = head_of(client.take())[2]
    [(session, error)] = app.ended
    if passes:
        assert error is None
        assert len(dechunk(got)[0]) == size
    else:
        assert error.type_str == "DecompressionError"
        assert "max_expansion" in str(error)
        assert session.body_bytes_sent <= max(1_048_576, len(bomb) * 100)
    bench.assert_clean()


# ── streams ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_events_arrive_one_by_one(coding):
    bench = Bench(Compressing())
    client = bench.client()
    client.send(get(coding.encode()))
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.take()
    decoder = new_decoder(coding)
    for number in range(20):
        event = b"data: event number %d\n\n" % number
        bench.origin.send(b"%x\r\n%b\r\n" % (len(event), event))
        size, _, rest = client.take().partition(b"\r\n")
        assert decoder.decode(rest[: int(size, 16)], 1000) == event
    bench.origin.send(b"0\r\n\r\n")
    rest = client.take()
    assert decoder.decode(dechunk(rest)[0], 1000) == b""
    decoder.finish()
    bench.assert_clean()


def test_trailers_stay_behind_the_end_of_the_coding():
    bench = Bench(Compressing())
    client = bench.client()
    client.send(get(b"gzip"))
    bench.origin.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(TEXT, TEXT, trailers=b"X-Sum: 1\r\n")
    )
    body, rest = dechunk(head_of(client.take())[2])
    assert gzip.decompress(body) == TEXT * 2
    assert rest == b"X-Sum: 1\r\n\r\n"
    bench.assert_clean()


def test_a_known_length_is_compressed_as_a_whole():
    pieces = [TEXT[start : start + 100] for start in range(0, len(TEXT), 100)]
    bench = Bench(Compressing())
    client = bench.client()
    client.send(get(b"gzip"))
    bench.origin.send(response()[: -len(TEXT)])
    for piece in pieces:
        bench.origin.send(piece)
    body = dechunk(head_of(client.take())[2])[0]
    assert gzip.decompress(body) == TEXT
    assert len(body) <= len(gzip.compress(TEXT, 6)) + 10
