"""The coordinator of one lane that makes, keeps and hands out upstream connections."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, assert_never

from sansio_pingora.deadlines import Deadlines
from sansio_pingora.connectors.dial_plan import DialPlan
from sansio_pingora.connectors.lease import Lease, UpstreamConnection, Waiter
from sansio_pingora.connectors.pool import ConnectionPool
from sansio_pingora.connectors.pool_commands import CloseConnection, Grant, PoolCommand, WaitTimedOut
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.machine import CancelDial, Command, Endpoint, Lane
from sansio_pingora.transport import TransportInfo

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["Connector"]


class _Kept:
    """One connection, and the receiver of its events while nobody has it leased."""

    __slots__ = ("connection", "connector", "endpoint", "idle")

    def __init__(self, connector: Connector, connection: UpstreamConnection) -> None:
        self.connector = connector
        self.connection = connection
        self.endpoint = Endpoint(connector.lane, connection, self)
        self.idle = False

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        # A server has nothing to say between two answers: an end, an error, or bytes that would
        # be read as the answer to the next request (response splitting). While it closes, all is old news.
        if self.idle:
            self.connector._lose(self, now)


class _Request:
    """Who asked, until answered. ``plan`` is None while it waits in the pool."""

    __slots__ = ("key", "peer", "plan", "token", "waiter")

    def __init__(self, peer: Peer, key: Hashable, waiter: Waiter, token: int) -> None:
        self.peer = peer
        self.key = key
        self.waiter = waiter
        self.token = token
        self.plan: DialPlan | None = None


class Connector:
    """Leases upstream connections on one lane. Keeps the contract of a coordinator.

    *new_connection* makes the client side of a connection to a peer, before it is dialled.
    *max_lifetime* (seconds) and *max_requests* bound every connection; a lease is never cut short.
    """

    __slots__ = (
        "_commands",
        "_deadlines",
        "_dials",
        "_limits",
        "_new_connection",
        "_obeying",
        "_pool",
        "_requests",
        "_token",
        "armed",
        "deadline",
        "lane",
        "listed",
    )

    def __init__(
        self,
        lane: Lane,
        limits: Limits,
        new_connection: Callable[[Peer, float], UpstreamConnection],
        *,
        max_lifetime: float | None = None,
        max_requests: int | None = None,
    ) -> None:
        self.lane = lane
        self.listed = False
        self.armed = math.inf
        self.deadline = math.inf
        """When to call :meth:`handle_timeout`. May be early, never late."""
        self._limits = limits
        self._new_connection = new_connection
        self._pool: ConnectionPool[_Kept, _Request] = ConnectionPool(
            size=limits.upstream_keepalive_pool_size,
            idle_timeout=limits.idle_timeout,
            max_per_peer=limits.max_per_peer,
            wait_timeout=limits.pool_wait_timeout,
            max_lifetime=max_lifetime,
            max_requests=max_requests,
        )
        # By identity: a waiter need not be hashable, and the request keeps it alive.
        self._requests: dict[tuple[int, int], _Request] = {}
        self._dials: dict[int, tuple[_Request, DialPlan, _Kept]] = {}
        self._deadlines: Deadlines[DialPlan] = Deadlines()
        self._token = 0
        self._commands: list[Command] = []
        self._obeying = False

    # ── what an exchange does ────────────────────────────────────────────────────────

    def acquire(self, peer: Peer, waiter: Waiter, token: int, now: float) -> Lease | None:
        """A stream to *peer* at once, or None: then ``waiter.resume(token, lease)`` or ``waiter.fail(token, error)``.

        :raises LocalProtocolError: *waiter* is waiting under *token* already.
        """
        key = peer.reuse_key
        pool = self._pool
        while (kept := pool.acquire(key, now)) is not None:
            kept.idle = False
            if kept.connection.closing:
                pool.discard(kept)
                continue
            if pool.has_commands:  # expired ones that stood before this one
                self._settle(now)
            return _lease(kept, peer, now, reused=True)
        if (id(waiter), token) in self._requests:
            raise LocalProtocolError(f"{waiter!r} is waiting under {token} already")
        request = _Request(peer, key, waiter, token)
        self._requests[id(waiter), token] = request
        if pool.reserve(key):
            self._dial(request, now)
        else:
            pool.wait(key, request, now)
        self._settle(now)
        return None

    def cancel(self, waiter: Waiter, token: int, now: float) -> None:
        """*waiter* wants no answer under *token* any more. Nothing happens when it has had it."""
        request = self._requests.pop((id(waiter), token), None)
        if request is None:
            return
        if request.plan is None:
            self._pool.cancel(request)
        else:
            self._give_up(request.plan, now)
        self._settle(now)

    def release(self, lease: Lease, now: float, *, reuse: bool) -> None:
        """The exchange is done with *lease*. ``reuse``: as far as it knows, another one may go on.

        A connection that is not reusable is closed, and cut where something is still under way on it.

        :raises LocalProtocolError: it was released before.
        """
        if lease.released:
            raise LocalProtocolError(f"{lease!r} is released already")
        lease.released = True
        kept: _Kept = lease.kept
        kept.endpoint.receiver = kept
        connection = kept.connection
        if reuse and connection.reusable and not connection.closing:
            kept.idle = True
            self._pool.release(kept, now, lease.peer.options.idle_timeout)
        else:
            self._pool.discard(kept)
            _close(connection, now)
        if self._pool.has_commands or self._pool.deadline < self.deadline:
            self._settle(now)

    def drain(self, now: float) -> None:
        """Close what is idle, and keep nothing from here on. Exchanges under way still get connections."""
        self._pool.drain()
        self._settle(now)

    # ── what the driver does ─────────────────────────────────────────────────────────

    def take_commands(self) -> list[Command]:
        """Every command given since the last call, in order."""
        commands = self._commands
        if commands:
            self._commands = []
        return commands

    def resume(self, token: int, value: TransportInfo, now: float) -> None:
        """The dial of *token* has connected."""
        dialled = self._dialled(token)
        if dialled is None:
            return
        request, _, kept = dialled
        kept.endpoint.info = value
        self._pool.establish(request.key, kept, now)
        if kept.connection.closing:
            self._pool.discard(kept)
            error = Error(ErrorType.CONNECTION_CLOSED, f"closed as soon as connected: {request.peer}").into_up()
            request.waiter.fail(request.token, error, now)
        else:
            request.waiter.resume(request.token, _lease(kept, request.peer, now, reused=False), now)
        self._settle(now)

    def fail(self, token: int, error: Error, now: float) -> None:
        """The dial of *token* has failed."""
        dialled = self._dialled(token)
        if dialled is None:
            return
        request, plan, _ = dialled
        self._pool.abandon(request.key)
        request.waiter.fail(request.token, plan.failed(error), now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Give up dials and waits that took too long, close what expired. Early or repeated calls are harmless."""
        self._pool.handle_timeout(now)
        for plan in self._deadlines.due(now):
            # A waiter that was told of the plan before may have cancelled this one.
            if (dialling := self._dials.get(plan.token)) is not None:
                request = dialling[0]
                del self._requests[id(request.waiter), request.token]
                self._give_up(plan, now)
                request.waiter.fail(request.token, plan.timed_out(), now)
        self._settle(now)

    # ── for people ───────────────────────────────────────────────────────────────────

    @property
    def idle(self) -> int:
        """Idle connections, over all peers."""
        return self._pool.idle

    @property
    def dialling(self) -> int:
        """Dials under way."""
        return len(self._dials)

    @property
    def waiting(self) -> int:
        """Exchanges that wait because of ``max_per_peer``."""
        return self._pool.waiting

    def connections(self, peer: Peer) -> int:
        """Connections to *peer*: leased, idle, and being dialled."""
        return self._pool.connections(peer.reuse_key)

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _dial(self, request: _Request, now: float) -> None:
        """Connect for *request*, which has room reserved."""
        self._token += 1
        plan = DialPlan(request.peer, self._limits, self._token, now)
        kept = _Kept(self, self._new_connection(request.peer, now))
        request.plan = plan
        self._dials[plan.token] = request, plan, kept
        self._deadlines.arm(plan)
        self._commands.append(plan.command(kept.endpoint))

    def _dialled(self, token: int) -> tuple[_Request, DialPlan, _Kept] | None:
        """The dial that was answered, now forgotten; None when the answer is late."""
        dialled = self._dials.pop(token, None)
        if dialled is not None:
            request, plan, _ = dialled
            self._deadlines.forget(plan)
            del self._requests[id(request.waiter), request.token]
        return dialled

    def _give_up(self, plan: DialPlan, now: float) -> None:
        """Stop a dial and pass its room on."""
        request, _, kept = self._dials.pop(plan.token)
        self._deadlines.forget(plan)
        self._commands.append(CancelDial(plan.token))
        # A driver that has connected already, and whose answer crosses the command, finds it closing.
        kept.connection.abort(now)
        self._pool.abandon(request.key)

    def _lose(self, kept: _Kept, now: float) -> None:
        """An idle connection spoke or died."""
        kept.idle = False
        self._pool.discard(kept)
        if not kept.connection.closing:
            kept.connection.abort(now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Carry out what the pool decided, then ask for attention if there is a need."""
        # Not from inside itself: waiters that give back at once what they get would nest as deep as
        # their number. What they cause is carried out by the call that is already at it.
        if not self._obeying and self._pool.has_commands:
            self._obeying = True
            try:
                while commands := self._pool.take_commands():
                    for command in commands:
                        self._obey(command, now)
            finally:
                self._obeying = False
        self.deadline = min(self._pool.deadline, self._deadlines.next)
        if self._commands or self.deadline < self.armed:
            self.lane.enlist(self)

    def _obey(self, command: PoolCommand[_Kept, _Request], now: float) -> None:
        match command:
            case CloseConnection(kept):
                kept.idle = False
                _close(kept.connection, now)
            case Grant(request, key, kept):
                self._granted(request, key, kept, now)
            case WaitTimedOut(request):
                if self._is_live(request):
                    del self._requests[id(request.waiter), request.token]
                    request.waiter.fail(request.token, self._waited(request), now)
            case _:
                assert_never(command)

    def _granted(self, request: _Request, key: Hashable, kept: _Kept | None, now: float) -> None:
        live = self._is_live(request)
        if kept is None:
            if live:
                self._dial(request, now)
            else:
                self._pool.abandon(key)
        elif live:
            del self._requests[id(request.waiter), request.token]
            kept.idle = False
            request.waiter.resume(request.token, _lease(kept, request.peer, now, reused=True), now)
        else:
            self._pool.release(kept, now, request.peer.options.idle_timeout)

    def _is_live(self, request: _Request) -> bool:
        """Whether it was not cancelled by a waiter that was answered just before it."""
        return self._requests.get((id(request.waiter), request.token)) is request

    def _waited(self, request: _Request) -> Error:
        limits = self._limits
        return Error(
            ErrorType.CONNECT_TIMEDOUT,
            f"pool-wait timeout of {limits.pool_wait_timeout:g} s: none of the max_per_peer={limits.max_per_peer} "
            f"connections became free: {request.peer}",
            esource=ErrorSource.UPSTREAM,
        )


def _lease(kept: _Kept, peer: Peer, now: float, *, reused: bool) -> Lease:
    stream_id = kept.connection.open_stream(now)
    assert stream_id is not None  # it is new, or was reusable and nothing has happened on it since
    return Lease(kept.endpoint, kept.connection, stream_id, peer, reused, kept)


def _close(connection: UpstreamConnection, now: float) -> None:
    """Close in good order where nothing is under way, else cut."""
    if connection.closing:
        return
    if connection.reusable:
        connection.drain(now)
    if not connection.closing:
        connection.abort(now)
