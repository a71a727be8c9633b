"""How many clients each of several processes has, in memory that they share, so that none takes more than its part."""

from __future__ import annotations

import mmap

from sansio_pingora.limits import Limits
from sansio_pingora.listeners import AcceptPolicy

__all__ = ["SharedPolicy", "Tally", "lane_policy"]

_ABSENT = -1


class Tally:
    """Of one service, made before the fork: *workers* processes with *lanes* each. Nobody is there at first."""

    def __init__(self, workers: int, lanes: int) -> None:
        self.workers = workers
        self._lanes = lanes
        self._counts = memoryview(mmap.mmap(-1, 4 * workers * lanes)).cast("i")
        for at in range(len(self._counts)):
            self._counts[at] = _ABSENT

    def put(self, worker: int, lane: int, count: int) -> None:
        """So many clients has a lane."""
        self._counts[worker * self._lanes + lane] = count

    def leave(self, worker: int, lane: int | None = None) -> None:
        """A lane of a worker, or all of them, take no more."""
        for one in range(self._lanes) if lane is None else (lane,):
            self.put(worker, one, _ABSENT)

    def least_beside(self, worker: int, lane: int) -> int | None:
        """The fewest that another lane has; None where there is no other."""
        own = worker * self._lanes + lane
        return min((n for at, n in enumerate(self._counts) if n != _ABSENT and at != own), default=None)


class SharedPolicy(AcceptPolicy):
    """The policy of one lane among those that share a listening socket."""

    __slots__ = ("_lane", "_tally", "_worker")

    def __init__(
        self, tally: Tally, worker: int, lane: int, *, max_connections: int | None, accept_rate: float | None
    ) -> None:
        super().__init__(max_connections=max_connections, accept_rate=accept_rate)
        self._tally = tally
        self._worker = worker
        self._lane = lane
        if max_connections != 0:  # or the others would leave clients to one that takes none
            tally.put(worker, lane, 0)

    def look_around(self, now: float) -> None:
        """Before accepting: perhaps others go first."""
        self.give_way(self._tally.least_beside(self._worker, self._lane), now)

    def accepted(self, now: float) -> None:
        """See :class:`AcceptPolicy`."""
        super().accepted(now)
        self._tally.put(self._worker, self._lane, self.open)

    def closed(self, now: float) -> None:
        """See :class:`AcceptPolicy`."""
        super().closed(now)
        if not self._stopped:
            self._tally.put(self._worker, self._lane, self.open)

    def stop(self) -> None:
        """See :class:`AcceptPolicy`."""
        super().stop()
        self._tally.leave(self._worker, self._lane)


def lane_policy(limits: Limits, lane: int = 0, lanes: int = 1, place: tuple[Tally, int] | None = None) -> AcceptPolicy:
    """The policy of one lane of several, which share nothing: each gets its part of the ceilings.

    *place*: the tally of the service, and which worker this is. With fewer connections than lanes in all workers
    some have a part of none, and accept nobody.
    """
    if place is not None:
        tally, worker = place
        # Lane by lane through the workers, so that what is left over is spread among them.
        lane_of_all, lanes = lane * tally.workers + worker, lanes * tally.workers
    else:
        lane_of_all = lane
    most = limits.max_connections
    if most is not None:
        most = most // lanes + (1 if lane_of_all < most % lanes else 0)
    rate = None if limits.accept_rate is None else limits.accept_rate / lanes
    if place is None:
        return AcceptPolicy(max_connections=most, accept_rate=rate)
    return SharedPolicy(*place, lane, max_connections=most, accept_rate=rate)
