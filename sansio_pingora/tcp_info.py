"""What the kernel knows of a TCP connection (TCP_INFO of Linux), of whichever length it tells."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Self

__all__ = ["TcpInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """The fields of ``struct tcp_info`` without their prefix; None for those that this kernel does not know.

    Times are microseconds, but ``last_*``, which are milliseconds, as in tcp(7); sizes are bytes or segments.
    """

    state: int
    """1 is established: ``TCP_ESTABLISHED`` of netinet/tcp.h."""
    ca_state: int | None = None
    retransmits: int | None = None
    probes: int | None = None
    backoff: int | None = None
    options: int | None = None
    wscales: int | None = None
    app_limited: int | None = None
    rto: int | None = None
    ato: int | None = None
    snd_mss: int | None = None
    rcv_mss: int | None = None
    unacked: int | None = None
    sacked: int | None = None
    lost: int | None = None
    retrans: int | None = None
    fackets: int | None = None
    last_data_sent: int | None = None
    last_ack_sent: int | None = None
    last_data_recv: int | None = None
    last_ack_recv: int | None = None
    pmtu: int | None = None
    rcv_ssthresh: int | None = None
    rtt: int | None = None
    """Smoothed round-trip time."""
    rttvar: int | None = None
    snd_ssthresh: int | None = None
    snd_cwnd: int | None = None
    advmss: int | None = None
    reordering: int | None = None
    rcv_rtt: int | None = None
    rcv_space: int | None = None
    total_retrans: int | None = None
    pacing_rate: int | None = None
    max_pacing_rate: int | None = None
    bytes_acked: int | None = None
    bytes_received: int | None = None
    segs_out: int | None = None
    segs_in: int | None = None
    notsent_bytes: int | None = None
    min_rtt: int | None = None
    data_segs_in: int | None = None
    data_segs_out: int | None = None
    delivery_rate: int | None = None
    busy_time: int | None = None
    rwnd_limited: int | None = None
    sndbuf_limited: int | None = None
    delivered: int | None = None
    delivered_ce: int | None = None
    bytes_sent: int | None = None
    bytes_retrans: int | None = None
    dsack_dups: int | None = None
    reord_seen: int | None = None
    rcv_ooopack: int | None = None
    snd_wnd: int | None = None
    rcv_wnd: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read the struct, in the byte order of this machine; a shorter one, of an older kernel, as far as it goes.

        :raises ValueError: not even the state is there.
        """
        if not raw:
            raise ValueError("TCP_INFO is empty")
        found: dict[str, int] = {}
        for name, kind, offset in _LAYOUT:
            if offset + struct.calcsize(kind) > len(raw):
                break
            (found[name],) = struct.unpack_from(kind, raw, offset)
        return cls(**found)


def _layout() -> list[tuple[str, str, int]]:
    """Name, format and offset of each field: eight bytes, then words, of which some are double."""
    double = {
        "pacing_rate",
        "max_pacing_rate",
        "bytes_acked",
        "bytes_received",
        "delivery_rate",
        "busy_time",
        "rwnd_limited",
        "sndbuf_limited",
        "bytes_sent",
        "bytes_retrans",
    }
    layout = []
    offset = 0
    for number, spec in enumerate(fields(TcpInfo)):
        kind = "=B" if number < 8 else "=Q" if spec.name in double else "=I"
        layout.append((spec.name, kind, offset))
        offset += struct.calcsize(kind)
    return layout


_LAYOUT = _layout()
SIZE = 240
"""Bytes of the whole struct, with its padding."""
