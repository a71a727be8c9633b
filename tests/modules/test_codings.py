"""Each coding against a library of its own, in any pieces, and with a ceiling."""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from hashlib import sha256
from itertools import pairwise

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorSource
from sansio_pingora.modules import Dictionary
from sansio_pingora.modules.codings import CODINGS, available_codings, new_decoder, new_encoder

WORDS = Dictionary(b"the quick brown fox jumps over the lazy dog " * 20)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"the quick brown fox ", b"jumps over ", b"0" * 50]), max_size=200).map(b"".join),
)
PIECES = st.lists(BODIES, max_size=6)
LEVELS = st.integers(1, 6)
FREE = 1 << 30


def dcz(coded):
    assert coded[:8] == bytes.fromhex("5e2a4d1820000000")
    assert coded[8:40] == sha256(WORDS.content).digest()
    return zstd.decompress(coded[40:], zstd_dict=zstd.ZstdDict(WORDS.content, is_raw=True).as_prefix)


def as_dcz(data):
    dictionary = zstd.ZstdDict(WORDS.content, is_raw=True)
    return bytes.fromhex("5e2a4d1820000000") + WORDS.hash + zstd.compress(data, zstd_dict=dictionary.as_prefix)


def raw_deflate(data):
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush()


OUT = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    "dcz": dcz,
}
IN = {
    "gzip": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
    "br": [partial(brotli.compress, quality=4)],
    "zstd": [zstd.compress],
    "dcz": [as_dcz],
}
WAYS_IN = [(coding, way) for coding in CODINGS for way in IN[coding]]


def find(digest):
    return WORDS if digest == WORDS.hash else None


def encoder_of(coding, level=6):
    return new_encoder(coding, level, WORDS if coding == "dcz" else None)


def decoded(coding, pieces, most=FREE):
    decoder = new_decoder(coding, find)
    out = [decoder.decode(piece, most) for piece in pieces]
    decoder.finish()
    return b"".join(out)


def cut(data, ends):
    ends = sorted({end % (len(data) + 1) for end in ends} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def test_all_are_installed_where_the_tests_run():
    assert available_codings() == CODINGS


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=PIECES, level=LEVELS, flushes=st.booleans())
def test_what_is_encoded_here_others_decode(coding, pieces, level, flushes):
    encoder = encoder_of(coding, level)
    made = b""
    for piece in pieces:
        made += encoder.encode(piece)
        if flushes and piece:
            made += encoder.flush()
    made += encoder.finish()
    assert OUT[coding](made) == b"".join(pieces)


@pytest.mark.parametrize(("coding", "way"), WAYS_IN)
@given(body=BODIES, ends=st.lists(st.integers(0, 10_000), max_size=8))
def test_what_others_encode_is_decoded_here_however_it_is_cut(coding, way, body, ends):
    assert decoded(coding, cut(way(body), ends)) == body


@pytest.mark.parametrize(("coding", "way"), WAYS_IN)
def test_byte_by_byte(coding, way):
    body = b"the quick brown fox " * 100
    assert decoded(coding, [bytes([byte]) for byte in way(body)]) == body


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(BODIES.filter(bool), min_size=1, max_size=5))
def test_what_was_flushed_can_be_read(coding, pieces):
    encoder, decoder = encoder_of(coding), new_decoder(coding, find)
    for piece in pieces:
        assert decoder.decode(encoder.encode(piece) + encoder.flush(), FREE) == piece


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@given(bodies=st.lists(BODIES, min_size=2, max_size=4), ends=st.lists(st.integers(0, 10_000), max_size=8))
def test_one_member_behind_another(coding, bodies, ends):
    coded = b"".join(IN[coding][0](body) for body in bodies)
    assert decoded(coding, cut(coded, ends)) == b"".join(bodies)


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_many_members_in_one_piece(coding, encode, monkeypatch):
    """At the end of each a library copies what is behind it, which is all of the piece but once."""
    bodies = [b"%d " % number * (number % 50) for number in range(5_000)]
    decoder = new_decoder(coding)
    given = []
    step = type(decoder)._step

    def counting(self, inner, data, most):
        given.append(len(data))
        return step(self, inner, data, most)

    monkeypatch.setattr(type(decoder), "_step", counting)
    coded = b"".join(map(encode, bodies))
    assert decoder.decode(coded, FREE) == b"".join(bodies)
    decoder.finish()
    assert sum(given[1:]) <= 16_384 * len(given)
    assert len(given) <= len(bodies) + len(coded) // 16_384 + 2


@pytest.mark.parametrize("coding", CODINGS)
def test_nothing_at_all_is_an_empty_body(coding):
    assert decoded(coding, []) == b""


@pytest.mark.parametrize(("coding", "way"), WAYS_IN)
def test_one_that_ends_in_its_middle(coding, way):
    coded = way(b"the quick brown fox " * 100)
    for size in (1, len(coded) // 2, len(coded) - 1):
        decoder = new_decoder(coding, find)
        decoder.decode(coded[:size], FREE)
        with pytest.raises(Error, match="ends in its middle") as caught:
            decoder.finish()
        assert caught.value.esource is ErrorSource.UPSTREAM


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip", "zstd"])
def test_something_else_behind_the_end(coding):
    decoder = new_decoder(coding)
    with pytest.raises(Error, match="DecompressionError"):
        decoder.decode(IN[coding][0](b"body") + b"junk that is nothing", FREE)


@pytest.mark.parametrize("coding", CODINGS)
@given(junk=st.binary(min_size=41, max_size=100))
def test_junk_is_an_error_or_waits_for_more(coding, junk):
    decoder = new_decoder(coding, find)
    try:
        decoder.decode(junk, FREE)
        decoder.finish()
    except Error as exc:
        assert exc.type_str == "DecompressionError"


@pytest.mark.parametrize(("coding", "way"), WAYS_IN)
@given(most=st.integers(0, 200_000))
def test_no_more_than_the_ceiling_comes_out(coding, way, most):
    coded = way(bytes(100_000))
    decoder = new_decoder(coding, find)
    if most >= 100_000:
        assert decoder.decode(coded, most) == bytes(100_000)
    else:
        with pytest.raises(Error, match="more than the ceiling"):
            decoder.decode(coded, most)


def test_a_window_that_takes_too_much_memory_is_refused():
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.compression_level: 3}
    encoder = zstd.ZstdCompressor(options=options)
    coded = encoder.compress(bytes(1000)) + encoder.flush()
    with pytest.raises(Error, match="cannot be decoded"):
        new_decoder("zstd").decode(coded, FREE)
    best = new_encoder("zstd", 22)
    assert decoded("zstd", [best.encode(bytes(1000)), best.finish()]) == bytes(1000)


def test_a_dictionary_that_nobody_has():
    decoder = new_decoder("dcz", lambda _: None)
    with pytest.raises(Error, match="dictionary that is not known"):
        decoder.decode(as_dcz(b"body"), FREE)


def test_a_dictionary_makes_it_smaller():
    body = WORDS.content[:200]
    sizes = {}
    for coding in ("dcz", "zstd"):
        encoder = encoder_of(coding)
        sizes[coding] = len(encoder.encode(body) + encoder.finish())
    assert sizes["dcz"] - 40 < sizes["zstd"]


def test_vectors_of_pingora():
    encoder = new_encoder("gzip", 6)
    coded = encoder.encode(b"abcdefg") + encoder.finish()
    assert coded.startswith(bytes.fromhex("1f8b08"))
    assert coded.endswith(bytes.fromhex("a66a2a3107000000"))
    assert decoded("br", [bytes.fromhex("1f0f00f84507873e10fb5592ec1209cc38dd511e")]) == b"adcdefgabcdefgh\n"
