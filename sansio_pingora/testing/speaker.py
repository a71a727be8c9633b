"""How scripted peers write: labelled messages in order, cut and delayed where asked, perhaps stopped in the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error
from sansio_pingora.testing.faults import at_part
from sansio_pingora.testing.link import End
from sansio_pingora.testing.messages import Labelled

if TYPE_CHECKING:
    from sansio_pingora.testing.world import World

__all__ = ["Raw", "Speaker"]


class _Job:
    __slots__ = ("at", "message", "pauses", "stop", "then")

    def __init__(
        self,
        message: Labelled,
        pauses: Sequence[tuple[int, float]],
        stop: tuple[int, str] | None,
        then: Callable[[], None] | None,
    ) -> None:
        self.message = message
        self.pauses = deque(sorted(pauses))
        self.stop = stop
        self.then = then
        self.at = 0


class Speaker:
    """Writes to *end* as *side*, ``client`` or ``origin``: the faults that it makes are counted as that side's."""

    __slots__ = ("_jobs", "_turn", "_waiting", "end", "side", "stopped", "world")

    def __init__(self, world: World, end: End, side: str) -> None:
        self.world = world
        self.end = end
        self.side = side
        self.stopped = False
        """It stopped where it was told to, and says nothing more."""
        self._jobs: deque[_Job] = deque()
        self._waiting = False
        self._turn = 0

    def say(
        self,
        message: Labelled,
        *,
        pauses: Sequence[tuple[int, float]] = (),
        stop: tuple[int, str] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Write *message* behind what is being written.

        *pauses*: offsets before which it waits, and for how long. *stop*: an offset, and what
        happens there: ``stall``, ``reset``, ``half-close`` or ``close``. *then*: called when all is written.
        """
        self._jobs.append(_Job(message, pauses, stop, then))
        if len(self._jobs) == 1 and not self._waiting:
            self._go_on()

    @property
    def silent(self) -> bool:
        """Everything has been written."""
        return not self._jobs

    def hurry(self) -> None:
        """End the pause under way."""
        if self._waiting:
            self._turn += 1
            self._waiting = False
            self._go_on()

    def _go_on(self) -> None:
        end = self.end
        while self._jobs and not self.stopped:
            if end.closed or end.dead:
                self.stopped = True
                return
            job = self._jobs[0]
            size = len(job.message)
            until = job.pauses[0][0] if job.pauses else size
            if job.stop is not None and job.stop[0] <= until:
                until = job.stop[0]
            if until > job.at:
                end.write(job.message.raw[job.at : until])
                job.at = until
            if job.stop is not None and job.stop[0] == job.at:
                self._stop(job, job.stop[1])
                return
            if job.pauses and job.pauses[0][0] <= job.at:
                at, delay = job.pauses.popleft()
                if 0 < at < size:
                    self.world.faults.count(at_part("split", self.side, job.message.part_at(at)))
                self._waiting = True
                self.world.after(delay, self._resume, self._turn)
                return
            self._jobs.popleft()
            if job.then is not None:
                job.then()

    def _resume(self, turn: int) -> None:
        if turn == self._turn:
            self._turn += 1
            self._waiting = False
            self._go_on()

    def _stop(self, job: _Job, how: str) -> None:
        self.stopped = True
        self._jobs.clear()
        faults = self.world.faults
        part = job.message.part_at(job.at)
        if how == "reset":
            faults.count(at_part("reset", self.side, part))
            self.end.abort()
        elif how == "half-close":
            faults.count(at_part("half-close", self.side, part))
            self.end.shut()
        elif how == "close":
            self.end.close()
        else:
            faults.count(f"{self.side} stalls")


class Raw:
    """The simplest peer: sends *script* (bytes, and pauses as seconds) and keeps what it receives.

    As a client, give it to ``world.client``; as an origin for one connection, to ``world.listen``.

    :raises TypeError: a step of the script is neither.
    :raises ValueError: a pause is below 0.
    """

    def __init__(self, world: World, *script: bytes | float, name: str = "raw", shut: bool = False) -> None:
        for step in script:
            if not isinstance(step, bytes | int | float):
                raise TypeError(f"a step of Raw is bytes to send, or a pause in seconds, not {step!r}")
            if not isinstance(step, bytes) and not step >= 0:
                raise ValueError(f"a pause of Raw is 0 seconds or more, not {step!r}")
        self.world = world
        self.name = name
        self.end: End | None = None
        self.data = b""
        """Everything received."""
        self.eof = False
        self.error: Error | None = None
        """Why the link was lost, or never made."""
        self._script = deque(script)
        self._shut = shut

    def accept(self, end: End) -> None:
        """A link came in."""
        self.connected(end)

    def connected(self, end: End) -> None:
        """The link is there."""
        self.end = end
        end.owner = self
        end.set_reading(True)
        self._go_on(None)

    def _go_on(self, _: None) -> None:
        end = self.end
        if end is None or end.closed or end.dead:
            return
        while self._script:
            step = self._script.popleft()
            if not isinstance(step, bytes):
                self.world.after(step, self._go_on)
                return
            end.write(step)
        if self._shut:
            end.shut()

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self.error = error

    def received(self, data: bytes) -> None:
        """Bytes came."""
        self.data += data

    def ended(self) -> None:
        """The other side has shut its write side; so does this one."""
        self.eof = True
        if self.end is not None and not self._script:
            self.end.shut()

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self.error = error

    def progressed(self) -> None:
        """Nothing waits for it."""
