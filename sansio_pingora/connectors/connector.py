"""The coordinator of one lane that makes, keeps and hands out upstream connections."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, assert_never

from sansio_pingora.connectors.dial_plan import DialPlan
from sansio_pingora.connectors.lease import Lease, UpstreamConnection, Waiter
from sansio_pingora.connectors.pool import ConnectionPool
from sansio_pingora.connectors.pool_commands import CloseConnection, Grant, PoolCommand, WaitTimedOut
from sansio_pingora.connectors.sharing import Dialling, FreeStreams, Kept, Request
from sansio_pingora.deadlines import Deadlines
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.machine import CancelDial, Command, Lane
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import Failed

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["Connector"]


_GIVEN_UP = Failed(Error(ErrorType.CONNECTION_CLOSED, "the exchange needs it no more").into_in())


class Connector:
    """Leases upstream connections on one lane. Keeps the contract of a coordinator.

    *new_connection* makes the client side of a connection to a peer, before it is dialled.
    *max_lifetime* (seconds) and *max_requests* bound every connection; a lease is never cut short.
    """

    __slots__ = (
        "_commands",
        "_deadlines",
        "_dials",
        "_free",
        "_joinable",
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
        self._pool: ConnectionPool[Kept, Request] = ConnectionPool(
            size=limits.upstream_keepalive_pool_size,
            idle_timeout=limits.idle_timeout,
            max_per_peer=limits.max_per_peer,
            wait_timeout=limits.pool_wait_timeout,
            max_lifetime=max_lifetime,
            max_requests=max_requests,
        )
        # By identity: a waiter need not be hashable, and the request keeps it alive.
        self._requests: dict[tuple[int, int], Request] = {}
        self._dials: dict[int, Dialling] = {}
        self._joinable: dict[Hashable, Dialling] = {}  # dials that more requests may wait for
        self._free: dict[Hashable, dict[Kept, None]] = {}  # leased connections that have a stream left
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
        if self._free and (lease := self._share(key, peer, now)) is not None:
            return lease
        while (kept := pool.acquire(key, now)) is not None:
            kept.idle = False
            if kept.connection.closing or (kept.receivers is not None and not kept.connection.reusable):
                pool.discard(kept)
                _close(kept.connection, now)
                continue
            if pool.has_commands:  # expired ones that stood before this one
                self._settle(now)
            return self._lease(kept, peer, now, reused=True)
        if (id(waiter), token) in self._requests:
            raise LocalProtocolError(f"{waiter!r} is waiting under {token} already")
        self._seek(Request(peer, key, waiter, token), now)
        self._settle(now)
        return None

    def _share(self, key: Hashable, peer: Peer, now: float) -> Lease | None:
        """A stream of a connection that others use already."""
        free = self._free.get(key)
        while free:
            kept = next(iter(free))
            if kept.connection.reusable:
                return self._lease(kept, peer, now, reused=True)
            self._no_stream_left(kept)  # the peer goes, or allows fewer streams than it did
        return None

    def _seek(self, request: Request, now: float) -> None:
        """A connection for *request* is to come: from a dial under way or of its own, or from who gives one back."""
        key = request.key
        self._requests[id(request.waiter), request.token] = request
        if (dialling := self._joinable.get(key)) is not None:
            self._join(request, dialling)
        elif self._pool.reserve(key):
            self._dial(request, now)
        else:
            self._pool.wait(key, request, now)

    def cancel(self, waiter: Waiter, token: int, now: float) -> None:
        """*waiter* wants no answer under *token* any more. Nothing happens when it has had it."""
        request = self._requests.pop((id(waiter), token), None)
        if request is None:
            return
        if request.plan is None:
            self._pool.cancel(request)
        elif (dialling := self._dials.get(request.plan.token)) is not None:
            dialling.requests.pop(request, None)
            if not dialling.requests:
                self._give_up(dialling, now)
        self._settle(now)

    def release(self, lease: Lease, now: float, *, reuse: bool) -> None:
        """The exchange is done with *lease*. ``reuse``: as far as it knows, another one may go on.

        A connection that is not reusable is closed, and cut where something is still under way on it.

        :raises LocalProtocolError: it was released before.
        """
        if lease.released:
            raise LocalProtocolError(f"{lease!r} is released already")
        lease.released = True
        kept: Kept = lease.kept
        connection = kept.connection
        if kept.receivers is not None:
            self._release_stream(kept, lease, now)
            return
        kept.endpoint.receiver = kept
        if reuse and connection.reusable and not connection.closing:
            kept.idle = True
            self._pool.release(kept, now, lease.peer.options.idle_timeout)
        else:
            self._pool.discard(kept)
            _close(connection, now)
        if self._pool.has_commands or self._pool.deadline < self.deadline:
            self._settle(now)

    def _release_stream(self, kept: Kept, lease: Lease, now: float) -> None:
        """The exchange is done with one stream of a connection, whatever its state."""
        receivers = kept.receivers
        assert receivers is not None
        del receivers[lease.stream_id]
        connection = kept.connection
        if not connection.closing:
            # Where the exchange is complete both ways, the stream is closed already and this says nothing.
            connection.send(lease.stream_id, Failed(_given_up()), now)
        if receivers:
            if connection.reusable:
                self._has_stream(kept, now)
        else:
            self._no_stream_left(kept)
            if connection.reusable and not connection.closing:
                kept.idle = True
                self._pool.release(kept, now, lease.peer.options.idle_timeout)
            else:
                self._pool.discard(kept)
                _close(connection, now)
        if self._pool.has_commands or self._pool.deadline < self.deadline:
            self._settle(now)

    def _has_stream(self, kept: Kept, now: float) -> None:
        """*kept*, which is leased, has a stream left: for who waits longest, or comes next."""
        while kept.connection.reusable and (request := self._pool.take_waiter(kept.key)) is not None:
            if self._is_live(request):
                del self._requests[id(request.waiter), request.token]
                request.waiter.resume(request.token, self._lease(kept, request.peer, now, reused=True), now)
        if kept.receivers and kept.connection.reusable:
            self._free.setdefault(kept.key, {})[kept] = None

    def _no_stream_left(self, kept: Kept) -> None:
        free = self._free.get(kept.key)
        if free is not None and kept in free:
            del free[kept]
            if not free:
                del self._free[kept.key]

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
        dialling = self._dialled(token)
        if dialling is None:
            return
        kept = dialling.kept
        kept.endpoint.info = value
        self._pool.establish(kept.key, kept, now)
        if kept.connection.closing:
            self._pool.discard(kept)
            for request in dialling.requests:
                error = Error(ErrorType.CONNECTION_CLOSED, f"closed as soon as connected: {request.peer}").into_up()
                self._answer(request, error, now)
        elif kept.receivers is None:
            request = next(iter(dialling.requests))
            del self._requests[id(request.waiter), request.token]
            request.waiter.resume(request.token, self._lease(kept, request.peer, now, reused=False), now)
        else:
            self._hand_out(kept, dialling, now)
        self._settle(now)

    def _hand_out(self, kept: Kept, dialling: Dialling, now: float) -> None:
        """A connection of many streams has come: one for each who waits for it, as far as they go."""
        served = False
        for request in dialling.requests:
            if not self._is_live(request):
                continue  # cancelled by one that was answered just before it
            del self._requests[id(request.waiter), request.token]
            if kept.connection.reusable:
                lease = self._lease(kept, request.peer, now, reused=served)
                served = True
                request.waiter.resume(request.token, lease, now)
            else:
                self._seek(request, now)
        if kept.receivers:
            self._has_stream(kept, now)
        elif not served:
            self._pool.discard(kept)
            _close(kept.connection, now)

    def fail(self, token: int, error: Error, now: float) -> None:
        """The dial of *token* has failed."""
        dialling = self._dialled(token)
        if dialling is None:
            return
        self._pool.abandon(dialling.kept.key)
        failure = dialling.plan.failed(error)
        for request in dialling.requests:
            self._answer(request, failure, now)
        self._settle(now)

    def _answer(self, request: Request, error: Error, now: float) -> None:
        """Tell who asked that there is no connection, unless it was cancelled by one told just before it."""
        if self._is_live(request):
            del self._requests[id(request.waiter), request.token]
            request.waiter.fail(request.token, error, now)

    def handle_timeout(self, now: float) -> None:
        """Give up dials and waits that took too long, close what expired. Early or repeated calls are harmless."""
        self._pool.handle_timeout(now)
        for plan in self._deadlines.due(now):
            # A waiter that was told of the plan before may have cancelled this one.
            if (dialling := self._dials.get(plan.token)) is not None:
                self._give_up(dialling, now)
                for request in dialling.requests:
                    self._answer(request, plan.timed_out(), now)
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

    def _dial(self, request: Request, now: float) -> None:
        """Connect for *request*, which has room reserved."""
        self._token += 1
        plan = DialPlan(request.peer, self._limits, self._token, now)
        kept = Kept(self, request.key, self._new_connection(request.peer, now))
        request.plan = plan
        dialling = self._dials[plan.token] = Dialling(request, plan, kept)
        if kept.receivers is not None and request.peer.options.max_h2_streams > 1:
            self._joinable[request.key] = dialling
        self._deadlines.arm(plan)
        self._commands.append(plan.command(kept.endpoint))

    def _join(self, request: Request, dialling: Dialling) -> None:
        """Wait for a dial that is under way already."""
        request.plan = dialling.plan
        dialling.requests[request] = None
        if len(dialling.requests) >= request.peer.options.max_h2_streams:
            del self._joinable[request.key]

    def _dialled(self, token: int) -> Dialling | None:
        """The dial that was answered, now forgotten; None when the answer is late."""
        dialling = self._dials.pop(token, None)
        if dialling is not None:
            self._forget_dial(dialling)
        return dialling

    def _forget_dial(self, dialling: Dialling) -> None:
        self._deadlines.forget(dialling.plan)
        if self._joinable.get(dialling.kept.key) is dialling:
            del self._joinable[dialling.kept.key]

    def _give_up(self, dialling: Dialling, now: float) -> None:
        """Stop a dial and pass its room on."""
        del self._dials[dialling.plan.token]
        self._forget_dial(dialling)
        self._commands.append(CancelDial(dialling.plan.token))
        # A driver that has connected already, and whose answer crosses the command, finds it closing.
        dialling.kept.connection.abort(now)
        self._pool.abandon(dialling.kept.key)

    def _lose(self, kept: Kept, now: float) -> None:
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

    def _obey(self, command: PoolCommand[Kept, Request], now: float) -> None:
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

    def _granted(self, request: Request, key: Hashable, kept: Kept | None, now: float) -> None:
        live = self._is_live(request)
        if kept is None:
            if live:
                self._dial(request, now)
            else:
                self._pool.abandon(key)
        elif live:
            del self._requests[id(request.waiter), request.token]
            kept.idle = False
            self._resume_with(request, kept, now)
        else:
            self._pool.release(kept, now, request.peer.options.idle_timeout)

    def _is_live(self, request: Request) -> bool:
        """Whether it was not cancelled by a waiter that was answered just before it."""
        return self._requests.get((id(request.waiter), request.token)) is request

    def _resume_with(self, request: Request, kept: Kept, now: float) -> None:
        """An idle connection has come to *request*."""
        if kept.receivers is not None and not kept.connection.reusable:  # the peer allows no stream at all now
            self._pool.discard(kept)
            _close(kept.connection, now)
            self._seek(request, now)
            return
        request.waiter.resume(request.token, self._lease(kept, request.peer, now, reused=True), now)
        if kept.receivers:
            self._has_stream(kept, now)

    def _lease(self, kept: Kept, peer: Peer, now: float, *, reused: bool) -> Lease:
        connection = kept.connection
        stream_id = connection.open_stream(now)
        assert stream_id is not None  # it is new, or was reusable and nothing has happened on it since
        if kept.receivers is not None:
            kept.receivers[stream_id] = None
            if not connection.reusable:
                self._no_stream_left(kept)
            elif len(kept.receivers) == 1 and reused:  # from idle
                self._free.setdefault(kept.key, {})[kept] = None
        return Lease(kept.endpoint, connection, stream_id, peer, reused, kept)

    def _waited(self, request: Request) -> Error:
        limits = self._limits
        return Error(
            ErrorType.CONNECT_TIMEDOUT,
            f"pool-wait timeout of {limits.pool_wait_timeout:g} s: none of the max_per_peer={limits.max_per_peer} "
            f"connections became free: {request.peer}",
            esource=ErrorSource.UPSTREAM,
        )


def _given_up() -> Error:
    return Error(ErrorType.CONNECTION_CLOSED, "the exchange needs it no more").into_in()


def _close(connection: UpstreamConnection, now: float) -> None:
    """Close in good order where nothing is under way, else cut."""
    if connection.closing:
        return
    if connection.reusable:
        connection.drain(now)
    else:
        connection.abort(now)
