"""The public face of the threads runtime."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext

from sansio_pingora.listeners import Admission, ConnectionFilter, ServerAddress
from sansio_pingora.machine import Application, Connection, Lane, Receiver
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_posix import ClientCall, Control, ListeningSet, Workers, install_signals
from sansio_pingora_threads.lane import ThreadLane

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "serve"]

NAME = "threads"
CAN_AWAIT = False
"""Whether callbacks may be ``async def``."""


def serve(
    application: Application,
    addresses: Sequence[ServerAddress],
    *,
    control: Control | None = None,
    signals: bool = True,
    grace_period: float = 30.0,
    threads: int = 1,
    connection_filter: ConnectionFilter | None = None,
) -> None:
    """Serve *application* on *addresses* until *control* is told to stop, or a signal comes, and all is drained.

    The first of *threads* lanes runs in the calling thread. Signals are handled in the main thread alone.

    :raises Error: an address cannot be bound; nothing is left open.
    :raises TypeError: a callback is ``async def``.
    :raises RuntimeError: gevent has turned this process's threads into greenlets.
    """
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    control = Control() if control is None else control
    with _finishing(control):
        _refuse_patched()
        application.check(NAME, can_await=CAN_AWAIT)
        admission = Admission.of(connection_filter, NAME, can_await=CAN_AWAIT)
        patience = application.limits.handshake_timeout
        # Before it is ready: a signal that comes right then must not find the old handlers.
        with install_signals(control) if signals else nullcontext():
            listening = ListeningSet.bind(addresses, control, admission=admission, patience=patience, lanes=threads)
            try:
                _serve_lanes(application, listening, control, grace_period, threads)
            finally:
                listening.close()


def run(start: Callable[[Lane, float], None], *, control: Control | None = None) -> None:
    """Drive a lane without listeners: *start* gives it its first members.

    Returns when nothing is left that could happen, or *control* is told to stop.
    """
    control = Control() if control is None else control
    with _finishing(control):
        _refuse_patched()
        workers = Workers()
        try:
            with closing(ThreadLane(workers)) as lane:
                control.on_stop(lane.wake)
                now = time.monotonic()
                start(lane.lane, now)
                lane.settle(now)
                lane.loop(control, 0.0, until_idle=True)
        finally:
            workers.close()


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


def _serve_lanes(
    application: Application, listening: ListeningSet, control: Control, grace_period: float, threads: int
) -> None:
    workers = Workers()
    failures: list[BaseException] = []

    def drive(number: int) -> None:
        try:
            # A lane and its machines are made in the thread that drives them.
            with closing(ThreadLane(workers, control.accept_policy(application.limits, number, threads))) as lane:
                control.on_stop(lane.wake)
                now = time.monotonic()
                lane.open(application.open(lane.lane, now, time.time()), listening)
                lane.settle(now)
                lane.loop(control, grace_period)
        except BaseException as exc:  # raised again in the calling thread
            failures.append(exc)
            control.stop(graceful=False)

    others: list[threading.Thread] = []
    try:
        for number in range(1, threads):
            thread = threading.Thread(target=drive, args=(number,), name=f"sansio-pingora-lane-{number}")
            thread.start()
            others.append(thread)
        drive(0)
    except BaseException:  # the system gives no more threads, for one
        control.stop(graceful=False)
        raise
    finally:
        for thread in others:
            thread.join()
        workers.close()
    if failures:
        raise failures[0]


@contextmanager
def _finishing(control: Control) -> Iterator[None]:
    try:
        yield
    finally:
        control.finish()


def _refuse_patched() -> None:
    # Looked up only where gevent is loaded already: nobody else has patched anything.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise RuntimeError(
            "gevent.monkey has replaced the threading module, so that threads would be greenlets of one thread: "
            "use the gevent runtime, or do not patch"
        )
