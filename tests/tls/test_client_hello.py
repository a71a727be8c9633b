"""The reader of what a client says first: whatever comes, a ClientHello, more to wait for, or a declared fault."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sansio_pingora.limits import Limits
from sansio_pingora.tls import ClientHello, HelloFault, HelloReader, NotTls
from tests.tls.hellos import hello
from tests.tls.pairs import pieces, server

CEILING = 4_000
REAL = [hello(name, alpn) for name, alpn in ((None, ()), ("a.test", ("h2", "http/1.1")), ("x" * 60 + ".test", ("h2",)))]


def outcome(data, cut=0, ceiling=CEILING):
    reader = HelloReader(ceiling)
    found = None
    try:
        for piece in pieces(data, cut) if data else []:
            found = reader.feed(piece)
            assert len(reader.raw) <= 2 * ceiling
            if found is not None:
                break
    except (NotTls, HelloFault) as fault:
        return type(fault), str(fault)
    assert found is None or isinstance(found, ClientHello)
    return found


@given(st.binary(max_size=400), st.integers(0, 5))
@example(b"\x16\x03\x01\x00\x00", 0)
@example(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 1)
def test_any_bytes(data, cut):
    outcome(data, cut)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x03\x03" + bytes(32) + b"\0"]))
def test_any_bytes_behind_the_right_headers(body, start):
    """Past the records, where lengths within lengths are."""
    body = start + body
    message = b"\x01" + len(body).to_bytes(3) + body
    outcome(b"\x16\x03\x01" + len(message).to_bytes(2) + message)


@pytest.mark.parametrize("real", REAL, ids=["bare", "name", "long name"])
def test_cut_short_at_each_place_more_is_waited_for(real):
    whole = outcome(real)
    assert isinstance(whole, ClientHello)
    reader = HelloReader(CEILING)
    for at in range(len(real) - 1):
        assert reader.feed(real[at : at + 1]) is None
    assert reader.feed(real[-1:]) == whole


@given(
    st.sampled_from(REAL),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 9),
)
def test_real_ones_with_other_bytes_in_them(real, changes, cut):
    raw = bytearray(real)
    for at, byte in changes:
        raw[at % len(raw)] = byte
    raw = bytes(raw)
    assert outcome(raw, cut) == outcome(raw)
    end = server(limits=Limits(max_client_hello=CEILING))
    for piece in pieces(raw, cut):
        end.endpoint.receive_data(piece, 0.0)
        end.take()
    assert end.inner is None
    assert end.layer.held <= 2 * CEILING


@given(st.sampled_from(REAL), st.integers(0, 2_000), st.integers(0, 2_000), st.binary(max_size=40))
def test_real_ones_with_pieces_left_out_and_put_in(real, start, size, put):
    at = start % len(real)
    outcome(real[:at] + put + real[at + size % 40 :])


@pytest.mark.parametrize("size", [1, 16_384], ids=["a byte in each record", "records as large as there are"])
def test_who_sends_on_and_on_is_stopped_at_the_ceiling(size):
    reader = HelloReader(CEILING)
    start = b"\x16\x03\x01\x00\x04\x01\x00\x0f\x9c"  # a message of 3,996 bytes
    record = b"\x16\x03\x01" + size.to_bytes(2) + bytes(size)

    def go_on():
        reader.feed(start)
        for _ in range(10_000):
            reader.feed(record)

    tracemalloc.start()
    try:
        with pytest.raises(HelloFault):
            go_on()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40 * CEILING
