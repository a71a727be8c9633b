"""Work beside an application, on the first lane that serves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sansio_pingora.limits import Limits
from sansio_pingora.machine import Acceptor, Application, Endpoint, Lane
from sansio_pingora.transport import TransportInfo

__all__ = ["Background", "Beside"]


class Background(Protocol):
    """Something that works on a lane: a load balancer's checks, for one."""

    def start(self, lane: Lane, now: float) -> None:
        """Put machines on *lane*."""

    def stop(self, now: float) -> None:
        """Work no more; what is under way is given up."""


class Beside:
    """*application*, and each of *works* from the opening of its first lane to the draining of that."""

    def __init__(self, application: Application, works: Sequence[Background]) -> None:
        self.limits: Limits = application.limits
        self._application = application
        self._works = works
        self._started = False

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        self._application.check(runtime, can_await=can_await)

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """See :meth:`sansio_pingora.machine.Application.open`."""
        acceptor = self._application.open(lane, now, wall)
        if self._started:
            return acceptor
        self._started = True
        for work in self._works:
            work.start(lane, now)
        return _Stopping(acceptor, self._works)


class _Stopping:
    __slots__ = ("_acceptor", "_works")

    def __init__(self, acceptor: Acceptor, works: Sequence[Background]) -> None:
        self._acceptor = acceptor
        self._works = works

    def accept(self, info: TransportInfo, now: float) -> Endpoint:
        return self._acceptor.accept(info, now)

    def drain(self, now: float) -> None:
        for work in self._works:
            work.stop(now)
        self._acceptor.drain(now)

    def take_leave(self, now: float) -> None:
        self._acceptor.take_leave(now)
