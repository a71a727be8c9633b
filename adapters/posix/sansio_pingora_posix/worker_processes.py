"""Worker processes that share the listening sockets: their supervisor's side, and their own.

A supervisor and a worker are tied by a pair of sockets. The worker says that it is ready; the supervisor gives
orders, and is known to be gone when the other end closes. Signals reach the supervisor alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import partial

from sansio_pingora.listeners import ServerAddress
from sansio_pingora.server import ExecutionPhase, ServerLifecycle, ShutdownSignal
from sansio_pingora_posix.addresses import socket_addr
from sansio_pingora_posix.binding import close_listener
from sansio_pingora_posix.daemon import fork, refuse_threads
from sansio_pingora_posix.descriptors import DescriptorTable
from sansio_pingora_posix.log_files import rest_log_files
from sansio_pingora_posix.server_runner import Launcher, ServerRunner
from sansio_pingora_posix.server_signals import forget_waker, handle_signals
from sansio_pingora_posix.tally import Tally

__all__ = ["WorkerProcesses", "WorkerRunner", "worker_names"]

_LOG = logging.getLogger("sansio_pingora")
_UNHEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


class _Order(IntEnum):
    ADMIT = 1
    DRAIN = 2
    DRAIN_HANDED_OVER = 3
    ABORT = 4
    RELOAD = 5
    REOPEN = 6


def worker_names(count: int) -> list[str]:
    """What the workers are called."""
    return [f"worker {number}" for number in range(1, count + 1)]


def _number(name: str) -> int:
    return int(name.removeprefix("worker ")) - 1


class _Worker:
    __slots__ = ("leash", "orders", "pid", "ready")

    def __init__(self, pid: int, leash: socket.socket) -> None:
        self.pid = pid
        self.leash = leash
        self.ready = False
        self.orders: set[_Order] = set()


class WorkerProcesses:
    """A launcher of processes. *work* is a worker's life, from its number and its end of the pair to its exit code.

    *tallies*: of the services' clients; a worker leaves them when it has ended.

    :raises LocalProtocolError: other threads run.
    """

    def __init__(
        self,
        table: DescriptorTable,
        tallies: Iterable[Tally],
        work: Callable[[int, socket.socket, DescriptorTable], int],
    ) -> None:
        refuse_threads()
        self._table = table
        self._tallies = list(tallies)
        self._work = work
        self._workers: dict[str, _Worker] = {}
        self._held: list[tuple[ServerAddress, socket.socket]] = []
        self._admitted = False
        self._reloaded = False

    # ── sockets ──────────────────────────────────────────────────────────────────────

    def hold(self, addresses: Iterable[ServerAddress]) -> list[str]:
        """Listen on *addresses* on behalf of all workers; returns them with real ports.

        :raises Error: one cannot be bound.
        """
        found = []
        for address in addresses:
            sock = self._table.take(address)
            self._held.append((address, sock))
            found.append(str(socket_addr(sock.getsockname(), sock.family) or address))
        return found

    def let_go(self) -> None:
        """Listen no more, as far as this process goes; repeated calls are harmless."""
        for address, sock in self._held:
            close_listener(sock, address)

    # ── as a launcher ────────────────────────────────────────────────────────────────

    def start(self, name: str, delay: float | None, runner: ServerRunner) -> None:
        """See :class:`Launcher`."""
        number = _number(name)
        pair: tuple[socket.socket, ...] = ()
        try:
            pair = ours, theirs = socket.socketpair()
            pid = fork()
        except OSError as exc:  # no descriptor, process or memory is free: as if it had ended at once
            for sock in pair:
                sock.close()
            runner.ended(name, f"no process can be started: {exc.strerror or exc}")
            return
        if pid == 0:
            ours.close()
            runner.forget_hand_over()
            self._live(number, theirs)
        theirs.close()
        ours.setblocking(False)
        self._workers[name] = _Worker(pid, ours)
        runner.watch(ours, partial(self._hear, name, ours, runner))
        _LOG.info("%s is process %d", name, pid)

    def drain(self, name: str, *, handed_over: bool) -> None:
        """See :class:`Launcher`."""
        self.let_go()
        self._order(name, _Order.DRAIN_HANDED_OVER if handed_over else _Order.DRAIN)

    def abort(self, name: str) -> None:
        """See :class:`Launcher`."""
        self.let_go()
        self._order(name, _Order.ABORT)

    def admit(self) -> None:
        """See :class:`Launcher`."""
        self._admitted = True
        self._order_all(_Order.ADMIT)

    def reload(self) -> None:
        """See :class:`Launcher`. Workers do, at :meth:`order_reload`, and those that come later when they are up."""
        self._reloaded = True

    def order_reload(self) -> None:
        """Have every worker reload."""
        self._order_all(_Order.RELOAD)

    def order_reopen(self) -> None:
        """Have every worker open its log files again, one that is starting as well: it has the old ones open."""
        for name in self._workers:
            self._order(name, _Order.REOPEN)

    def reap(self, runner: ServerRunner) -> None:
        """Find out who has ended, after SIGCHLD; in the runner's thread."""
        for name, worker in list(self._workers.items()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[name]
                if worker.leash.fileno() != -1:
                    runner.forget(worker.leash)
                    worker.leash.close()
                for tally in self._tallies:
                    tally.leave(_number(name))
                runner.ended(name, _fault(worker, os.waitstatus_to_exitcode(status)))

    def close(self) -> None:
        """Nothing is left afterwards: workers that would not end are killed."""
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # who has started this process had SIGCHLD ignored
                os.waitpid(worker.pid, 0)
            worker.leash.close()
        self._workers.clear()
        self.let_go()

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _hear(self, name: str, leash: socket.socket, runner: ServerRunner) -> None:
        try:
            data = leash.recv(16)
        except ConnectionError:
            data = b""
        if not data:
            runner.forget(leash)
            leash.close()  # SIGCHLD says the rest
            return
        self._workers[name].ready = True
        runner.ready(name)
        if self._reloaded:
            self._order(name, _Order.RELOAD)
        if self._admitted:
            self._order(name, _Order.ADMIT)

    def _order_all(self, order: _Order) -> None:
        for name, worker in self._workers.items():
            if worker.ready:
                self._order(name, order)

    def _order(self, name: str, order: _Order) -> None:
        worker = self._workers.get(name)
        if worker is None:  # it has ended, and the runner is about to hear of it
            return
        worker.orders.add(order)
        with contextlib.suppress(OSError):  # it is gone, and SIGCHLD on its way
            worker.leash.send(bytes([order]))

    def _live(self, number: int, leash: socket.socket) -> None:
        """The rest of a forked process's life."""
        code = 1
        try:
            forget_waker()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for worker in self._workers.values():
                worker.leash.close()  # so that a supervisor's end is heard
            self._table.close_unclaimed()  # a worker would keep it open when the supervisor has let it go
            table = DescriptorTable()
            for address, sock in self._held:
                table.inherit(str(address), sock)
            # Ctrl-C goes to all processes of a terminal, and systemctl stop to all of a unit: one order is enough.
            with handle_signals(dict.fromkeys(_UNHEARD, _nothing)):
                code = self._work(number, leash, table)
        except BaseException:
            _LOG.exception("a worker failed")
        finally:
            with contextlib.suppress(BaseException):
                logging.shutdown()
                rest_log_files()
            os._exit(code)  # what is on the stack, and the handlers of atexit, are the supervisor's


_ASKED = {_Order.DRAIN, _Order.DRAIN_HANDED_OVER, _Order.ABORT}


def _fault(worker: _Worker, code: int) -> str | None:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:  # most of the real-time signals have none
            name = f"signal {-code}"
        return f"process {worker.pid} was killed by {name}"
    if code:
        return f"process {worker.pid} has ended with exit code {code}"
    return None if worker.orders & _ASKED else f"process {worker.pid} has ended unasked"


def _nothing() -> None:
    """A worker is led by its supervisor."""


class WorkerRunner(ServerRunner):
    """One worker's run of its services. *leash* ties it to the supervisor."""

    def __init__(
        self,
        lifecycle: ServerLifecycle,
        launcher: Launcher,
        table: DescriptorTable,
        leash: socket.socket,
        *,
        on_up: Callable[[], object],
        on_reload: Callable[[], object],
        on_reopen: Callable[[], object],
    ) -> None:
        super().__init__(lifecycle, launcher, table, upgrade_sock="", on_up=on_up)
        self._leash = leash
        self._on_reload = on_reload
        self._on_reopen = on_reopen
        self._ending = False
        self.watch(leash, self._listen)

    def _acknowledge(self) -> None:
        """To the supervisor, which admits all workers at once."""
        self._table.close_unclaimed()
        self._on_up()
        with contextlib.suppress(OSError):
            self._leash.send(b"r")

    def _send(self) -> None:
        """The supervisor has handed over already."""
        self.post(self._lifecycle.handed_over)

    def _listen(self) -> None:
        try:
            data = self._leash.recv(64)
        except ConnectionError:
            data = b""
        if not data:
            self.forget(self._leash)
            if not self._ending:
                _LOG.error("the supervisor is gone, so this worker ends")
                self._obey_order(_Order.DRAIN)
        for order in data:
            self._obey_order(_Order(order))

    def _obey_order(self, order: _Order) -> None:
        match order:
            case _Order.ADMIT:
                self._launcher.admit()
            case _Order.DRAIN:
                self._end(ShutdownSignal.GRACEFUL_TERMINATE)
            case _Order.DRAIN_HANDED_OVER:
                # One that is not up yet has no clients who could keep their connections.
                is_up = self._lifecycle.phase is ExecutionPhase.RUNNING
                self._end(ShutdownSignal.GRACEFUL_UPGRADE if is_up else ShutdownSignal.GRACEFUL_TERMINATE)
            case _Order.ABORT:
                self._end(ShutdownSignal.FAST_SHUTDOWN)
            case _Order.RELOAD:
                self._on_reload()
            case _Order.REOPEN:
                self._on_reopen()

    def _end(self, how: ShutdownSignal) -> None:
        self._ending = True
        self.signal(how)
