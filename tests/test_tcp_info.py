"""TCP_INFO: every field at the offset of the kernel's struct, and structs of older kernels."""

from __future__ import annotations

import dataclasses
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.tcp_info import SIZE, TcpInfo

# From linux/tcp.h, by hand: offset and size of some fields of each part.
OFFSETS = {
    "state": (0, 1),
    "app_limited": (7, 1),
    "rto": (8, 4),
    "pmtu": (60, 4),
    "rtt": (68, 4),
    "snd_cwnd": (80, 4),
    "total_retrans": (100, 4),
    "pacing_rate": (104, 8),
    "bytes_received": (128, 8),
    "segs_out": (136, 4),
    "data_segs_out": (156, 4),
    "delivery_rate": (160, 8),
    "sndbuf_limited": (184, 8),
    "delivered": (192, 4),
    "bytes_sent": (200, 8),
    "dsack_dups": (216, 4),
    "rcv_wnd": (232, 4),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_a_field_is_where_the_kernel_puts_it(name):
    offset, size = OFFSETS[name]
    raw = bytearray(SIZE)
    raw[offset : offset + size] = (0x1122334455667788 & (1 << size * 8) - 1).to_bytes(
        size, "little" if struct.pack("=H", 1)[0] else "big"
    )

    info = TcpInfo.parse(bytes(raw))

    told = {spec.name: getattr(info, spec.name) for spec in dataclasses.fields(info)}
    assert told.pop(name) == 0x1122334455667788 & (1 << size * 8) - 1
    assert set(told.values()) == {0}


@given(st.binary(min_size=1, max_size=300))
def test_a_shorter_struct_is_read_as_far_as_it_goes(raw):
    info = TcpInfo.parse(raw)
    values = [getattr(info, spec.name) for spec in dataclasses.fields(info)]
    known = [value for value in values if value is not None]

    assert values[: len(known)] == known  # nothing is known behind the first that is not
    assert info.state == raw[0]
    if len(raw) >= SIZE:
        assert None not in values
    assert (info.rtt is not None) is (len(raw) >= 72)


def test_nothing_is_no_info():
    with pytest.raises(ValueError, match="empty"):
        TcpInfo.parse(b"")


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system has no TCP_INFO")
def test_of_a_real_connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        info = TcpInfo.parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1024))

        assert info.state == 1
        assert info.snd_mss
        assert info.rtt is not None
