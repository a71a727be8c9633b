"""The ring of nginx's ``hash ... consistent``: a backend that comes or goes moves the fewest keys."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from zlib import crc32

from sansio_pingora.balancing.backend import Backend

__all__ = ["MAX_RING_WEIGHT", "POINTS_PER_WEIGHT", "Continuum"]

POINTS_PER_WEIGHT = 160
"""nginx's and Pingora's figure."""
MAX_RING_WEIGHT = 8_192
"""All weights of a ring together: 1.3 million points, 8 MiB, a second to make."""


class Continuum:
    """Backends on a ring of 32-bit hashes.

    An IPv6 address is hashed without its brackets, as Pingora does it, and not with them, as nginx does.

    :raises ValueError: the weights are more than :data:`MAX_RING_WEIGHT` together.
    """

    __slots__ = ("_backends", "_hashes", "_owners")

    def __init__(self, backends: Sequence[Backend]) -> None:
        total = sum(backend.weight for backend in backends)
        if total > MAX_RING_WEIGHT:
            raise ValueError(
                f"weights of {total} together are too many for a ring, which takes {MAX_RING_WEIGHT}: divide them"
            )
        points: dict[int, int] = {}
        for index, backend in enumerate(backends):
            addr = backend.addr
            port = b"" if addr.path is not None else b"%d" % addr.port
            base = crc32(b"%b\0%b" % (backend.host.encode(), port))
            point = 0
            for _ in range(backend.weight * POINTS_PER_WEIGHT):
                point = crc32(point.to_bytes(4, "little"), base)
                points.setdefault(point, index)  # of two that meet, the first backend has it
        order = sorted(points)
        self._backends = backends
        self._hashes = array("I", order)
        self._owners = array("I", [points[point] for point in order])

    def __len__(self) -> int:
        return len(self._hashes)

    def node(self, key: bytes) -> Backend | None:
        """The backend of *key*; None where there is none at all."""
        return next(self.iter(key), None)

    def iter(self, key: bytes) -> Iterator[Backend]:
        """The owners of the points from *key* on, round and round: each backend many times."""
        owners, backends = self._owners, self._backends
        if not owners:
            return
        at = bisect_left(self._hashes, crc32(key))
        size = len(owners)
        while True:
            if at >= size:
                at = 0
            yield backends[owners[at]]
            at += 1
