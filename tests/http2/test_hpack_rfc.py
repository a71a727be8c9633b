"""The examples of RFC 7541 appendix C: fields, and the dynamic table after each block."""

from __future__ import annotations

import pytest

from sansio_pingora.http2.hpack import Decoder, Encoder
from sansio_pingora.http2.hpack.integers import read_integer, write_integer

CEILING = 65_536


@pytest.mark.parametrize(
    ("value", "mask", "coded"),
    [
        pytest.param(10, 0x1F, "0a", id="C.1.1"),
        pytest.param(1337, 0x1F, "1f9a0a", id="C.1.2"),
        pytest.param(42, 0xFF, "2a", id="C.1.3"),
    ],
)
def test_integers(value, mask, coded):
    raw = bytes.fromhex(coded)

    assert write_integer(value, mask) == raw
    assert read_integer(raw, 0, mask) == (value, len(raw))


def fields(text: str) -> list[tuple[bytes, bytes]]:
    """Lines of ``name = value``."""
    pairs = (line.strip().encode().partition(b" = ") for line in text.splitlines() if line.strip())
    return [(name, value) for name, _, value in pairs]


GET = """
    :method = GET
    :scheme = http
    :path = /
    :authority = www.example.com
"""
AUTHORITY = ":authority = www.example.com"
NO_CACHE = "cache-control = no-cache"
CUSTOM = "custom-key = custom-value"
GET_CUSTOM = f"""
    :method = GET
    :scheme = https
    :path = /index.html
    :authority = www.example.com
    {CUSTOM}
"""
LOCATION = "location = https://www.example.com"
DATE = "date = Mon, 21 Oct 2013 20:13:21 GMT"
DATE_22 = "date = Mon, 21 Oct 2013 20:13:22 GMT"
PRIVATE = "cache-control = private"
COOKIE = "set-cookie = foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
GZIP = "content-encoding = gzip"

REQUESTS = [
    (GET, AUTHORITY, 57),
    (f"{GET}\n{NO_CACHE}", f"{NO_CACHE}\n{AUTHORITY}", 110),
    (GET_CUSTOM, f"{CUSTOM}\n{NO_CACHE}\n{AUTHORITY}", 164),
]
RESPONSES = [
    (
        f":status = 302\n{PRIVATE}\n{DATE}\n{LOCATION}",
        f"{LOCATION}\n{DATE}\n{PRIVATE}\n:status = 302",
        222,
    ),
    (
        f":status = 307\n{PRIVATE}\n{DATE}\n{LOCATION}",
        f":status = 307\n{LOCATION}\n{DATE}\n{PRIVATE}",
        222,
    ),
    (
        f":status = 200\n{PRIVATE}\n{DATE_22}\n{LOCATION}\n{GZIP}\n{COOKIE}",
        f"{COOKIE}\n{GZIP}\n{DATE_22}",
        215,
    ),
]
LITERALS = {
    "C.2.1": ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key = custom-header", True),
    "C.2.2": ("040c2f73616d706c652f70617468", ":path = /sample/path", False),
    "C.2.3": ("100870617373776f726406736563726574", "password = secret", False),
    "C.2.4": ("82", ":method = GET", False),
}
SEQUENCES = {
    "C.3": (
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        REQUESTS,
        4_096,
    ),
    "C.4": (
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        REQUESTS,
        4_096,
    ),
    "C.5": (
        [
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
                "6e1768747470733a2f2f7777772e6578616d706c652e636f6d"
            ),
            "4803333037c1c0bf",
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
                "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273"
                "696f6e3d31"
            ),
        ],
        RESPONSES,
        256,
    ),
    "C.6": (
        [
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97"
                "c8e9ae82ae43d3"
            ),
            "4883640effc1c0bf",
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd"
                "5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
        ],
        RESPONSES,
        256,
    ),
}


@pytest.mark.parametrize(("coded", "field", "inserted"), LITERALS.values(), ids=LITERALS)
def test_literal(coded, field, inserted):
    decoder = Decoder()

    assert decoder.decode(bytes.fromhex(coded), CEILING).items == fields(field)
    assert dynamic(decoder) == (fields(field) if inserted else [])


@pytest.mark.parametrize(("blocks", "expected", "table_size"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequence(blocks, expected, table_size):
    decoder = Decoder(table_size)

    for coded, (seen, table, size) in zip(blocks, expected, strict=True):
        assert decoder.decode(bytes.fromhex(coded), CEILING).items == fields(seen)
        assert dynamic(decoder) == fields(table)
        assert decoder._table.size == size


@pytest.mark.parametrize("expected", [REQUESTS, RESPONSES], ids=["requests", "responses"])
def test_our_own_encoding_of_the_examples(expected):
    """Other bytes than the RFC's, whose encoder inserts everything; the same fields."""
    encoder, decoder = Encoder(), Decoder()

    for seen, _, _ in expected:
        assert decoder.decode(encoder.encode(fields(seen)), CEILING).items == fields(seen)


def dynamic(decoder: Decoder) -> list[tuple[bytes, bytes]]:
    """The entries of the dynamic table, the newest first."""
    return [field for field, _ in decoder._table.entries[62:]]
