"""Integers, Huffman and strings against slow and obvious models."""

from __future__ import annotations

import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2.hpack import HpackFault
from sansio_pingora.http2.hpack.huffman import decode_huffman, encode_huffman, huffman_size
from sansio_pingora.http2.hpack.integers import read_integer, write_integer
from sansio_pingora.http2.hpack.strings import raw_string, read_string, shared_string
from tests.http2.work import calls_of

EOS = 256
CODES = {
    f"{code:0{length}b}": symbol
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
}
CODE_OF = {symbol: code for code, symbol in CODES.items()}


# ── integers ─────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.binary(max_size=3), st.binary(max_size=3))
def test_an_integer_reads_as_it_was_written(value, bits, before, after):
    mask = (1 << bits) - 1
    pattern = 0xFF ^ mask
    raw = write_integer(value, mask, pattern)

    assert raw[0] & pattern == pattern
    assert read_integer(before + raw + after, len(before), mask) == (value, len(before + raw))


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_an_integer_that_is_cut_off_is_a_fault(value, bits):
    mask = (1 << bits) - 1
    raw = write_integer(value, mask)

    for end in range(1, len(raw)):
        with pytest.raises(HpackFault, match="ends within an integer"):
            read_integer(raw[:end], 0, mask)


def test_an_integer_may_be_padded_with_zeros_as_far_as_the_longest_one_reaches():
    assert read_integer(b"\x1f\x80\x80\x80\x80\x00", 0, 0x1F) == (31, 6)


# ── Huffman ──────────────────────────────────────────────────────────────────────────


def slow_decode(raw: bytes) -> bytes | None:
    """Bit by bit; None for a fault."""
    out, code = bytearray(), ""
    for bit in "".join(f"{byte:08b}" for byte in raw):
        code += bit
        symbol = CODES.get(code)
        if symbol == EOS:
            return None
        if symbol is not None:
            out.append(symbol)
            code = ""
    return bytes(out) if len(code) < 8 and "0" not in code else None


def fast_decode(raw: bytes) -> bytes | None:
    try:
        return decode_huffman(raw)
    except HpackFault:
        return None


def bits(text: str, padding: str = "1") -> bytes:
    """The bits of *text*, filled up."""
    text += padding * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def test_every_byte_has_its_code():
    for symbol in range(256):
        raw = encode_huffman(bytes((symbol,)))

        assert raw == bits(CODE_OF[symbol])
        assert decode_huffman(raw) == bytes((symbol,))


@given(st.binary(max_size=100))
def test_a_string_decodes_to_what_was_coded(value):
    raw = encode_huffman(value)

    assert len(raw) == huffman_size(value)
    assert raw == (bits("".join(CODE_OF[byte] for byte in value)) if value else b"")
    assert decode_huffman(raw) == value
    assert len(value) <= len(raw) * 8 // 5


@given(st.binary(max_size=40) | st.text("\xff\xfe\x7f\x00az", max_size=12).map(lambda text: text.encode("latin-1")))
def test_any_bytes_decode_as_they_do_bit_by_bit(raw):
    assert fast_decode(raw) == slow_decode(raw)


@given(st.lists(st.integers(0, EOS), max_size=8), st.integers(0, 16), st.sampled_from("01"))
def test_any_symbols_and_any_padding_decode_as_they_do_bit_by_bit(symbols, padded, padding):
    raw = bits("".join(CODE_OF[symbol] for symbol in symbols) + padding * padded, padding) if symbols or padded else b""

    assert fast_decode(raw) == slow_decode(raw)


BAD_HUFFMAN = {
    "padding of eight bits": bits(CODE_OF[ord("&")]) + b"\xff",
    "nothing but padding": b"\xff",
    "padding that is not all ones": bits(CODE_OF[ord("a")], "0"),
    "padding whose last bit is not one": bits(CODE_OF[ord("a")] + "110"),
    "the EOS symbol": bits(CODE_OF[EOS]),
    "the EOS symbol amid text": bits(CODE_OF[ord("a")] + CODE_OF[EOS] + CODE_OF[ord("b")]),
    "a code that is cut off": bits(CODE_OF[0])[:1],
}


@pytest.mark.parametrize("raw", BAD_HUFFMAN.values(), ids=BAD_HUFFMAN)
def test_huffman_fault(raw):
    assert slow_decode(raw) is None
    with pytest.raises(HpackFault, match="Huffman"):
        decode_huffman(raw)


def test_a_state_that_was_once_left_in_error_still_decodes():
    assert fast_decode(bits(CODE_OF[EOS])) is None
    assert decode_huffman(encode_huffman(b"\xf9\xff\x16")) == b"\xf9\xff\x16"


# ── strings ──────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=400), st.binary(max_size=3), st.booleans())
def test_a_string_reads_as_it_was_written(value, before, shared):
    for raw in (raw_string(value), shared_string(value)):
        assert read_string(before + raw + b"tail", len(before), shared) == (value, len(before + raw))
    assert len(shared_string(value)) <= len(raw_string(value))


@given(st.binary(max_size=200))
def test_a_string_that_is_cut_off_is_a_fault(value):
    for raw in (raw_string(value), shared_string(value)):
        for end in range(len(raw)):
            with pytest.raises(HpackFault, match="a block that ends"):
                read_string(raw[:end], 0, shared=False)


def test_huffman_is_used_only_where_it_is_shorter():
    assert shared_string(b"www.example.com") == bytes.fromhex("8cf1e3c2e5f23a6ba0ab90f4ff")
    assert shared_string(b"{}<>") == b"\x04{}<>"


def test_a_long_string_is_neither_coded_nor_kept():
    assert shared_string(b"a" * 257) == raw_string(b"a" * 257)


@pytest.mark.parametrize("work", [encode_huffman, lambda value: decode_huffman(encode_huffman(value))])
def test_a_long_string_takes_time_in_proportion_to_its_length(work):
    value = bytes(range(256)) * 256

    assert calls_of(lambda: work(value)) <= len(value)
