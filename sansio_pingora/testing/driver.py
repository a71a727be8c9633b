"""The simulation's adapter: binds the endpoints of a lane to virtual links, as the real ones bind them to sockets.

It does what the docstring of :mod:`sansio_pingora.machine` says and nothing else, so that
a machine that works here works on a socket.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import AcceptPolicy, LaneEnd
from sansio_pingora.machine import (
    Admit,
    CancelDial,
    Closing,
    Coordinator,
    Dial,
    Endpoint,
    Lane,
    LogLine,
    Member,
    RunFilter,
    StopFilters,
)
from sansio_pingora.testing.filter_calls import FilterCall, FilterCancelled, as_filter_error
from sansio_pingora.testing.link import End
from sansio_pingora.testing.world import TICK, Attempt, OracleBroken, World
from sansio_pingora.transport import Resolve, ResolveService, SocketAddr, TransportInfo

if TYPE_CHECKING:
    from sansio_pingora.layers import LayerMaker
    from sansio_pingora.machine import Application

__all__ = ["Driver", "Socket"]

EPOCH = 1_700_000_000.0
"""The Unix time at which virtual time begins."""


class Socket:
    """A driver's side of a link: what a transport object is to a real adapter."""

    __slots__ = ("dialled", "driver", "end", "endpoint", "paused", "shut")

    def __init__(self, driver: Driver, end: End, endpoint: Endpoint) -> None:
        self.driver = driver
        self.dialled = end.audit is not None
        self.end = end
        self.endpoint = endpoint
        self.paused = False
        self.shut = False

    def received(self, data: bytes) -> None:
        """Bytes were read."""
        heard = self.driver.heard
        if heard is not None and not self.dialled:
            heard.setdefault(self.end.name, []).append(data)
        self.driver.deliver(self.endpoint.receive_data, data)

    def ended(self) -> None:
        """The peer shut its write side."""
        self.driver.deliver(self.endpoint.receive_eof)

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self.driver.sockets.pop(self, None)
        self.driver.deliver(self.endpoint.transport_lost, error)

    def progressed(self) -> None:
        """The peer took bytes."""
        end = self.end
        if self.paused:
            if end.backlog <= end.profile.low:
                self.paused = False
                self.driver.deliver(self.endpoint.write_resumed)
        elif self.endpoint.connection.closing and not end.backlog:
            self.driver.lane.enlist(self.endpoint)
            self.driver.settle()


class Driver:
    """One lane, its application, and everything that it has open."""

    def __init__(self, world: World, application: Application, name: str, layers: tuple[LayerMaker, ...] = ()) -> None:
        self.world = world
        self.layers = layers
        """What stands between a link that comes in and HTTP, as in :class:`TransportInfo`."""
        self.name = name
        self.application = application
        self.lane = Lane()
        self.log: list[LogLine] = []
        """Every log line that was ordered."""
        self.timers: Counter[str] = Counter()
        """Which deadlines had an input just before, at or after them, by their reason."""
        self.sockets: dict[Socket, None] = {}
        """Open transports, oldest first."""
        self.dials: dict[tuple[Coordinator, int], Attempt] = {}
        """Connects under way."""
        self.filters: dict[tuple[Coordinator, int], FilterCall] = {}
        """Filters that run."""
        self.heard: dict[str, list[bytes]] | None = None
        """For oracles: what came from clients, in its pieces, by the name of the end; None: nobody wants to know."""
        self._armed = math.inf
        self._inside = False
        self.dead = False
        """Its process is gone."""
        self._rng = world.rng.fork(f"driver {name}")
        self._upstreams = 0
        world.drivers.append(self)
        self.acceptor = application.open(self.lane, world.now, EPOCH + world.now)
        self.settle()

        self.end = LaneEnd(self.lane, AcceptPolicy())
        self.end.acceptor = self.acceptor

    # ── input ────────────────────────────────────────────────────────────────────────

    def deliver(self, call: Callable[..., Any], *args: Any) -> None:
        """Hand one input to a machine, then settle the lane.

        :raises OracleBroken: an exception came out of the core (I-15), or the lane broke another invariant.
        """
        world = self.world
        if self.dead:
            return
        if self._inside:
            raise AssertionError("the driver was entered from inside a machine")
        try:
            call(*args, world.now)
        except OracleBroken:
            raise
        except Exception as exc:
            raise OracleBroken("I-15", f"{type(exc).__name__} left the core: {exc}", world) from exc
        self.settle()

    def accept(self, end: End) -> None:
        """A link came in at the listener."""
        now = self.world.now
        info = TransportInfo(end.other.address, end.address, now, self.layers)
        self.deliver(self._accept, end, info)

    def _accept(self, end: End, info: TransportInfo, now: float) -> None:
        self._bind(self.acceptor.accept(info, now), end)

    def drain(self, grace_period: float = math.inf, *, keep_idle: bool = False) -> None:
        """Tell the application to end: finish what is there in *grace_period* seconds, take no more."""
        self.world.note(self.name, "drain", 0)
        self.world.unlisten(self)
        self.deliver(lambda now: self.end.drain(grace_period, now, _raise, keep_idle=keep_idle))
        self._arm_end()

    def abort(self) -> None:
        """End every transport now."""
        self.world.note(self.name, "abort", 0)
        self.deliver(lambda now: self.end.abort(now, _raise))

    def _arm_end(self) -> None:
        if self.end.deadline != math.inf:
            self.world.at(self.end.deadline, self._end_times_out)

    def _end_times_out(self, _: None) -> None:
        if self.dead:
            return
        over = False

        def handle_timeout(now: float) -> None:
            nonlocal over
            over = self.end.handle_timeout(now)

        self.deliver(handle_timeout)
        if over:
            self.abort()
        else:
            self._arm_end()

    def die(self) -> None:
        """Its process is killed: the kernel closes what it had open, and nobody hears of anything."""
        self.dead = True
        self.world.drivers.remove(self)
        for socket in list(self.sockets):
            socket.end.close()
        for attempt in self.dials.values():
            attempt.cancelled = True
        self.stop()

    def _bind(self, endpoint: Endpoint, end: End) -> None:
        socket = Socket(self, end, endpoint)
        endpoint.driver = socket
        self.sockets[socket] = None
        self.lane.attach(endpoint)
        end.owner = socket
        end.set_reading(endpoint.connection.want_read)

    def stop(self) -> None:
        """End what still runs: filters that were never answered."""
        while self.filters:
            self.filters.popitem()[1].cancel(None)

    # ── output ───────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Serve every member of the lane that wants something, until none does; then arm the timer."""
        lane = self.lane
        world = self.world
        now = world.now
        rounds = 0
        self._inside = True
        try:
            lane.run_posted()
            while lane.dirty:
                members = lane.drain(now)
                for member in members:
                    if isinstance(member, Endpoint):
                        self._serve(member, now)
                    else:
                        self._execute(member)
                lane.run_posted()
                rounds += 1
                if rounds > 10_000:
                    world.broken("I-9", f"{self.name}: the lane does not settle; it goes on with {members!r}")
        except OracleBroken:
            raise
        except Exception as exc:
            raise OracleBroken("I-15", f"{type(exc).__name__} left the core: {exc}", world) from exc
        finally:
            self._inside = False
        for settled in world.watchers:
            settled(world, self)
        deadline = lane.deadline
        if deadline < self._armed:
            self._arm(deadline)

    def _serve(self, endpoint: Endpoint, now: float) -> None:
        socket: Socket | None = endpoint.driver
        if socket is None:
            return  # not connected yet, or gone
        connection = endpoint.connection
        end = socket.end
        if connection.closing is Closing.ABORT:
            self._close(socket, endpoint, now)
            return
        chunks = connection.data_to_send()
        if chunks:
            data = b"".join(chunks)
            if data:
                if socket.shut:
                    self.world.broken("I-5", f"{end.name}: {len(data)} bytes put out after the write side was shut")
                self.world.note(end.name, "write", len(data))
                end.write(data)
            profile = end.profile
            if backlog := end.backlog:
                self.world.faults.counts["short write"] += 1
                if backlog > profile.high and not socket.paused:
                    socket.paused = True
                    endpoint.write_paused(now, end.unsent)
            if not socket.paused:
                endpoint.flushed(now)
        if endpoint.listed:
            return  # being told that it was flushed, it put out more: that goes before a shut or a close
        if connection.closing:
            if not end.backlog:
                self._close(socket, endpoint, now)
            else:
                end.set_reading(False)
            return
        if connection.shut_write and not socket.shut:
            socket.shut = True
            self.world.note(end.name, "shut", 0)
            end.shut()
        end.set_reading(connection.want_read)

    def _close(self, socket: Socket, endpoint: Endpoint, now: float) -> None:
        if endpoint.connection.closing is Closing.ABORT:
            socket.end.abort()
        else:
            socket.end.close()
        del self.sockets[socket]
        endpoint.transport_lost(None, now)

    def _execute(self, coordinator: Coordinator) -> None:
        for command in coordinator.take_commands():
            if isinstance(command, Dial):
                _Dialing(self, coordinator, command)
            elif isinstance(command, RunFilter):
                self._run_filter(coordinator, command)
            elif isinstance(command, CancelDial):
                attempt = self.dials.pop((coordinator, command.token), None)
                if attempt is not None:
                    attempt.cancelled = True
            elif isinstance(command, StopFilters):
                self.world.note(self.name, "stop", 0)
                for key in [key for key in self.filters if key[0] is coordinator]:
                    self.filters.pop(key).cancel(None)
                    if self._rng.below(2):  # a thread cannot be stopped: its answer comes all the same
                        self.world.faults.count("filter stale")
                        self.world.after(self._rng.uniform(0.0, 2.0), self._answer_stale, key)
            elif isinstance(command, Resolve):
                self.world.after(0.001, self._resolve, (coordinator, command))
            elif isinstance(command, ResolveService):
                self.world.after(0.001, self._resolve_service, (coordinator, command))
            elif isinstance(command, LogLine):
                self.log.append(command)
                # A traceback behind its first line is spelled otherwise by each Python, in each place.
                self.world.note(self.name, "log", f"{command.level} {command.text.partition(chr(10))[0]}")
            elif isinstance(command, Admit):
                raise AssertionError("the simulation asks no connection filter")
            else:
                assert_never(command)

    def _resolve(self, what: tuple[Coordinator, Resolve]) -> None:
        coordinator, command = what
        address = command.address
        hosts = self.world.names.get(address.host)
        if hosts is None:
            self.deliver(coordinator.fail, command.token, Error(ErrorType.CONNECT_ERROR, f"no host {address.host!r}"))
        else:
            found = [SocketAddr(host, address.port) for host in hosts]
            self.deliver(coordinator.resume, command.token, found)

    def _resolve_service(self, what: tuple[Coordinator, ResolveService]) -> None:
        coordinator, command = what
        records = self.world.services.get(command.name)
        if records is None:
            error = Error(ErrorType.CONNECT_NO_ROUTE, f"no service {command.name!r}")
            self.deliver(coordinator.fail, command.token, error)
        else:
            self.deliver(coordinator.resume, command.token, list(records))

    # ── timers ───────────────────────────────────────────────────────────────────────

    def _arm(self, deadline: float) -> None:
        world = self.world
        self._armed = deadline
        at = deadline if deadline > world.now else world.now
        if at > world.now:
            # Real timers fire up to their resolution early, and late when the loop is busy.
            if world.faults.fires("timer early"):
                world.at(max(world.now, at - TICK), self._wake, deadline)  # and on time as well
            elif world.faults.fires("timer late"):
                at += TICK if self._rng.below(2) else self._rng.uniform(0.0, 0.05)
        world.at(at, self._wake, deadline)

    def _wake(self, armed: float) -> None:
        if armed != self._armed:
            return  # an earlier one has been armed since
        world = self.world
        now = world.now
        world.note(self.name, "timer", 0)
        if now >= armed:
            self._armed = math.inf
        self.deliver(self._time_out)

    def _time_out(self, now: float) -> None:
        for member in self.lane.due(now):
            if isinstance(member, Endpoint):
                socket: Socket | None = member.driver
                self.world.note(socket.end.name if socket else "-", "times out", member.connection.next_reason())
                member.handle_timeout(now, socket.end.unsent if socket else 0)
            else:
                member.handle_timeout(now)

    def upstreams(self, address: str) -> int:
        """Open connections to *address*."""
        return sum(1 for socket in self.sockets if str(socket.end.other.address) == address)

    def count_timer(self, name: str, deadline: float) -> None:
        """An input was put *name* (before, at, past) *deadline*: remember whose that is."""
        for socket in self.sockets:
            if socket.endpoint.connection.deadline == deadline:
                self.timers[f"{name}: {socket.endpoint.connection.next_reason()}"] += 1

    # ── filters ──────────────────────────────────────────────────────────────────────

    def _run_filter(self, coordinator: Coordinator, command: RunFilter) -> None:
        """Begin the call now, as a free thread or a task would, and answer later."""
        faults = self.world.faults
        key = (coordinator, command.token)
        running = self.filters[key] = FilterCall(command)
        self.world.note(self.name, "filter", command.token)
        running.begin()
        if running.error is not None and faults.enabled("filter raises"):
            faults.count("filter raises")
        if faults.fires("filter never"):
            return
        delay = running.delay
        if faults.fires("filter late"):
            delay += self._rng.uniform(0.0, 3.0)
        elif faults.fires("filter out of order"):
            delay += self._rng.uniform(0.0, 0.01)
        if faults.fires("filter error"):
            running.cancel(Error(ErrorType.INTERNAL_ERROR, "a filter failed by order of the simulator"))
        elif faults.fires("filter cancelled"):
            running.cancel(as_filter_error(FilterCancelled()))
        self.world.after(delay, self._go_on, key)

    def _go_on(self, key: tuple[Coordinator, int]) -> None:
        running = self.filters.get(key)
        if running is None:
            return  # stopped meanwhile
        if running.steps is not None:
            running.step()
            if running.steps is not None:
                self.world.after(running.delay, self._go_on, key)
                return
        del self.filters[key]
        coordinator, token = key
        if running.error is None:
            self.deliver(coordinator.resume, token, running.value)
        else:
            self.deliver(coordinator.fail, token, running.error)

    def _answer_stale(self, key: tuple[Coordinator, int]) -> None:
        coordinator, token = key
        self.deliver(coordinator.resume, token, None)


def _raise(_member: Member, exc: Exception, _now: float) -> None:
    raise exc


class _Dialing:
    """A dial under way."""

    __slots__ = ("command", "coordinator", "driver")

    def __init__(self, driver: Driver, coordinator: Coordinator, command: Dial) -> None:
        self.driver = driver
        self.coordinator = coordinator
        self.command = command
        driver._upstreams += 1
        name = f"{driver.name}.{driver._upstreams}"
        driver.dials[coordinator, command.token] = driver.world.connect(self, command.address, name)

    def connected(self, end: End) -> None:
        """The link is there."""
        driver = self.driver
        del driver.dials[self.coordinator, self.command.token]
        end.audit = []
        driver.deliver(self._attach, end)

    def _attach(self, end: End, now: float) -> None:
        endpoint = self.command.endpoint
        info = TransportInfo(peer=end.other.address, local=end.address, established=now)
        endpoint.info = info
        self.driver._bind(endpoint, end)
        self.coordinator.resume(self.command.token, info, now)

    def refused(self, error: Error) -> None:
        """There will be none."""
        driver = self.driver
        del driver.dials[self.coordinator, self.command.token]
        driver.deliver(self.coordinator.fail, self.command.token, error)
