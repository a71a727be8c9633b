"""What must hold of our own machines in a world: their books balance, and cuts mean nothing to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing.feeding import feed
from sansio_pingora.testing.oracles import Oracle

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.testing.driver import Driver
    from sansio_pingora.testing.world import World

__all__ = ["CreditConserved", "SplitInvariance"]

_SMALLEST = 65_535
"""A connection's window before anything is said of it."""
_WITH_WINDOWS = (Http2Server, Http2Client)
_CONNECTIONS = 3
_MOST = 20_000


class CreditConserved(Oracle):
    """I-12: a byte of a window is the peer's, or waits for its reader, or to be announced: none is lost."""

    invariant = "I-12"
    every_step = True

    def __init__(self) -> None:
        self._machines: dict[Any, Any] = {}
        """By connection, what speaks HTTP/2 in it: that stays."""

    def settled(self, world: World, driver: Driver) -> None:
        """See :class:`Oracle`."""
        known = self._machines
        for socket in driver.sockets:
            machine: Any = socket.endpoint.connection
            if machine in known:
                machine = known[machine]
            elif machine.version == b"2":
                connection = machine
                while (inner := getattr(machine, "inner", None)) is not None:  # below layers
                    machine = inner
                if type(machine) not in _WITH_WINDOWS:
                    continue
                known[connection] = machine
            else:
                continue
            if machine._over:
                continue
            world.judged[self.invariant] += 1
            unread = sum([stream.unconsumed for stream in machine._streams.values()])
            balance = machine._recv_window + machine._returned + unread
            if balance != max(machine._window, _SMALLEST):
                world.broken(
                    self.invariant,
                    f"{socket.end.name}: of a window of {machine._window} bytes {machine._recv_window} are the peer's, "
                    f"{unread} wait for readers and {machine._returned} to be announced",
                )


class SplitInvariance(Oracle):
    """I-2: what clients of HTTP/1 sent means the same to a server in the pieces that it came in, and whole."""

    invariant = "I-2"

    def __init__(self, limits: Limits, driver: Driver) -> None:
        self._limits = limits
        self._heard: dict[str, list[bytes]] = {}
        driver.heard = self._heard

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for name, pieces in list(self._heard.items())[:_CONNECTIONS]:
            whole = b"".join(pieces)
            if len(whole) > _MOST or whole.startswith((b"PRI", b"\x16")):
                continue  # frames, which answers come between, and TLS
            self.judged(world)
            cut = feed(ServerConnection(now=0.0, limits=self._limits), pieces)
            uncut = feed(ServerConnection(now=0.0, limits=self._limits), [whole])
            if cut != uncut:
                world.broken(self.invariant, f"{name}: {pieces!r} is read as {cut!r}, and whole as {uncut!r}")
