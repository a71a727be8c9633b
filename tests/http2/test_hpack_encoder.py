"""What the encoder puts into the table, what it never does, and what it remembers."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_pingora.http2.hpack import Decoder, Encoder

CEILING = 1_000_000
INDEXED, INSERTED, UPDATE, NEVER, PLAIN = "indexed", "inserted", "update", "never indexed", "plain"


def kind(coded: bytes) -> str:
    """What the first byte of *coded* says."""
    byte = coded[0]
    if byte >= 0x80:
        return INDEXED
    if byte >= 0x40:
        return INSERTED
    if byte >= 0x20:
        return UPDATE
    return NEVER if byte >= 0x10 else PLAIN


def kinds(encoder: Encoder, *items: tuple[bytes, bytes]) -> list[str]:
    return [kind(encoder.encode([item])) for item in items]


# ── what becomes of a field ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value", "coded"),
    [
        pytest.param(b":method", b"GET", "82", id="static"),
        pytest.param(b":status", b"404", "8d", id="static status"),
        pytest.param(b"Accept-Encoding", b"gzip, deflate", "90", id="static in capitals"),
        pytest.param(b"www-authenticate", b"", "bd", id="last of the static ones"),
        pytest.param(b"content-length", b"13", "0f0d023133", id="varies: plain, not coded"),
        pytest.param(b"server", b"a", "760161", id="too short for Huffman to pay"),
        pytest.param(b":authority", b"www.example.com", "418cf1e3c2e5f23a6ba0ab90f4ff", id="common: coded"),
        pytest.param(b"cache-control", b"no-cache", "5886a8eb10649cbf", id="common: coded too"),
        pytest.param(
            b"custom-key", b"custom-value", "408825a849e95ba97d7f0c637573746f6d2d76616c7565", id="own: name coded"
        ),
        pytest.param(b"Authorization", b"Basic eDp5", "1f080a" + b"Basic eDp5".hex(), id="secret"),
    ],
)
def test_bytes_of_a_field(name, value, coded):
    assert Encoder().encode([(name, value)]).hex() == coded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"server", b"sansio"),
        (b"content-type", b"text/html"),
        (b":status", b"201"),
        (b":path", b"/static"),
        (b"cookie", b"session=0123456789ab"),
        (b"x-own", b"value"),
    ],
)
def test_what_lasts_is_inserted_and_then_takes_one_byte(name, value):
    encoder = Encoder()

    assert kinds(encoder, (name, value), (name, value)) == [INSERTED, INDEXED]
    assert encoder.encode([(name, value)]) == b"\xbe"


VARYING = [
    b"age",
    b"content-length",
    b"content-range",
    b"date",
    b"etag",
    b"expires",
    b"if-modified-since",
    b"if-none-match",
    b"last-modified",
    b"location",
]


@pytest.mark.parametrize("name", VARYING)
def test_what_varies_is_never_inserted(name):
    assert kinds(Encoder(), (name, b"value"), (name.title(), b"value"), (name, b"value")) == [PLAIN] * 3


def test_a_path_with_a_query_is_not_inserted():
    assert kinds(Encoder(), (b":path", b"/?a=b"), (b":path", b"/?a=b")) == [PLAIN] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"authorization", b"Bearer 0123456789abcdefghijkl"),
        (b"proxy-authorization", b"Basic eDp5"),
        (b"set-cookie", b"session=0123456789abcdefghijkl; HttpOnly"),
        (b"cookie", b"s=0123456789abcdefg"),
        (b"Cookie", b"a=b"),
    ],
)
def test_a_secret_is_never_indexed_by_anybody(name, value):
    assert kinds(Encoder(), (name, value), (name, value)) == [NEVER] * 2


def test_what_others_may_not_index_is_not_indexed_here_either():
    """RFC 7541 section 7.1.3, though the same field was indexed before, or is one of the static table's."""
    encoder, decoder = Encoder(), Decoder()
    fields = [(b"X-Key", b"secret"), (b":path", b"/"), (b"accept", b"*/*")]
    assert decoder.decode(encoder.encode(fields), CEILING).never_indexed == set()
    never = frozenset({b"x-key", b":path"})
    for _ in range(2):
        found = decoder.decode(encoder.encode(fields, never), CEILING)
        assert found.never_indexed == never
        assert found.items == [(b"x-key", b"secret"), (b":path", b"/"), (b"accept", b"*/*")]
    assert kinds(encoder, (b"x-key", b"secret")) == [INDEXED]
    assert kinds(encoder, (b"x-key", b"another")) == [INSERTED]


def test_names_are_sent_in_lower_case_and_values_as_they_are():
    items = [(b"Content-Type", b"Text/HTML"), (b"X-OWN", b"VALUE"), (b"ETag", b'"A"'), (b"Set-Cookie", b"A=B")]

    assert Decoder().decode(Encoder().encode(items), CEILING).items == [(name.lower(), value) for name, value in items]


def test_two_spellings_of_a_name_share_an_entry():
    encoder, decoder = Encoder(), Decoder()
    spellings = [b"Server", b"server", b"SERVER"]
    for _ in range(2):
        for name in spellings:
            coded = encoder.encode([(name, b"sansio"), (b"x-own", b"value")])
            assert decoder.decode(coded, CEILING).items == [(b"server", b"sansio"), (b"x-own", b"value")]

    assert encoder.encode([(name, b"sansio") for name in spellings]) == b"\xbf" * 3


def test_any_iterable_will_do():
    assert Encoder().encode(item for item in [(b":method", b"GET")]) == b"\x82"
    assert Encoder().encode({b":method": b"GET"}.items()) == b"\x82"
    assert Encoder().encode([]) == b""


# ── the table ────────────────────────────────────────────────────────────────────────


def test_a_name_that_turns_out_to_vary_gets_four_entries():
    encoder = Encoder()
    values = [(b"x-trace", b"%d" % number) for number in range(6)]

    assert kinds(encoder, *values) == [INSERTED] * 4 + [PLAIN] * 2
    assert kinds(encoder, *values) == [INDEXED] * 4 + [PLAIN] * 2


def test_a_name_gets_a_quarter_of_the_table():
    encoder = Encoder()
    values = [(b"x-long", b"%d" % number * 600) for number in range(3)]

    assert kinds(encoder, *values) == [INSERTED, PLAIN, PLAIN]
    assert kinds(encoder, (b"x-too-long", b"x" * 1_000)) == [PLAIN]


def test_a_plain_field_names_an_entry_wherever_that_has_moved():
    encoder, decoder = Encoder(), Decoder()
    for number in range(40):
        items = [(b"x-trace", b"%d" % number), (b"x-%d" % number, b"y"), (b"x-trace", b"again")]
        assert decoder.decode(encoder.encode(items), CEILING).items == items


def test_the_table_fills_up_and_never_evicts():
    encoder, decoder = Encoder(), Decoder()
    items = [(b"x-%d" % number, b"y" * 50) for number in range(100)]
    for item in items:
        decoder.decode(encoder.encode([item]), CEILING)

    entries = len(decoder._table.entries) - 62
    assert 4_096 - 90 < decoder._table.size <= 4_096
    assert kinds(encoder, *items) == [INDEXED] * entries + [PLAIN] * (100 - entries)
    for item in items:
        assert decoder.decode(encoder.encode([item]), CEILING).items == [item]


def test_a_table_larger_than_4096_holds_no_more_than_128_entries():
    encoder, decoder = Encoder(65_536), Decoder(65_536)
    encoder.set_max_table_size(65_536)
    for number in range(300):
        items = [(b"%d" % number, b"")]
        assert decoder.decode(encoder.encode(items), CEILING).items == items

    assert len(decoder._table.entries) == 62 + 128


# ── size updates ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sizes", "updates"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([4_096], "", id="the same"),
        pytest.param([65_536], "", id="more than we use"),
        pytest.param([100], "3f45", id="lowered"),
        pytest.param([0], "20", id="to nothing"),
        pytest.param([100, 4_096], "3f45" + "3fe11f", id="lowered and raised"),
        pytest.param([0, 4_096], "20" + "3fe11f", id="to nothing and back"),
        pytest.param([200, 100, 300], "3f45" + "3f8d02", id="the smallest, then the last"),
        pytest.param([65_536, 100], "3f45", id="raised and lowered"),
    ],
)
def test_updates_precede_the_next_block_and_no_other(sizes, updates):
    encoder = Encoder()
    for size in sizes:
        encoder.set_max_table_size(size)

    assert encoder.encode([(b":method", b"GET")]).hex() == updates + "82"
    assert encoder.encode([(b":method", b"GET")]).hex() == "82"


def test_a_table_that_was_small_may_grow_again():
    encoder = Encoder()
    encoder.set_max_table_size(0)
    encoder.encode([])
    encoder.set_max_table_size(4_096)

    assert encoder.encode([]).hex() == "3fe11f"


def test_of_our_own_accord_less_is_used():
    encoder = Encoder(100)

    assert encoder.encode([(b"server", b"a")]).hex() == "3f45" + "760161"
    assert kinds(encoder, (b"x-own", b"b"), (b"x-too", b"c" * 60)) == [INSERTED, PLAIN]


def test_of_our_own_accord_more_is_used_when_the_peer_allows_it():
    encoder = Encoder(8_192)
    assert encoder.encode([]) == b""
    encoder.set_max_table_size(65_536)

    assert encoder.encode([]).hex() == "3fe13f"


def test_without_a_table_everything_is_literal():
    encoder, decoder = Encoder(), Decoder()
    encoder.set_max_table_size(0)
    items = [(b":status", b"200"), (b"server", b"sansio-pingora"), (b"x-own", b"value"), (b"cookie", b"c" * 30)]
    for _ in range(3):
        assert decoder.decode(encoder.encode(items), CEILING).items == items

    assert kinds(encoder, *items) == [INDEXED, PLAIN, PLAIN, PLAIN]
    assert len(decoder._table.entries) == 62


def test_entries_that_no_longer_fit_are_given_up_and_come_again():
    encoder, decoder = Encoder(), Decoder()
    items = [(b"x-%d" % number, b"y" * 20) for number in range(5)]
    decoder.decode(encoder.encode(items), CEILING)
    encoder.set_max_table_size(130)
    assert decoder.decode(encoder.encode(items), CEILING).items == items
    assert decoder.decode(encoder.encode(items), CEILING).items == items

    assert kinds(encoder, *items) == [INDEXED] * 2 + [PLAIN] * 3


# ── memo ─────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.integers(0, 2_000), st.sampled_from([0, 10, 1_000, 40_000])), max_size=60))
@example([(1, 40_000), *((number, 1_000) for number in range(60))])
def test_the_memo_is_bounded(fields):
    encoder, decoder = Encoder(), Decoder()
    for number, length in fields:
        items = [(b"etag", b"%d" % number + b"x" * length), (b"x-%d" % number, b"y")]
        assert decoder.decode(encoder.encode(items), CEILING).items == items

        assert sum(len(name) + len(value) + 32 for name, value in encoder._lines) <= 32_768 + 4_096


def test_a_field_that_was_sent_is_not_worked_out_again():
    encoder = Encoder()
    items = [
        (b":status", b"200"),
        (b"Content-Type", b"text/plain"),
        (b"Content-Length", b"13"),
        (b"Set-Cookie", b"a=b"),
    ]
    encoder.encode(items)
    encoder.encode(items)

    assert all(item in encoder._lines for item in items)
