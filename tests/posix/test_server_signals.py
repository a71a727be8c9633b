"""Signals that come when they are easily overlooked."""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import select
import signal
import socket
import threading
from functools import partial
from operator import call

import pytest

from sansio_pingora.listeners import ServerAddress
from sansio_pingora.server import ServerLifecycle, ShutdownSignal
from sansio_pingora.services import ServiceGraph
from sansio_pingora_posix import (
    Control,
    DescriptorTable,
    ServerRunner,
    forget_waker,
    handle_signals,
    hear_signals,
    wake_at_signals,
    watch_shutdown,
)
from sansio_pingora_threads import lane as lane_module
from sansio_pingora_threads.poller import EpollPoller
from tests.posix.harness import PATIENCE, runtime_of
from tests.posix.machines import Application

with_epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="stands in for epoll")


@pytest.fixture
def pair():
    ear, bell = socket.socketpair()
    with ear, bell:
        ear.setblocking(False)
        bell.setblocking(False)
        yield ear, bell


class StruckEpoll:
    """An epoll object: once it is *armed*, a signal comes just before it is waited at, too late for Python to look.

    From the one to the other there is no bytecode, at which a handler would be called.
    """

    def __init__(self, real, *, armed=True):
        self._real = real
        self._raise = getattr(ctypes.CDLL(None), "raise")
        self.armed = armed
        self.found = None

    def __getattr__(self, name):
        return getattr(self._real, name)

    def poll(self, timeout=None, maxevents=-1):
        if not self.armed or timeout == 0:
            return self._real.poll(timeout, maxevents)
        self.armed = False
        calls = [partial(self._raise, signal.SIGTERM), partial(self._real.poll, PATIENCE, maxevents)]
        self.found = tuple(map(call, calls))[1]
        return self.found


@with_epoll
def test_a_server_hears_a_signal_that_comes_just_before_it_waits():
    lifecycle = ServerLifecycle(ServiceGraph(), {}, grace_period=0.0, stop_timeout=0.0)
    runner = ServerRunner(lifecycle, None, DescriptorTable(), upgrade_sock="")
    runner._launcher = Idle()
    struck = runner._selector._selector = StruckEpoll(runner._selector._selector)
    before = signal.set_wakeup_fd(-1)
    with handle_signals({signal.SIGTERM: lambda: runner.signal(ShutdownSignal.FAST_SHUTDOWN)}):
        runner.run()
    assert struck.found
    assert signal.set_wakeup_fd(before) == -1


class Idle:
    """A launcher of no services."""

    def admit(self):
        pass


@with_epoll
def test_a_lane_of_threads_hears_it(monkeypatch):
    def new_poller():
        poller = EpollPoller()
        poller._epoll = struck = StruckEpoll(poller._epoll)
        made.append(struck)
        return poller

    made = []
    monkeypatch.setattr(lane_module, "new_poller", new_poller)
    runtime_of("threads").serve(Application(), [ServerAddress.parse("127.0.0.1:0")])
    assert made[0].found


@with_epoll
def test_an_event_loop_hears_it():
    application = Application()
    open_, made = application.open, []

    def strike(lane, now, wall):
        selector = asyncio.get_running_loop()._selector
        struck = selector._selector = StruckEpoll(selector._selector)
        made.append(struck)
        return open_(lane, now, wall)

    application.open = strike
    runtime_of("asyncio").serve(application, [ServerAddress.parse("127.0.0.1:0")], uvloop=False)
    assert made[0].found


@pytest.mark.parametrize(("name", "options"), [("asyncio", {"uvloop": False}), ("threads", {}), ("gevent", {})])
def test_a_runtime_puts_back_what_it_found(name, options, pair):
    control = Control()
    control.stop()
    for before in (-1, pair[1].fileno()):
        signal.set_wakeup_fd(before)
        runtime_of(name).serve(Application(), [ServerAddress.parse("127.0.0.1:0")], control=control, **options)
        assert signal.set_wakeup_fd(-1) == before


def test_a_signal_rings_and_nothing_rings_afterwards(pair):
    ear, bell = pair
    with handle_signals({signal.SIGUSR2: lambda: None}):
        with wake_at_signals(bell):
            os.kill(os.getpid(), signal.SIGUSR2)
        assert ear.recv(9) == bytes([signal.SIGUSR2])
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(BlockingIOError):
            ear.recv(9)


def test_who_was_there_before_goes_on_hearing(pair):
    ear, bell = pair
    heard = []

    def watch(hear, sock):
        heard.append(sock)
        return lambda: heard.append("forgotten")

    signal.set_wakeup_fd(bell.fileno())
    try:
        with handle_signals({signal.SIGUSR2: lambda: None}), hear_signals(watch):
            os.kill(os.getpid(), signal.SIGUSR2)
            assert ear.recv(9) == bytes([signal.SIGUSR2])
            assert select.select([heard[0]], [], [], 0)[0] == []
    finally:
        assert signal.set_wakeup_fd(-1) == bell.fileno()
    assert heard[1:] == ["forgotten"]


def test_who_comes_meanwhile_is_left_alone(pair):
    with socket.socket() as other:
        other.setblocking(False)
        with wake_at_signals(pair[1]):
            signal.set_wakeup_fd(other.fileno())
        assert signal.set_wakeup_fd(-1) == other.fileno()


def test_other_threads_and_forked_processes_wake_nobody(pair):
    def elsewhere():
        with wake_at_signals(pair[1]), hear_signals(lambda *_: pytest.fail("watched")):
            done.append(True)

    done = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]
    with wake_at_signals(pair[1]):
        forget_waker()
        assert signal.set_wakeup_fd(-1) == -1


# ── other sources than the system's ──────────────────────────────────────────────────


class Watch:
    def __init__(self):
        self.said = queue.SimpleQueue()
        self.asked = threading.Semaphore(0)

    def recv(self):
        self.thread = threading.current_thread()
        self.asked.release()
        said = self.said.get()
        if said is None:
            raise EOFError
        return said


def watching_threads():
    return [thread for thread in threading.enumerate() if thread.name == "sansio-pingora-shutdown"]


def fail(watch):
    watch.said.put(None)
    watch.thread.join(PATIENCE)
    assert not watch.thread.is_alive()


def test_every_run_hears_its_watch_and_one_thread_is_enough(caplog):
    before = len(watching_threads())
    watch = Watch()
    for asked in (ShutdownSignal.GRACEFUL_TERMINATE, ShutdownSignal.FAST_SHUTDOWN):
        heard = queue.SimpleQueue()
        with watch_shutdown(watch, heard.put):
            for _ in range(2):  # the second one escalates
                watch.said.put(asked)
                assert heard.get(timeout=PATIENCE) is asked
            assert len(watching_threads()) == before + 1
    fail(watch)
    assert "a shutdown_signal failed" in caplog.text
    again = queue.SimpleQueue()
    watch.said.put(ShutdownSignal.FAST_SHUTDOWN)
    with watch_shutdown(watch, again.put):
        assert again.get(timeout=PATIENCE) is ShutdownSignal.FAST_SHUTDOWN
    fail(watch)


def test_what_is_asked_between_two_runs_is_of_the_next():
    watch = Watch()
    with watch_shutdown(watch, lambda _: pytest.fail("asked")):
        assert watch.asked.acquire(timeout=PATIENCE)
    for asked in (ShutdownSignal.GRACEFUL_TERMINATE, ShutdownSignal.FAST_SHUTDOWN):
        watch.said.put(asked)
        assert watch.asked.acquire(timeout=PATIENCE)
    heard = []
    for _ in range(2):
        with watch_shutdown(watch, heard.append):
            assert heard == [ShutdownSignal.FAST_SHUTDOWN]
    fail(watch)
