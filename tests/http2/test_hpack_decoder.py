"""What the decoder refuses, what it keeps and counts, and what it remembers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2.hpack import Decoder, Encoder, HpackFault
from sansio_pingora.http2.hpack.huffman import encode_huffman
from sansio_pingora.http2.hpack.integers import write_integer
from sansio_pingora.http2.hpack.strings import raw_string
from tests.http2.work import calls_of

CEILING = 65_536
GET = b"\x82"
GET_SIZE = 42


def literal(name: bytes, value: bytes, pattern: int = 0x00) -> bytes:
    return bytes((pattern,)) + raw_string(name) + raw_string(value)


def inserted(name: bytes, value: bytes) -> bytes:
    return literal(name, value, 0x40)


def update(size: int) -> bytes:
    return write_integer(size, 0x1F, 0x20)


def huffman(raw: bytes) -> bytes:
    """A literal field whose value is *raw*, said to be a Huffman string."""
    return b"\x04" + write_integer(len(raw), 0x7F, 0x80) + raw


# ── what is malformed ────────────────────────────────────────────────────────────────

MALFORMED = {
    "index of 0": (b"\x80", "index of 0"),
    "index beyond the static table": (b"\xbe", "beyond the 61 entries"),
    "index of two bytes beyond the tables": (b"\xff\x00", "beyond the 61 entries"),
    "huge index": (b"\xff\xff\xff\xff\x7f", "beyond the 61 entries"),
    "index after a field beyond the tables": (GET + b"\xbe", "beyond the 61 entries"),
    "index of a name beyond the tables": (b"\x7e\x01x", "beyond the 61 entries"),
    "index of a name beyond the tables, not indexed": (b"\x0f\x2f\x01x", "beyond the 61 entries"),
    "index of a name beyond the tables, never indexed": (b"\x1f\x2f\x01x", "beyond the 61 entries"),
    "index of an entry that was evicted": (
        inserted(b"first", b"x" * 4_000) + inserted(b"second", b"x" * 4_000) + b"\xbf",
        "beyond the 62 entries",
    ),
    "index of an entry that was too large": (inserted(b"large", b"x" * 4_096) + b"\xbe", "beyond the 61 entries"),
    "integer above 32 bits": (b"\xff\xff\xff\xff\xff\x7f", "an integer of"),
    "integer one above 32 bits": (b"\x00" + write_integer(2**32, 0x7F), "an integer of 4294967296"),
    "integer of six bytes behind its prefix": (b"\xff\x80\x80\x80\x80\x80\x00", "more than 5 bytes"),
    "integer without end": (b"\xff" + b"\x80" * 1_000, "more than 5 bytes"),
    "size update without end": (b"\x3f" + b"\xff" * 1_000, "more than 5 bytes"),
    "string length without end": (b"\x00\x7f" + b"\xff" * 1_000, "more than 5 bytes"),
    "block that ends within an index": (b"\xff", "ends within an integer"),
    "block that ends within the second byte of an index": (b"\xff\x80", "ends within an integer"),
    "block that ends within a size update": (b"\x3f", "ends within an integer"),
    "block that ends before a name": (b"\x40", "ends before a string"),
    "block that ends within a name": (b"\x40\x05nam", "ends 2 bytes before the end of a string"),
    "block that ends before a value": (b"\x40\x04name", "ends before a string"),
    "block that ends before the value of an indexed name": (b"\x44", "ends before a string"),
    "block that ends within a value": (b"\x44\x0b/index.html"[:-4], "ends 4 bytes before the end of a string"),
    "block that ends within the length of a value": (b"\x44\x7f", "ends within an integer"),
    "string that is longer than any block": (b"\x44\x7f\xff\xff\xff\xff\x0e", "before the end of a string"),
    "Huffman padding of more than 7 bits": (huffman(encode_huffman(b"&") + b"\xff"), "padding"),
    "Huffman padding alone": (huffman(b"\xff"), "padding"),
    "Huffman padding of zeros": (huffman(b"\x18"), "padding"),
    "Huffman string that is cut off": (huffman(encode_huffman(b"\x00")[:1]), "padding"),
    "Huffman EOS": (huffman(b"\xff\xff\xff\xff"), "EOS"),
    "Huffman EOS in a name": (b"\x40\x84\xff\xff\xff\xff\x00", "EOS"),
    "Huffman EOS in a name that others send": (b"\x7a\x84\xff\xff\xff\xff", "EOS"),
    "size update above the limit": (update(4_097), "a table of 4097 bytes where 4096"),
    "second size update above the limit": (update(0) + update(4_097), "a table of 4097 bytes where 4096"),
    "size update after a field": (GET + update(100), "not at the start"),
    "size update after a field, the same size": (GET + update(4_096), "not at the start"),
    "three size updates": (update(0) + update(100) + update(200), "third"),
}


@pytest.mark.parametrize(("block", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_malformed(block, reason):
    with pytest.raises(HpackFault, match=reason):
        Decoder().decode(block, CEILING)


def test_an_empty_block_has_no_fields():
    block = Decoder().decode(b"", CEILING)

    assert (block.items, block.size, block.truncated, block.template) == ([], 0, False, None)


def test_the_largest_integer_is_read():
    with pytest.raises(HpackFault, match="ends 4294967295 bytes before"):
        Decoder().decode(b"\x00" + write_integer(2**32 - 1, 0x7F), CEILING)


@pytest.mark.parametrize("pattern", [0x00, 0x10, 0x40], ids=["plain", "never indexed", "indexed"])
def test_a_literal_of_each_kind_is_a_field(pattern):
    decoder = Decoder()

    assert decoder.decode(literal(b"name", b"value", pattern), CEILING).items == [(b"name", b"value")]
    assert (len(decoder._table.entries) == 63) is (pattern == 0x40)


def test_the_names_of_values_that_nobody_may_index_are_told():
    """RFC 7541 section 7.1.3, wherever the name comes from; a block that is known tells them once more."""
    decoder = Decoder()
    decoder.decode(inserted(b"x-key", b"old"), CEILING)
    marked = literal(b"a", b"1", 0x10) + b"\x1f\x2f\x01x" + b"\x14\x01/"
    block = b"\x82" + literal(b"b", b"2") + marked + literal(b"c", b"3")
    for _ in range(2):
        found = decoder.decode(block, CEILING)
        assert found.never_indexed == {b"a", b"x-key", b":path"}
        assert (b"x-key", b"x") in found.items
    assert decoder.decode(b"\x82" + inserted(b"a", b"1"), CEILING).never_indexed == set()


def test_the_name_of_an_entry_outlives_its_eviction():
    """RFC 7541 section 4.4: the new entry may take its name from the one that it evicts."""
    decoder = Decoder(100)
    decoder.decode(inserted(b"name", b"x" * 60), CEILING)

    assert decoder.decode(b"\x7e\x03new\xbe", CEILING).items == [(b"name", b"new")] * 2


def test_an_entry_larger_than_the_table_empties_it():
    decoder = Decoder(100)
    decoder.decode(inserted(b"a", b"b"), CEILING)
    block = decoder.decode(inserted(b"name", b"x" * 65), CEILING)

    assert block.items == [(b"name", b"x" * 65)]
    assert (len(decoder._table.entries), decoder._table.size) == (62, 0)


# ── table sizes ──────────────────────────────────────────────────────────────────────


def test_a_lower_limit_asks_for_an_update():
    decoder = Decoder()
    decoder.set_max_table_size(100)

    with pytest.raises(HpackFault, match="not reduced to 100 bytes"):
        decoder.decode(GET, CEILING)


def test_a_lower_limit_asks_for_an_update_even_of_a_block_that_is_known():
    decoder = Decoder()
    decoder.decode(GET, CEILING)
    decoder.set_max_table_size(100)

    with pytest.raises(HpackFault, match="not reduced to 100 bytes"):
        decoder.decode(GET, CEILING)


@pytest.mark.parametrize(
    ("limits", "updates"),
    [
        pytest.param([100], [100], id="to the limit"),
        pytest.param([100], [50], id="below the limit"),
        pytest.param([100], [0, 100], id="to nothing and up again"),
        pytest.param([100, 4_096], [100, 4_096], id="lowered and raised, both told"),
        pytest.param([100, 4_096], [100], id="lowered and raised, only the first told"),
        pytest.param([100, 200, 50, 300], [50, 300], id="the lowest is told of many"),
        pytest.param([5_000], [], id="raised, which needs no update"),
        pytest.param([5_000], [5_000], id="raised"),
        pytest.param([4_096], [], id="the same"),
    ],
)
def test_updates_that_suit_the_limits(limits, updates):
    decoder = Decoder()
    for limit in limits:
        decoder.set_max_table_size(limit)

    assert decoder.decode(b"".join(map(update, updates)) + GET, CEILING).items == [(b":method", b"GET")]
    assert decoder.decode(GET, CEILING).items == [(b":method", b"GET")]
    assert decoder._table.capacity == (updates or [4_096])[-1]


@pytest.mark.parametrize(
    ("limits", "updates", "reason"),
    [
        pytest.param([100], [101], "101 bytes where 100", id="above the limit"),
        pytest.param([100, 4_096], [], "not reduced to 100", id="lowered and raised, nothing told"),
        pytest.param([100, 4_096], [4_096], "100 were allowed in between", id="lowered and raised, only the last told"),
        pytest.param([100, 4_096], [4_096, 100], "100 were allowed in between", id="in the wrong order"),
    ],
)
def test_updates_that_do_not_suit_the_limits(limits, updates, reason):
    decoder = Decoder()
    for limit in limits:
        decoder.set_max_table_size(limit)

    with pytest.raises(HpackFault, match=reason):
        decoder.decode(b"".join(map(update, updates)) + GET, CEILING)


def test_a_peer_that_has_already_reduced_its_table_owes_nothing():
    decoder = Decoder()
    decoder.decode(update(100), CEILING)
    decoder.set_max_table_size(100)

    assert decoder.decode(GET, CEILING).items == [(b":method", b"GET")]


def test_an_update_evicts():
    decoder = Decoder()
    decoder.decode(inserted(b"old", b"1") + inserted(b"new", b"2"), CEILING)

    assert decoder.decode(update(36) + b"\xbe", CEILING).items == [(b"new", b"2")]
    with pytest.raises(HpackFault, match="beyond the 62 entries"):
        decoder.decode(b"\xbf", CEILING)


# ── ceilings ─────────────────────────────────────────────────────────────────────────


def test_fields_up_to_the_ceiling_are_kept_and_the_rest_is_counted():
    block = Decoder().decode(GET * 4, 2 * GET_SIZE)

    assert block.items == [(b":method", b"GET")] * 2
    assert block.size == 4 * GET_SIZE
    assert block.truncated


def test_a_block_of_exactly_the_ceiling_is_whole():
    assert not Decoder().decode(GET * 2, 2 * GET_SIZE).truncated


def test_a_field_behind_one_that_was_too_large_is_not_kept():
    block = Decoder().decode(literal(b"large", b"x" * 100) + GET, 100)

    assert (block.items, block.truncated) == ([], True)


def test_fields_beyond_the_ceiling_still_reach_the_table():
    decoder = Decoder()
    block = decoder.decode(GET * 3 + inserted(b"late", b"entry"), 2 * GET_SIZE)

    assert block.truncated
    assert decoder.decode(b"\xbe", CEILING).items == [(b"late", b"entry")]


def test_four_times_the_ceiling_is_still_decoded_and_no_more():
    assert Decoder().decode(GET * 8, 2 * GET_SIZE).truncated
    with pytest.raises(HpackFault, match="fields of 378 bytes where 84 are allowed"):
        Decoder().decode(GET * 9, 2 * GET_SIZE)


@pytest.mark.parametrize("pattern", [0x00, 0x10, 0x40], ids=["plain", "never indexed", "indexed"])
def test_one_field_larger_than_four_times_the_ceiling(pattern):
    with pytest.raises(HpackFault, match="where 100 are allowed"):
        Decoder().decode(literal(b"name", b"x" * 365, pattern), 100)


def test_a_huffman_string_counts_by_its_decoded_length():
    """CVE-2016-6581 is small on the wire and large in memory."""
    with pytest.raises(HpackFault, match="where 1000 are allowed"):
        Decoder().decode(huffman(encode_huffman(b"0" * 4_000)), 1_000)


def test_a_bomb_of_references_stops_at_four_times_the_ceiling():
    """One large entry, named thousands of times (CVE-2016-6581)."""
    decoder = Decoder()
    decoder.decode(inserted(b"bomb", b"x" * 4_000), CEILING)

    with pytest.raises(HpackFault, match="where 65536 are allowed"):
        decoder.decode(b"\xbe" * 16_384, CEILING)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(GET * 65_536, id="fields of one byte"),
        pytest.param(b"\x40\x00\x00" * 21_845, id="empty entries"),
        pytest.param(b"\x00\x01a\x01b" * 13_107, id="small literals"),
        pytest.param(huffman(encode_huffman(b"0" * 104_000)), id="one Huffman string"),
        pytest.param(b"\x04\x81\x07" * 21_845, id="Huffman strings of one byte"),
    ],
)
def test_a_block_of_64_kib_takes_time_in_proportion_to_its_length(block):
    decoder = Decoder()
    found = []

    assert calls_of(lambda: found.append(decoder.decode(block, 10_000_000))) <= 8 * len(block)
    assert not found[0].truncated


# ── memo ─────────────────────────────────────────────────────────────────────────────


def test_the_same_block_is_the_same_object_with_what_the_caller_left_there():
    decoder = Decoder()
    block = decoder.decode(GET + literal(b"a", b"b"), CEILING)
    block.template = template = object()
    again = decoder.decode(GET + literal(b"a", b"b"), CEILING)

    assert again is block
    assert again.template is template


@pytest.mark.parametrize(
    "change", [inserted(b"a", b"b"), update(4_096), update(0)], ids=["insertion", "same size", "0"]
)
def test_a_change_of_the_table_makes_all_blocks_new(change):
    decoder = Decoder()
    decoder.decode(inserted(b"x", b"y"), CEILING)
    block = decoder.decode(GET, CEILING)
    decoder.decode(change, CEILING)
    again = decoder.decode(GET, CEILING)

    assert again is not block
    assert again.items == block.items


def test_an_index_means_another_entry_after_an_insertion():
    decoder = Decoder()
    decoder.decode(inserted(b"a", b"1"), CEILING)
    assert decoder.decode(b"\xbe", CEILING).items == [(b"a", b"1")]
    decoder.decode(inserted(b"b", b"2"), CEILING)

    assert decoder.decode(b"\xbe", CEILING).items == [(b"b", b"2")]


def test_a_block_that_changes_the_table_is_decoded_each_time():
    decoder = Decoder()
    for _ in range(3):
        decoder.decode(inserted(b"a", b"b"), CEILING)

    assert len(decoder._table.entries) == 62 + 3


def test_a_known_block_is_still_held_to_a_lower_ceiling():
    decoder = Decoder()
    decoder.decode(GET * 3, CEILING)

    assert decoder.decode(GET * 3, GET_SIZE).truncated
    with pytest.raises(HpackFault, match="where 10 are allowed"):
        decoder.decode(GET * 3, 10)


def test_a_truncated_block_is_not_remembered():
    decoder = Decoder()
    decoder.decode(GET * 2, GET_SIZE)

    assert not decoder.decode(GET * 2, CEILING).truncated


@given(st.lists(st.integers(0, 100), max_size=300), st.sampled_from([1, 10, 200, 1_000, 1_020]))
def test_the_memo_is_bounded(numbers, length):
    decoder = Decoder()
    for number in numbers:
        value = b"%d" % number + b"x" * length
        assert decoder.decode(literal(b"", value), CEILING).items == [(b"", value)]

        memo = decoder._memo
        assert len(memo) <= 64
        assert all(len(block) <= 1_024 for block in memo)
        assert decoder._kept == sum(block.size for block in memo.values()) <= 32_768


def test_a_small_block_of_very_many_bytes_is_not_remembered():
    decoder = Decoder()
    decoder.decode(inserted(b"large", b"x" * 4_000), CEILING)
    block = b"\xbe" * 10

    assert decoder.decode(block, CEILING) is not decoder.decode(block, CEILING)


def test_two_connections_share_no_blocks():
    assert Decoder().decode(GET, CEILING) is not Decoder().decode(GET, CEILING)


def test_what_a_block_is_can_be_read():
    assert repr(Decoder().decode(GET, CEILING)) == "FieldBlock([(b':method', b'GET')], 42, False)"


def test_the_first_block_of_a_client_is_decoded_whole():
    """As curl sends it: everything new, and a path that is not indexed."""
    items = [
        (b":method", b"GET"),
        (b":path", b"/search?q=hpack"),
        (b":scheme", b"https"),
        (b":authority", b"example.org"),
        (b"user-agent", b"curl/8.5.0"),
        (b"accept", b"*/*"),
    ]

    assert Decoder().decode(Encoder().encode(items), CEILING).items == items
