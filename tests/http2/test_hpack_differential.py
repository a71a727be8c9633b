"""Sequences of blocks with table sizes that change in between: our two ends together, and each with one of hpack's."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_pingora.http2.hpack import Decoder, Encoder, HpackFault

CEILING = 1_000_000
Items = list[tuple[bytes, bytes]]

COMMON = [field for field in hpack.table.HeaderTable.STATIC_TABLE if field[0] != b"set-cookie"]
NAMES = [
    b":authority",
    b":path",
    b":status",
    b"authorization",
    b"content-length",
    b"content-type",
    b"cookie",
    b"date",
    b"etag",
    b"server",
    b"set-cookie",
    b"user-agent",
    b"x-a",
    b"x-request-id",
    b"x-" + b"long" * 40,
]
VALUES = [b"", b"0", b"/?q", b"text/html", b"Tue, 01 Oct 2024 12:00:00 GMT", b"y" * 30, b"z" * 300, b"\xff\x00" * 9]

names = st.sampled_from(NAMES) | st.binary(max_size=6).map(bytes.lower)
values = st.sampled_from(VALUES) | st.binary(max_size=30) | st.integers(0, 300).map(b"v".__mul__)
fields = st.sampled_from(COMMON) | st.tuples(names, values)
blocks = st.lists(fields, max_size=12)
sizes = st.sampled_from([0, 1, 33, 64, 100, 300, 1_000, 4_095, 4_096, 5_000]) | st.integers(0, 5_000)
spellings = st.sampled_from([bytes.lower, bytes.upper, bytes.title, bytes.swapcase])


def steps(at_once: int) -> st.SearchStrategy[list[Items | int]]:
    """Blocks and table sizes, of which no more than *at_once* come between two blocks."""
    turn = st.tuples(st.lists(sizes, max_size=at_once), blocks)
    return st.lists(turn, max_size=12).map(lambda turns: [step for new, block in turns for step in (*new, block)])


def plain(decoded: object) -> Items:
    return [(bytes(name), bytes(value)) for name, value in decoded]


@given(steps(4), st.sampled_from([0, 60, 4_096, 9_000]), st.data())
def test_our_ends_agree(sequence, most, data):
    encoder, decoder = Encoder(most), Decoder()
    for step in sequence:
        if isinstance(step, int):
            encoder.set_max_table_size(step)
            decoder.set_max_table_size(step)
            continue
        spelled = [(data.draw(spellings)(name), value) for name, value in step]
        expected = [(name.lower(), value) for name, value in step]

        for _ in range(2):  # what was sent before comes from the memos
            found = decoder.decode(encoder.encode(spelled), CEILING)
            assert found.items == expected
            assert found.size == sum(len(name) + len(value) + 32 for name, value in expected)
            assert not found.truncated
            check_mirrored(encoder, decoder)


def check_mirrored(encoder: Encoder, decoder: Decoder) -> None:
    """What the encoder believes to be in the table is there, at the end where new entries come in."""
    lines = encoder._lines
    believed = [(name.lower(), value) for name, value in reversed(lines._entries)]
    assert [field for field, _ in decoder._table.entries[62:]][: len(believed)] == believed
    assert lines._used <= decoder._table.capacity == lines.capacity


@given(steps(4), st.sampled_from([60, 4_096]))
def test_hpack_reads_what_we_write(sequence, most):
    encoder, decoder = Encoder(most), hpack.Decoder(CEILING)
    for step in sequence:
        if isinstance(step, int):
            encoder.set_max_table_size(step)
            decoder.max_allowed_table_size = step
            continue
        for _ in range(2):
            assert plain(decoder.decode(encoder.encode(step), raw=True)) == step


@given(steps(1), st.lists(st.booleans(), min_size=12, max_size=12), st.booleans())
def test_we_read_what_hpack_writes(sequence, huffman, sensitive):
    """hpack inserts everything and evicts. Two sizes at once it tells in an order that RFC 7541 section 4.2 forbids."""
    encoder, decoder = hpack.Encoder(), Decoder()
    coding = iter(huffman)
    for step in sequence:
        if isinstance(step, int):
            encoder.header_table_size = step
            decoder.set_max_table_size(step)
            continue
        coded = next(coding)
        for _ in range(2):
            items = [(name, value, sensitive and name in (b"cookie", b"x-a")) for name, value in step]
            block = decoder.decode(encoder.encode(items, huffman=coded), CEILING)
            assert block.items == step
            assert [field for field, _ in decoder._table.entries[62:]] == list(encoder.header_table.dynamic_entries)


def check_verdicts(parts: list[bytes]) -> None:
    """Each block, up to the first fault, is to us what it is to hpack."""
    ours, theirs = Decoder(), hpack.Decoder(CEILING)
    for block in parts:
        try:
            expected = plain(theirs.decode(block, raw=True))
        except hpack.HPACKError:
            with pytest.raises(HpackFault):
                ours.decode(block, CEILING)
            return
        try:
            assert ours.decode(block, CEILING).items == expected
        except HpackFault as fault:
            assert "the third" in str(fault), block  # hpack counts no table size updates
            return


pieces = st.sampled_from(
    [
        b"\x82",
        b"\xbe",
        b"\xbf",
        b"\x80",
        b"\xff\x00",
        b"\xff\x80\x80\x80\x80\x00",
        b"\xff\x80\x80\x80\x80\x80\x00",
        b"\x20",
        b"\x3f\x00",
        b"\x3f\xe1\x1f",
        b"\x3f\xe2\x1f",
        b"\x40\x01a\x01b",
        b"\x40\x81\x1f\x01b",
        b"\x00\x01a\x01b",
        b"\x10\x01a\x81\x1f",
        b"\x7e\x01c",
        b"\x04\x82\xff\xff",
        b"\x04\x84\xff\xff\xff\xff",
        b"\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    ]
)


@given(st.lists(st.lists(pieces | st.binary(max_size=4), max_size=8).map(b"".join), max_size=6))
@example([b"\x20" * 2 + b"\x82", b"\x20" * 3])
def test_blocks_of_any_pieces_get_the_verdict_that_hpack_gives(parts):
    check_verdicts(parts)


@given(blocks, st.data())
def test_a_damaged_block_gets_the_verdict_that_hpack_gives(items, data):
    raw = bytearray(hpack.Encoder().encode(items) + Encoder().encode(items))
    for _ in range(data.draw(st.integers(0, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(raw)))

    check_verdicts([bytes(raw[:end])])
