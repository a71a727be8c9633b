"""The coordinator of one lane that makes, keeps and hands out upstream connections."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from sansio_pingora.connectors.dial_plan import DialPlan, waited_in_vain
from sansio_pingora.connectors.lease import Lease, Waiter
from sansio_pingora.connectors.making import Making, NewConnection, NewLayers
from sansio_pingora.connectors.pool import ConnectionPool
from sansio_pingora.connectors.pool_commands import CloseConnection, Grant, PoolCommand, WaitTimedOut
from sansio_pingora.connectors.sharing import Dialling, FreeStreams, Kept, Request
from sansio_pingora.deadlines import Deadlines
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.layers import pending_layer
from sansio_pingora.machine import CancelDial, Command, ConnectionClosed, Established, Lane
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import Failed

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["Connector"]


_GIVEN_UP = Failed(Error(ErrorType.CONNECTION_CLOSED, "the exchange needs it no more").into_in())


class Connector:
    """Leases upstream connections on one lane. Keeps the contract of a coordinator.

    *new_connection* makes the client side of a connection to a peer; *new_layers* tells what stands below it.
    *max_lifetime* (seconds) and *max_requests* bound every connection; a lease is never cut short.
    """

    __slots__ = (
        "_commands",
        "_deadlines",
        "_dials",
        "_free",
        "_joinable",
        "_limits",
        "_making",
        "_max_requests",
        "_obeying",
        "_offers",
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
        new_connection: NewConnection,
        new_layers: NewLayers | None = None,
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
        self._max_requests = math.inf if max_requests is None else max_requests
        self._making = Making(lane, limits, new_connection, new_layers, self._lose)
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
        self._free = FreeStreams()
        self._offers: dict[Hashable, None] = {}  # keys under which a stream became free and somebody waits
        self._deadlines: Deadlines[DialPlan] = Deadlines()
        self._token = 0
        self._commands: list[Command] = []
        self._obeying = False

    # ── what an exchange does ────────────────────────────────────────────────────────

    def acquire(self, peer: Peer, waiter: Waiter, token: int, now: float) -> Lease | None:
        """A stream to *peer* at once, or None: then ``waiter.resume(token, lease)`` or ``waiter.fail(token, error)``.

        :raises LocalProtocolError: *waiter* is waiting under *token* already.
        :raises Error: what the peer's options ask for cannot be had.
        """
        key = peer.reuse_key
        kept = self._find(peer, now)
        if kept is not None:
            if self._pool.has_commands:  # expired ones that stood before this one
                self._settle(now)
            return self._lease(kept, peer, now, reused=True)
        if (id(waiter), token) in self._requests:
            raise LocalProtocolError(f"{waiter!r} is waiting under {token} already")
        request = Request(peer, key, waiter, token)
        self._requests[id(waiter), token] = request
        try:
            self._seek(request, now)
        except Error:
            del self._requests[id(waiter), token]
            self._settle(now)
            raise
        self._settle(now)
        return None

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

        A connection that is not reusable is closed, and cut where something is still under way on it;
        of one with many streams, the stream alone is reset.

        :raises LocalProtocolError: it was released before.
        """
        if lease.released:
            raise LocalProtocolError(f"{lease!r} is released already")
        lease.released = True
        kept: Kept = lease.kept
        connection = kept.connection
        receivers = kept.receivers
        if receivers is None:
            kept.endpoint.receiver = kept
        else:
            del receivers[lease.stream_id]
            if not connection.closing:
                # Where the exchange is complete both ways, the stream is closed already and this says nothing.
                connection.send(lease.stream_id, _GIVEN_UP, now)
            if receivers:
                if not kept.free and connection.reusable:
                    self._offer(kept)
                    if self._offers:
                        self._settle(now)
                return
            if kept.free:
                self._free.remove(kept)
            reuse = True  # whatever became of this exchange, the connection goes on
        if reuse and connection.reusable and not connection.closing:
            kept.idle = True
            self._pool.release(kept, now, lease.peer.options.idle_timeout)
        else:
            self._part_with(kept, now)
        if self._pool.has_commands or self._pool.deadline < self.deadline:
            self._settle(now)

    def prefer_h1(self, peer: Peer, now: float) -> bool:
        """Speak HTTP/1 to *peer* for the next while, as its origin asked; False: nothing but HTTP/2 may be spoken."""
        if peer.options.alpn.min_http_version == 2:
            return False
        self._making.versions.demote(peer.reuse_key, now)
        return True

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
        """The dial of *token* has connected; there may be layers to complete."""
        dialling = self._dials.get(token)
        if dialling is None:
            return
        kept = dialling.kept
        kept.endpoint.info = value
        if not kept.layered:
            self._connected(token, now)
            return
        assert kept.digest is not None  # made with the layers
        kept.digest.connected(value)
        dialling.plan.connected(now)
        self._deadlines.arm(dialling.plan)
        self._settle(now)

    def _arrived(self, token: int, value: Any, now: float) -> None:
        """An event of the layers of the dial of *token*: they are through, or it has failed."""
        if type(value) is Established:
            dialling = self._dials.get(token)
            if dialling is None:
                return  # given up, and its connection is being aborted
            connection: Any = value.connection  # an UpstreamConnection, as new_connection makes them
            dialling.kept.stand(connection)
            self._making.versions.learn(dialling.kept.key, connection.version, now)
            self._connected(token, now)
        elif type(value) is ConnectionClosed:
            self.fail(token, value.error or Error(ErrorType.CONNECTION_CLOSED, "the connection was lost"), now)

    def _connected(self, token: int, now: float) -> None:
        """The connection of a dial can be used: for as many of those that wait for it as it has streams."""
        dialling = self._dialled(token)
        assert dialling is not None  # both callers have looked
        kept = dialling.kept
        self._pool.establish(kept.key, kept, now)
        if not kept.connection.reusable:
            self._part_with(kept, now)
            for request in dialling.requests:
                error = Error(ErrorType.CONNECTION_CLOSED, f"closed as soon as connected: {request.peer}").into_up()
                self._refuse(request, error, now)
            self._settle(now)
            return
        first = True
        for request in dialling.requests:
            if not self._is_live(request):  # cancelled by one that was answered just before it
                continue
            if first:
                self._resume_with(request, kept, now, reused=False)
                first = False
            else:  # mostly the same connection, if those before left a stream of it
                self._place(request, now)
        self._settle(now)

    def fail(self, token: int, error: Error, now: float) -> None:
        """The dial of *token* has failed."""
        dialling = self._dialled(token)
        if dialling is None:
            return
        self._pool.abandon(dialling.kept.key)
        for request in dialling.requests:
            self._refuse(request, dialling.plan.failed(error), now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Give up dials and waits that took too long, close what expired. Early or repeated calls are harmless."""
        self._pool.handle_timeout(now)
        for plan in self._deadlines.due(now):
            # A waiter that was told of the plan before may have cancelled this one.
            if (dialling := self._dials.get(plan.token)) is not None:
                waiting = pending_layer(dialling.kept.endpoint.connection) if dialling.kept.endpoint.info else None
                self._give_up(dialling, now)
                for request in dialling.requests:
                    self._refuse(request, plan.timed_out(waiting), now)
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

    def _find(self, peer: Peer, now: float) -> Kept | None:
        """A connection for one more exchange: one in use that has a stream left, else an idle one."""
        key = peer.reuse_key
        demoted = self._making.is_demoted(peer, now)
        if self._free.by_key and not demoted and (kept := self._with_stream(key, now)) is not None:
            return kept
        pool = self._pool
        while (kept := pool.acquire(key, now)) is not None:
            kept.idle = False
            if kept.receivers is not None and demoted:
                self._part_with(kept, now)  # the origin took HTTP/2 back
                continue
            if not kept.connection.closing and (kept.receivers is None or kept.connection.reusable):
                return kept
            self._part_with(kept, now)
        return None

    def _with_stream(self, key: Hashable, now: float) -> Kept | None:
        """A connection in use that takes one more exchange, which is counted."""
        while (kept := self._free.first(key)) is not None:
            if kept.connection.reusable and self._pool.share(kept, now):
                return kept
            self._free.remove(kept)  # the origin goes, or allows fewer streams than it did
        return None

    def _seek(self, request: Request, now: float) -> None:
        """A connection for *request* is to come: from a dial under way or of its own, or from who gives one back."""
        dialling = self._joinable.get(request.key)
        if dialling is not None:
            request.plan = dialling.plan
            dialling.requests[request] = None
            if len(dialling.requests) >= self._share_of_a_dial(request.peer):
                del self._joinable[request.key]
        elif self._pool.reserve(request.key):
            self._dial(request, now)
        else:
            request.plan = None
            self._pool.wait(request.key, request, now)

    def _place(self, request: Request, now: float) -> None:
        """What *request* was to get came to nothing: look elsewhere."""
        kept = self._find(request.peer, now)
        if kept is not None:
            self._resume_with(request, kept, now, reused=True)
            return
        try:
            self._seek(request, now)
        except Error as error:
            self._refuse(request, error, now)

    def _dial(self, request: Request, now: float) -> None:
        """Connect for *request*, which has room reserved."""
        self._token += 1
        peer = request.peer
        plan = DialPlan(peer, self._limits, self._token, now)
        try:
            kept, shared = self._making.make(peer, now, partial(self._arrived, self._token))
        except Error as error:
            self._pool.abandon(request.key)
            raise plan.failed(error) from None
        kept.endpoint.tracer = peer.options.tracer
        request.plan = plan
        dialling = self._dials[plan.token] = Dialling(request, plan, kept)
        if shared and self._share_of_a_dial(peer) > 1:
            self._joinable[request.key] = dialling
        self._deadlines.arm(plan)
        self._commands.append(plan.command(kept.endpoint))

    def _share_of_a_dial(self, peer: Peer) -> float:
        """How many requests may wait for the same connection to *peer*."""
        streams = peer.options.max_h2_streams
        return streams if streams < self._max_requests else self._max_requests

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
        dialling.kept.endpoint.connection.abort(now)
        self._pool.abandon(dialling.kept.key)

    def _lose(self, kept: Kept, now: float) -> None:
        """An idle connection spoke or died."""
        kept.idle = False
        self._pool.discard(kept)
        if kept.receivers is not None:
            kept.close(now)  # it has said its goodbye, or says it now
        elif not kept.connection.closing:
            kept.connection.abort(now)
        self._settle(now)

    def _part_with(self, kept: Kept, now: float) -> None:
        """*kept* is of no more use."""
        self._pool.discard(kept)
        kept.close(now)

    def _offer(self, kept: Kept) -> None:
        """*kept*, which is leased, has a stream left: for who waits longest, or comes next."""
        self._free.add(kept)
        if self._pool.waits(kept.key):
            self._offers[kept.key] = None

    def _settle(self, now: float) -> None:
        """Carry out what the pool decided, then ask for attention if there is a need."""
        # Not from inside itself: waiters that give back at once what they get would nest as deep as
        # their number. What they cause is carried out by the call that is already at it.
        if not self._obeying and (self._pool.has_commands or self._offers):
            self._obeying = True
            try:
                while (commands := self._pool.take_commands()) or self._offers:
                    for command in commands:
                        self._obey(command, now)
                    if self._offers:
                        self._serve(self._offers.popitem()[0], now)
            finally:
                self._obeying = False
        self.deadline = min(self._pool.deadline, self._deadlines.next)
        if self._commands or self.deadline < self.armed:
            self.lane.enlist(self)

    def _obey(self, command: PoolCommand[Kept, Request], now: float) -> None:
        match command:
            case CloseConnection(kept):
                kept.idle = False
                kept.close(now)
            case Grant(request, key, kept):
                self._granted(request, key, kept, now)
            case WaitTimedOut(request):
                self._refuse(request, waited_in_vain(request.peer, self._limits), now)
            case _:
                assert_never(command)

    def _granted(self, request: Request, key: Hashable, kept: Kept | None, now: float) -> None:
        live = self._is_live(request)
        if kept is None:
            if not live:
                self._pool.abandon(key)
                return
            try:
                self._dial(request, now)
            except Error as error:
                self._refuse(request, error, now)
        elif live:
            kept.idle = False
            self._resume_with(request, kept, now, reused=True)
        else:
            self._pool.release(kept, now, request.peer.options.idle_timeout)

    def _serve(self, key: Hashable, now: float) -> None:
        """Streams under *key* have become free: for those who wait longest."""
        while self._pool.waits(key) and (kept := self._with_stream(key, now)) is not None:
            request = self._pool.take_waiter(key)
            assert request is not None  # somebody waits
            self._resume_with(request, kept, now, reused=True)

    def _is_live(self, request: Request) -> bool:
        """Whether it was not cancelled by a waiter that was answered just before it."""
        return self._requests.get((id(request.waiter), request.token)) is request

    def _resume_with(self, request: Request, kept: Kept, now: float, *, reused: bool) -> None:
        """*kept* has come to *request*, which waits."""
        del self._requests[id(request.waiter), request.token]
        request.waiter.resume(request.token, self._lease(kept, request.peer, now, reused=reused), now)

    def _refuse(self, request: Request, error: Error, now: float) -> None:
        """There is no connection for *request*, if it was not cancelled by one that was told just before it."""
        if self._is_live(request):
            del self._requests[id(request.waiter), request.token]
            request.waiter.fail(request.token, error, now)

    def _lease(self, kept: Kept, peer: Peer, now: float, *, reused: bool) -> Lease:
        connection = kept.connection
        stream_id = connection.open_stream(now)
        assert stream_id is not None  # it is new, or was reusable and nothing has happened on it since
        if kept.receivers is not None:
            kept.receivers[stream_id] = None
            if connection.reusable:
                if not kept.free:
                    self._offer(kept)
            elif kept.free:
                self._free.remove(kept)
        return Lease(kept.endpoint, connection, stream_id, peer, reused, kept)
