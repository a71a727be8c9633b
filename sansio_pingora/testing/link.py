"""Virtual byte transports: two ends, and between them latency, bandwidth, buffers, cuts and resets.

The way of a byte: ``write`` puts it into the sender's buffer; what of that exceeds the
kernel's part (``send_buffer``) is in user space, and marks there tell the writer to pause.
It flies when the receiver's window has room, lands in the receiver's inbox, and is handed
over when the owner reads. Nothing is lost or reordered, but for a reset: that loses what
is in flight and unsent, in both directions; what had landed can still be read.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from sansio_pingora._reprs import brief
from sansio_pingora.errors import Error, ErrorType

if TYPE_CHECKING:
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World
    from sansio_pingora.transport import SocketAddr

__all__ = ["End", "LinkProfile", "Owner"]

_LEAST = {"segment": 1, "cuts": 0, "read_size": 1, "send_buffer": 0, "receive_buffer": 1, "high": 0, "low": 0}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LinkProfile:
    """How a link behaves, in both directions. Sizes are bytes, times are seconds.

    :raises ValueError: a value is out of its range.
    """

    latency: float = 0.001
    """One way."""
    jitter: float = 0.0
    """Up to so much more for each segment; segments of one direction keep their order."""
    bandwidth: float = 1e9
    """Bytes per second."""
    segment: int = 65_536
    """The most that arrives at once."""
    cuts: int = 0
    """So many segments of each direction are cut at an arbitrary byte, often very small."""
    read_size: int = 65_536
    """The most that one read returns."""
    send_buffer: int = 65_536
    """The kernel's part of what is not delivered yet."""
    receive_buffer: int = 65_536
    """The receiver's window."""
    high: int = 65_536
    """User-space bytes above which a writer is told to pause; 0: when the kernel's part is full."""
    low: int = 16_384
    """User-space bytes at which it is told to go on."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            size = getattr(self, name)
            if not isinstance(size, int) or size < least:
                raise ValueError(f"{name} is {size!r}: it is a whole number, and {least} at least")
        for name in ("latency", "jitter"):
            if not 0 <= (seconds := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} is {seconds!r}: it is a number of seconds, 0 or more, and finite")
        if not self.bandwidth > 0:
            raise ValueError(
                f"bandwidth is {self.bandwidth!r} bytes a second: it is above 0; a stall is a Fault('stall')"
            )

    def __repr__(self) -> str:
        return brief(self)


class Owner(Protocol):
    """What stands behind an end: a driver's socket, or a scripted peer. Called by the world, never from a machine."""

    def received(self, data: bytes) -> None:
        """Bytes were read; never ``b""``."""

    def ended(self) -> None:
        """The other side shut its write side, and everything before that was read."""

    def lost(self, error: Error) -> None:
        """The link was reset."""

    def progressed(self) -> None:
        """The other side took bytes that were waiting."""


class _Nobody:
    """The owner of an end that was closed or is not accepted yet."""

    def received(self, data: bytes) -> None:
        raise AssertionError("nobody reads here")

    def ended(self) -> None:
        """Nobody cares."""

    def lost(self, error: Error) -> None:
        """Nobody cares."""

    def progressed(self) -> None:
        """Nobody cares."""


NOBODY = _Nobody()


class End:
    """One side of a link."""

    __slots__ = (
        "_at",
        "_cuts",
        "_eof_told",
        "_fin",
        "_flight",
        "_free",
        "_got_fin",
        "_inbox",
        "_inbox_size",
        "_last",
        "_loss_due",
        "_queue",
        "_queued",
        "_read_due",
        "_rng",
        "_world",
        "address",
        "audit",
        "closed",
        "dead",
        "name",
        "other",
        "owner",
        "profile",
        "reading",
        "total_read",
        "total_written",
    )

    other: End
    truncates = False
    """Its end is no end of what it sends: see :class:`.tls_peers.TlsEnd`."""

    def __init__(self, world: World, name: str, address: SocketAddr, profile: LinkProfile, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.name = name
        self.address = address
        self.profile = profile
        self.owner: Owner = NOBODY
        self.reading = False
        self.closed = False
        """Our side is done with it, in both directions."""
        self.dead = False
        """Reset, by either side."""
        self.total_read = 0
        self.total_written = 0
        self.audit: list[tuple[int, int, bytes]] | None = None
        """For oracles: of each write, the bytes written before it, the bytes read before it, and its bytes."""
        self._queue: deque[bytes] = deque()
        self._at = 0  # so much of its first piece has been sent
        self._queued = 0
        self._flight = 0
        self._inbox: list[bytes] = []
        self._inbox_size = 0
        self._cuts = profile.cuts
        self._free = 0.0  # when the line has carried everything sent so far
        self._last = 0.0  # when the last of it lands
        self._fin = False
        self._got_fin = False
        self._eof_told = False
        self._loss_due = False
        self._read_due = False

    # ── what an owner does ───────────────────────────────────────────────────────────

    @property
    def unsent(self) -> int:
        """Bytes written that have not landed at the other side."""
        return self._queued + self._flight

    @property
    def backlog(self) -> int:
        """Of these, those in user space: the kernel has not taken them."""
        over = self._queued + self._flight - self.profile.send_buffer
        return over if over > 0 else 0

    @property
    def unread(self) -> int:
        """Bytes that landed here and were not read."""
        return self._inbox_size

    def write(self, data: bytes) -> None:
        """Send *data*; nothing, when it is empty."""
        if not data:
            return
        if isinstance(data, str):  # type: ignore[unreachable]  # parties of one's own need not be type-checked
            raise TypeError(f"{self.name}: a link carries bytes, not text: {data[:40]!r}")
        if self._fin and not self.dead:
            raise AssertionError(f"{self.name}: written after its write side was shut")
        if self.audit is not None:
            self.audit.append((self.total_written, self.total_read, data))
        self.total_written += len(data)
        if self.dead:
            self._lose()
            return
        self._queue.append(data)
        self._queued += len(data)
        self._pump()

    def shut(self) -> None:
        """Send FIN behind everything written; go on reading."""
        if not self._fin and not self.dead:
            self._fin = True
            if not self._queue:
                self._send_fin()

    def close(self) -> None:
        """Give the end up: the kernel delivers what it has, then FIN. As TCP has it, unread bytes make it a reset."""
        if self.closed:
            return
        if self._inbox_size:
            self.abort()
            return
        self.closed = True
        self.owner = NOBODY
        self.reading = False
        self._world.note(self.name, "close", 0)
        self.shut()

    def abort(self) -> None:
        """Reset the link: what is unsent or in flight is lost, in both directions."""
        if self.closed and self.dead:
            return
        self.closed = True
        self.owner = NOBODY
        self.reading = False
        self._reset_other()

    def set_reading(self, flag: bool) -> None:
        """Start or stop reading."""
        if flag is self.reading or self.closed:
            return
        self.reading = flag
        if flag and (self._inbox or self._got_fin or self.dead):
            self._read_soon()

    # ── the sender's half ────────────────────────────────────────────────────────────

    def _pump(self) -> None:
        profile = self.profile
        other = self.other
        world = self._world
        now = world.now
        largest = profile.segment
        while queued := self._queued:
            size = profile.receive_buffer - other._inbox_size - self._flight
            if size <= 0:
                return  # the receiver's read pumps again
            if size > queued:
                size = queued
            if size > largest:
                size = largest
            if self._cuts > 0 and size > 1:
                self._cuts -= 1
                size = 1 + self._rng.below(size if self._rng.below(3) else min(size - 1, 8))
            segment = self._take(size)
            self._flight += size
            free = self._free
            self._free = free = (free if free > now else now) + size / profile.bandwidth
            world.at(self._landing(free), other._land, segment)
        if self._fin:
            self._send_fin()

    def _take(self, size: int) -> bytes:
        self._queued -= size
        queue = self._queue
        parts = []
        while True:
            first = queue[0]
            at = self._at
            end = at + size
            if end < len(first):
                self._at = end
                parts.append(first[at:end])
                break
            self._at = 0
            queue.popleft()
            parts.append(first[at:])
            size = end - len(first)
            if not size:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _landing(self, sent: float) -> float:
        profile = self.profile
        world = self._world
        lands = sent + profile.latency
        if profile.jitter:
            lands += self._rng.uniform(0.0, profile.jitter)
            if world.snaps:
                lands = world.snap(lands, self.other)
        if lands < self._last:
            lands = self._last
        self._last = lands
        if lands >= world.latest:
            world.latest = lands
        else:
            world.faults.counts["reordered"] += 1
        return lands

    def _send_fin(self) -> None:
        world = self._world
        world.at(self._landing(self._free if self._free > world.now else world.now), self.other._land_fin, None)

    def _landed_some(self, size: int) -> None:
        self._flight -= size
        if self._queued:
            self._pump()
        self.owner.progressed()

    # ── the receiver's half ──────────────────────────────────────────────────────────

    def _land(self, segment: bytes) -> None:
        if self.dead:
            return
        if self.closed:  # TCP answers data for a closed socket with a reset
            self._reset_other()
            return
        size = len(segment)
        self._inbox.append(segment)
        self._inbox_size += size
        if self.reading and not self._read_due:
            self._read(None)
        self.other._landed_some(size)

    def _land_fin(self, _: None) -> None:
        if self.dead:
            return
        self._got_fin = True
        if self.reading and not self._inbox:
            self._read(None)

    def _land_reset(self, _: None) -> None:
        if self.dead:
            return
        self.dead = True
        waits = self.backlog > 0
        self._queue.clear()
        self._at = self._queued = self._flight = 0
        # A socket that is neither read nor written does not notice: no runtime polls it.
        if self.reading or waits:
            self._lose()

    def _reset_other(self) -> None:
        """Send RST. Half of them overtake what is in flight before them, which is lost then."""
        if self.dead:
            return
        world = self._world
        self.dead = True
        self._queue.clear()
        self._at = self._queued = self._flight = 0
        self._inbox.clear()
        self._inbox_size = 0
        lands = world.now + self.profile.latency
        if self._rng.below(2) and lands < self._last:
            lands = self._last
        world.note(self.name, "reset", 0)
        world.at(lands, self.other._land_reset, None)

    def _lose(self) -> None:
        if not self._loss_due and not self.closed:
            self._loss_due = True
            self._read_soon()

    def _read_soon(self) -> None:
        if not self._read_due:
            self._read_due = True
            self._world.at(self._world.now, self._read, None)

    def _read(self, _: None) -> None:
        self._read_due = False
        if self.closed:
            return
        world = self._world
        if self.reading and self._inbox:
            inbox = self._inbox
            data = inbox[0] if len(inbox) == 1 else b"".join(inbox)
            inbox.clear()
            if len(data) > self.profile.read_size:
                world.faults.counts["short read"] += 1
                inbox.append(data[self.profile.read_size :])
                data = data[: self.profile.read_size]
            size = len(data)
            self._inbox_size -= size
            self.total_read += size
            world.trace.append((world.now, self.name, "read", crc32(data, size)))
            if inbox or self._got_fin or self.dead:
                self._read_soon()
            self.owner.received(data)
            if self.other._queued and not self.dead:
                self.other._pump()
        elif self.dead:
            if self.reading or self._loss_due:
                world.note(self.name, "lost", 0)
                owner, self.owner = self.owner, NOBODY
                self.closed = True
                owner.lost(
                    Error(ErrorType.READ_ERROR if self.reading else ErrorType.WRITE_ERROR, "connection reset by peer")
                )
        elif self.reading and self._got_fin and not self._eof_told:
            self._eof_told = True
            world.note(self.name, "eof", 0)
            self.owner.ended()


def link(near: End, far: End) -> None:
    """Join two ends."""
    near.other = far
    far.other = near
