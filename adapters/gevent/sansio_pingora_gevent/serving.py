"""The public face of the gevent runtime."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists  # gevent has no public way to ask without making one

from sansio_pingora.listeners import Admission, ConnectionFilter, ServerAddress
from sansio_pingora.machine import Application, Connection, Lane, Receiver
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_gevent.lane import HubLane
from sansio_pingora_posix import ClientCall, Control, ListeningSet, hear_signals, install_signals

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "serve"]

NAME = "gevent"
CAN_AWAIT = False
"""Whether callbacks may be ``async def``."""


def serve(
    application: Application,
    addresses: Sequence[ServerAddress],
    *,
    control: Control | None = None,
    signals: bool = True,
    grace_period: float = 30.0,
    connection_filter: ConnectionFilter | None = None,
) -> None:
    """Serve *application* on *addresses* until *control* is told to stop, or a signal comes, and all is drained.

    The calling greenlet waits; the hub of its thread works. Signals are handled in the main thread alone.

    :raises Error: an address cannot be bound; nothing is left open.
    :raises TypeError: a callback is ``async def``.
    :raises RuntimeError: the process is patched by half.
    """
    control = Control() if control is None else control
    with _finishing(control):
        application.check(NAME, can_await=CAN_AWAIT)
        admission = Admission.of(connection_filter, NAME, can_await=CAN_AWAIT)
        limits = application.limits
        policy = control.accept_policy(limits)
        # Before it is ready: a signal that comes right then must not find the old handlers.
        with _hub_signals(control) if signals else nullcontext():
            listening = ListeningSet.bind(
                addresses, control, admission=admission, patience=limits.handshake_timeout, sleep=gevent.sleep
            )
            try:
                lane = HubLane(control, grace_period, policy)
                try:
                    now = time.monotonic()
                    lane.open(application.open(lane.lane, now, time.time()), listening)
                    lane.settle(now)
                    lane.drive()
                finally:
                    lane.close()
            finally:
                listening.close()


def run(start: Callable[[Lane, float], None], *, control: Control | None = None) -> None:
    """Drive a lane without listeners: *start* gives it its first members.

    Returns when nothing is left that could happen, or *control* is told to stop.
    """
    control = Control() if control is None else control
    with _finishing(control):
        lane = HubLane(control, 0.0, until_idle=True)
        try:
            now = time.monotonic()
            start(lane.lane, now)
            lane.settle(now)
            lane.drive()
        finally:
            lane.close()


def connect(
    address: SocketAddr,
    connection: Connection,
    receiver: Receiver,
    *,
    timeout: float = 10.0,
    options: DialOptions = DialOptions(),
) -> None:
    """Drive one client connection to *address* until it closes.

    :raises Error: it cannot be connected within *timeout* seconds.
    """
    call = ClientCall(address, connection, receiver, timeout=timeout, options=options)
    run(call.start)
    call.raise_for_error()


@contextmanager
def _finishing(control: Control) -> Iterator[None]:
    """Around everything that a runtime does."""
    hub_was_there = get_hub_if_exists() is not None
    try:
        _refuse_half_patched()
        yield
    finally:
        control.finish()  # before the hub goes: whoever stops us is to ring at nothing that is gone
        if not hub_was_there and threading.current_thread() is not threading.main_thread():
            # A hub that came with us in this thread goes with us: gevent does not end it with the thread.
            gevent.get_hub().destroy()


def _refuse_half_patched() -> None:
    patched = {name: monkey.is_module_patched(name) for name in ("socket", "threading")}
    if len(set(patched.values())) > 1:
        done = next(name for name, is_patched in patched.items() if is_patched)
        left = next(name for name, is_patched in patched.items() if not is_patched)
        raise RuntimeError(
            f"gevent.monkey has replaced {done} and not {left}: a greenlet that waits in one would block all others in "
            "the other, for ever. Call gevent.monkey.patch_all() before everything else, or do not patch at all"
        )


@contextmanager
def _hub_signals(control: Control) -> Iterator[None]:
    """Handle signals at once: the hub waits in C, where Python's handlers do not run until something wakes it."""

    def watch(hear: Callable[[], object], ear: socket.socket) -> Callable[[], object]:
        watcher = gevent.get_hub().loop.io(ear.fileno(), 1)
        watcher.start(hear)

        def forget() -> None:
            watcher.stop()
            watcher.close()

        return forget

    with hear_signals(watch), install_signals(control):
        yield
