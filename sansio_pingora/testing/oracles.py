"""What must hold in every world, whatever it speaks: each invariant a small class.

The numbers are those of the project's list of invariants; those about HTTP are in
:mod:`.http_oracles`. I-15, only declared exceptions leave the core, is watched by the
driver, and so is I-9's other half, that a lane settles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sansio_pingora.wire import Body, UpgradedBody

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.testing.driver import Driver, Socket
    from sansio_pingora.testing.world import World

__all__ = ["INVARIANTS", "BoundedMemory", "NoTimerlessWait", "Oracle", "Termination"]

INVARIANTS = tuple(f"I-{number}" for number in range(1, 16))
"""All of them. I-14, that a seed gives the same trace again, is for who runs seeds."""

SLACK = 65_536
PIECE = 100
"""Bytes of memory that a piece takes beside what it holds."""
FEW = 8


class Oracle:
    """A judge of a world: it looks, and calls ``world.broken`` when its invariant does not hold."""

    invariant = ""
    """The name of what it judges, ``I-9`` or one of your own: in reports, and in ``world.judged``."""
    also: tuple[str, ...] = ()
    """Others that it judges by the way."""
    every_step = False
    """Whether :meth:`settled` is to be called."""

    def judged(self, world: World, times: int = 1, invariant: str = "") -> None:
        """Count in ``world.judged`` what there was to judge; *invariant* where it is not this oracle's own."""
        world.judged[invariant or self.invariant] += times

    def settled(self, world: World, driver: Driver) -> None:
        """The machines of *driver* have done all that an input brings about; called if ``every_step``, very often."""

    def quiescent(self, world: World) -> None:
        """Nothing will happen any more: called at the end of ``world.settle()``."""


class BoundedMemory(Oracle):
    """I-8: what is held for a connection stays below its cap and 64 KiB, and so does the memory that it takes.

    Worlds are small, so a body that waits for an exchange is judged by its pieces: each takes :data:`PIECE` bytes
    of its own, which may be half of the body in all, beside :data:`FEW` pieces.
    """

    invariant = "I-8"
    every_step = True

    def __init__(self, limits: Limits) -> None:
        # Output, or input that waits, or a head that is not complete.
        self.cap = limits.high_water + max(limits.high_water, limits.max_head) + SLACK
        self._most = limits.high_water + 2 * SLACK
        # Of many streams: what their peer has no window for, and one piece each side of the ceiling.
        self.cap_http2 = limits.h2_send_buffer + limits.high_water + 4 * SLACK
        self._least_cap = min(self.cap, self.cap_http2)

    def settled(self, world: World, driver: Driver) -> None:
        """See :class:`Oracle`."""
        sockets = driver.sockets
        world.judged[self.invariant] += len(sockets)
        cap, most = self._least_cap, self._most
        for socket in sockets:
            connection: Any = socket.endpoint.connection
            held: int = getattr(connection, "held", 0)
            if held > cap:
                self._judge_held(world, socket, held)
            for exchange in getattr(socket.endpoint.receiver, "_exchanges", {}).values():
                self._judge_pieces(world, socket, exchange)
            end = socket.end
            if end._queued + end._flight > most:  # it is as much as that
                self._judge_backlog(world, socket)

    def _judge_held(self, world: World, socket: Socket, held: int) -> None:
        connection = socket.endpoint.connection
        cap = self.cap_http2 if connection.version == b"2" else self.cap
        if held > cap:
            world.broken(self.invariant, f"{socket.end.name}: {connection!r} holds {held} bytes, more than {cap}")

    def _judge_pieces(self, world: World, socket: Socket, exchange: Any) -> None:
        for name in ("request_pump", "response_pump"):
            line = getattr(getattr(exchange, name, None), "_inbox", None)
            if line and len(line) > FEW:
                sizes = [len(task.data) for task in line if isinstance(task, Body | UpgradedBody)]
                if PIECE * (len(sizes) - FEW) > sum(sizes) // 2:
                    world.broken(
                        self.invariant,
                        f"{socket.end.name}: {len(sizes)} pieces wait in a {name} where {sum(sizes)} bytes do",
                    )

    def _judge_backlog(self, world: World, socket: Socket) -> None:
        end = socket.end
        if end.backlog > end.profile.high + self._most:
            world.broken(
                self.invariant, f"{end.name}: {end.backlog} bytes wait in the transport: the writer was told to pause"
            )


class NoTimerlessWait(Oracle):
    """I-9: while anything is open, something has a deadline, or a filter runs."""

    invariant = "I-9"
    every_step = True

    def settled(self, world: World, driver: Driver) -> None:
        """See :class:`Oracle`."""
        if not driver.sockets:
            return
        world.judged[self.invariant] += 1
        if driver.lane.deadline == math.inf and not driver.filters:
            socket = next(iter(driver.sockets))
            world.broken(
                self.invariant, f"{socket.end.name}: {socket.endpoint.connection!r} waits, and nothing has a deadline"
            )


class Termination(Oracle):
    """I-10: when nothing will happen any more, nothing is alive."""

    invariant = "I-10"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for driver in world.drivers:
            self.judged(world)
            # A filter that never answers cannot be helped, and its exchange waits with it.
            forgotten = bool(driver.filters)
            for socket in driver.sockets if not forgotten else ():
                world.broken(self.invariant, f"{socket.end.name}: {socket.endpoint.connection!r} is open for ever")
            if driver.lane.endpoints and not forgotten:
                world.broken(
                    self.invariant,
                    f"{driver.name}: {len(driver.lane.endpoints)} endpoints are alive without a transport",
                )
            if driver.dials:
                _, attempt = next(iter(driver.dials.items()))
                world.broken(self.invariant, f"{driver.name}: the dial to {attempt.address} was never given up")
            if driver.lane.dirty:
                world.broken(self.invariant, f"{driver.name}: {driver.lane.dirty!r} still want attention")
            if driver.lane.deadline != math.inf:
                world.broken(self.invariant, f"{driver.name}: a deadline at {driver.lane.deadline} was not served")
