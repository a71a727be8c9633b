"""What drives one lane, whatever its transports are made of.

A runtime supplies the hooks and calls :meth:`LaneRunner.settle` after every input,
:meth:`LaneRunner.fire` at :attr:`LaneRunner.deadline`, and looks at :attr:`LaneRunner.drained`
once it was told to stop.
"""

from __future__ import annotations

import logging
import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, assert_never

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.listeners import AcceptPolicy, LaneEnd
from sansio_pingora.machine import (
    Admit,
    CancelDial,
    Command,
    Coordinator,
    Dial,
    Endpoint,
    Lane,
    LogLine,
    Member,
    RunFilter,
    StopFilters,
)
from sansio_pingora.transport import Resolve, ResolveService, ServiceRecord, SocketAddr
from sansio_pingora_posix.addresses import resolve
from sansio_pingora_posix.faults import connect_error
from sansio_pingora_posix.logs import write_log
from sansio_pingora_posix.services import resolve_service

__all__ = ["LaneRunner", "call_error", "contain"]

_LOG = logging.getLogger("sansio_pingora")


def call_error(exc: BaseException) -> Error:
    """The error that stands for what a user's call raised."""
    if isinstance(exc, Error):
        return exc
    return Error(ErrorType.INTERNAL_ERROR, "a filter raised", cause=exc, esource=ErrorSource.INTERNAL)


def contain(member: Member, exc: Exception, now: float) -> None:
    """A machine or a callback broke down: log it, and end no more than the one transport."""
    _LOG.error("a bug stopped %s", type(member).__name__, exc_info=exc)
    if isinstance(member, Endpoint) and member.driver is not None:
        error = Error(ErrorType.INTERNAL_ERROR, "the connection broke down", cause=exc, esource=ErrorSource.INTERNAL)
        try:
            member.driver.fault(error, now)
        except Exception:  # what stands above it is broken as well; the transport is closed by now
            _LOG.exception("and what was above it did not take the news")


def _posted_failed(exc: Exception) -> None:
    _LOG.error("a call that was posted to the lane failed", exc_info=exc)


class LaneRunner(ABC):
    """One lane, its timers, its commands, and its end.

    The driver of an endpoint is any object with ``serve(now)``, which writes the output and obeys the
    flags, ``unsent()``, the bytes that the peer has not taken, and ``fault(error, now)``, which ends the
    transport at once and tells the endpoint why.
    """

    def __init__(self, policy: AcceptPolicy | None = None) -> None:
        self.lane = Lane()
        self.policy = AcceptPolicy() if policy is None else policy
        self.end = LaneEnd(self.lane, self.policy)

    # ── hooks of a runtime ───────────────────────────────────────────────────────────

    @abstractmethod
    def dial(self, owner: Coordinator, command: Dial, now: float) -> None:
        """Begin to connect; answer *owner* on the lane, at once or later."""

    @abstractmethod
    def cancel_dial(self, owner: Coordinator, token: int) -> None:
        """Give up the dial of *owner* with *token*; nothing when there is none."""

    @abstractmethod
    def run_filter(self, owner: Coordinator, command: RunFilter, now: float) -> None:
        """Run the call off the lane; answer *owner* on it."""

    @abstractmethod
    def stop_filters(self, owner: Coordinator) -> None:
        """Cancel what of *owner* runs off the lane, where that is possible."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether calls of filters are under way off the lane."""

    @abstractmethod
    def listen(self) -> None:
        """Watch the listening sockets if ``policy.accepting``, else do not; called whenever that may have changed."""

    # ── driving ──────────────────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        """When to call :meth:`fire`. May be early, never late."""
        return min(self.lane.deadline, self.policy.deadline, self.end.deadline)

    def settle(self, now: float) -> None:
        """Serve every member that has changed, until none is left."""
        lane = self.lane
        while members := lane.drain(now, contain):
            for member in members:
                try:
                    if isinstance(member, Endpoint):
                        driver = member.driver
                        if driver is not None:
                            driver.serve(now)
                    else:
                        for command in member.take_commands():
                            self.execute(member, command, now)
                except Exception as exc:
                    contain(member, exc, now)

    def fire(self, now: float) -> None:
        """Run everything whose time has come, and settle. Early calls are harmless."""
        for member in self.lane.due(now):
            try:
                if isinstance(member, Endpoint):
                    driver = member.driver
                    # The kernel is asked only where the answer is looked at.
                    if driver is not None and member.connection.stalled:
                        member.handle_timeout(now, driver.unsent())
                    else:
                        member.handle_timeout(now)
                else:
                    member.handle_timeout(now)
            except Exception as exc:
                contain(member, exc, now)
        if now >= self.policy.deadline:
            self.policy.handle_timeout(now)
            self.listen()
        self.settle(now)
        if now >= self.end.deadline and self._end_is_over(now):
            if self.lane.endpoints:
                _LOG.warning("the grace period is over: %d connections are aborted", len(self.lane.endpoints))
            self.abort(now)

    def run_posted(self, now: float) -> None:
        """Call what was posted to the lane, from wherever, and settle."""
        self.lane.run_posted(_posted_failed)
        self.settle(now)

    def resolve(self, address: SocketAddr) -> list[SocketAddr]:
        """Look a name up. Called where a call may block."""
        return resolve(address)

    def resolve_service(self, name: str, servers: tuple[SocketAddr, ...]) -> list[ServiceRecord]:
        """Look a service up. Called where a call may block."""
        return resolve_service(name, servers)

    def _look_up(self, address: SocketAddr) -> list[SocketAddr]:
        try:
            return self.resolve(address)
        except OSError as exc:
            raise connect_error(exc, address) from exc

    def execute(self, owner: Coordinator, command: Command, now: float) -> None:
        """Obey one command of *owner*."""
        match command:
            case RunFilter():
                self.run_filter(owner, command, now)
            case Dial():
                self.dial(owner, command, now)
            case CancelDial(token):
                self.cancel_dial(owner, token)
            case StopFilters():
                self.stop_filters(owner)
            case Resolve(token, address):
                self.run_filter(owner, RunFilter(token, partial(self._look_up, address)), now)
            case ResolveService(token, name, servers):
                self.run_filter(owner, RunFilter(token, partial(self.resolve_service, name, servers)), now)
            case LogLine():
                write_log(command)
            case Admit(transport, admitted):
                sock, enter = transport
                if admitted:
                    enter(now)
                else:
                    sock.close()
                    self.policy.closed(now)
                    self.listen()
            case _:
                assert_never(command)

    def admit(self, sock: socket.socket, peer: SocketAddr | None, enter: Callable[[float], None], now: float) -> None:
        """*enter* for a socket that was accepted, once the connection filter lets it in. Settle the lane afterwards."""
        self.lane.wall_offset = time() - now
        gate = self.end.gate
        if gate is None:
            enter(now)
        else:
            gate.ask(peer, (sock, enter), now)

    def answer(self, owner: Coordinator, token: int, value: Any, now: float) -> None:
        """Give *owner* the answer to a command: an :class:`Error` is a failure. Settle the lane afterwards."""
        try:
            if isinstance(value, Error):
                owner.fail(token, value, now)
            else:
                owner.resume(token, value, now)
        except Exception as exc:
            contain(owner, exc, now)

    # ── the end ──────────────────────────────────────────────────────────────────────

    def drain(self, grace_period: float, now: float, *, keep_idle: bool = False) -> None:
        """Accept no more and let what is under way finish, for *grace_period* seconds at most; harmless again.

        *keep_idle*: idle clients have until they speak or time out, instead of a few seconds.
        """
        try:
            self.end.drain(grace_period, now, contain, keep_idle=keep_idle)
        except Exception:
            _LOG.exception("the application failed to drain; its connections have until the end of the grace period")
        self.listen()
        self.settle(now)

    def _end_is_over(self, now: float) -> bool:
        try:
            return self.end.handle_timeout(now)
        except Exception:
            _LOG.exception("the application failed to take leave; its connections are aborted soon")
            return False
        finally:
            self.settle(now)

    def abort(self, now: float) -> None:
        """Accept no more and end every transport now."""
        self.end.abort(now, contain)
        self.listen()
        self.settle(now)
        for endpoint in list(self.lane.endpoints):
            if endpoint.driver is not None:  # its machine would not: then without it
                error = Error(ErrorType.CONNECTION_CLOSED, "aborted at the end", esource=ErrorSource.INTERNAL)
                endpoint.driver.fault(error, now)
        self.settle(now)

    @property
    def drained(self) -> bool:
        """Whether it was told to stop and neither a transport nor a filter under way is left."""
        return self.end.has_ended(busy=self.busy)

    def idle(self, now: float) -> bool:
        """Whether nothing can happen any more: no transport, and no member with a deadline. Settles the lane."""
        lane = self.lane
        if lane.endpoints:
            return False
        # The timers of a lane may outlive their deadlines; asking for all of them shows which are real.
        waiting = any(member.deadline != math.inf for member in lane.due(math.inf))
        self.settle(now)  # and arms them again
        return not waiting and not lane.endpoints
