"""serve, connect, run: lanes on event loops, from bind to the last transport closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any

import anyio
import anyio.to_thread

from sansio_pingora.listeners import AcceptPolicy, ConnectionFilter, ServerAddress
from sansio_pingora.machine import Application, Connection, Lane, Receiver
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_asyncio.lane import AsyncioLane
from sansio_pingora_posix import ClientCall, Control, Listener, Stop, bind, install_signals

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "run_async", "serve", "serve_async"]

NAME = "asyncio"
"""What users type to choose this runtime."""
CAN_AWAIT = True
"""Whether ``async def`` callbacks can run here."""

Start = Callable[[Lane, float], object]
"""Puts the first machines on a lane, at a time in monotonic seconds."""


def serve(
    application: Application,
    addresses: Sequence[ServerAddress],
    *,
    control: Control | None = None,
    signals: bool = True,
    grace_period: float = 30.0,
    connection_filter: ConnectionFilter | None = None,
    uvloop: bool | None = None,
) -> None:
    """Serve *application* on *addresses* in an event loop of its own, until *control* or a signal stops it.

    Works in any thread; signals reach the main thread alone. *uvloop* None: where it is installed.

    :raises Error: an address cannot be bound; nothing is left open.
    :raises TypeError: the application does not fit this runtime.
    """
    control = Control() if control is None else control
    with ExitStack() as stack:
        if signals:
            stack.enter_context(install_signals(control))
        main = serve_async(
            application,
            addresses,
            control=control,
            grace_period=grace_period,
            connection_filter=connection_filter,
        )
        _run(main, uvloop)


async def serve_async(
    application: Application,
    addresses: Sequence[ServerAddress],
    *,
    control: Control | None = None,
    grace_period: float = 30.0,
    connection_filter: ConnectionFilter | None = None,
) -> None:
    """:func:`serve` in the running loop, which may do other work. It handles no signals; cancelling it aborts all.

    :raises Error: an address cannot be bound; nothing is left open.
    :raises TypeError: the application does not fit this runtime.
    """
    control = Control() if control is None else control
    try:
        application.check(NAME, can_await=CAN_AWAIT)
        limits = application.limits
        policy = AcceptPolicy(max_connections=limits.max_connections, accept_rate=limits.accept_rate)
        async with AsyncExitStack() as stack:
            listeners = await _bind_all(addresses, connection_filter, stack)
            lane = await stack.enter_async_context(_open_lane(control, grace_period, policy))
            lane.acceptor = application.open(lane.lane, time.monotonic(), time.time())
            for listener in listeners:
                lane.add_listener(listener)
            control.addresses = [str(listener) for listener in listeners]
            control.ready.set()
            await lane.ended.wait()
    finally:
        control.finish()


def run(
    start: Start, *, control: Control | None = None, grace_period: float = 30.0, uvloop: bool | None = None
) -> None:
    """Drive what *start* puts on a lane in an event loop of its own, until nothing can happen any more.

    A stopped *control* drains the connections first.
    """
    _run(run_async(start, control=control, grace_period=grace_period), uvloop)


async def run_async(start: Start, *, control: Control | None = None, grace_period: float = 30.0) -> None:
    """:func:`run` in the running loop, which may do other work. Cancelling it aborts all."""
    control = Control() if control is None else control
    try:
        async with _open_lane(control, grace_period) as lane:
            now = time.monotonic()
            start(lane.lane, now)
            lane.settle(now)
            lane.end_when_idle()
            control.ready.set()
            await lane.ended.wait()
    finally:
        control.finish()


def connect(
    address: SocketAddr,
    connection: Connection,
    receiver: Receiver,
    *,
    timeout: float = 10.0,
    options: DialOptions | None = None,
    uvloop: bool | None = None,
) -> None:
    """Connect *connection* to *address* and drive it until it has closed; *receiver* gets its events.

    :raises Error: it cannot be connected within *timeout* seconds.
    """
    call = ClientCall(address, connection, receiver, timeout=timeout, options=options)
    run(call.start, uvloop=uvloop)
    call.raise_for_error()


def _run(main: Coroutine[Any, Any, None], uvloop: bool | None) -> None:
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if uvloop or (uvloop is None and find_spec("uvloop") is not None):
        from uvloop import new_event_loop as loop_factory  # an extra
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main)


async def _bind_all(
    addresses: Sequence[ServerAddress], connection_filter: ConnectionFilter | None, stack: AsyncExitStack
) -> list[Listener]:
    listeners: list[Listener] = []
    for address in addresses:
        # In a thread: names are resolved, and an address in use is waited for.
        sock = await anyio.to_thread.run_sync(bind, address)
        listener = Listener(sock, address, connection_filter)
        stack.callback(listener.close)
        listeners.append(listener)
    return listeners


@asynccontextmanager
async def _open_lane(
    control: Control, grace_period: float, policy: AcceptPolicy | None = None
) -> AsyncIterator[AsyncioLane]:
    """A lane that obeys *control*, and of which nothing is left at the end."""
    lane = AsyncioLane(policy)

    def obey() -> None:
        if control.asked is Stop.NOW:
            lane.abort(time.monotonic())
        else:
            lane.drain(grace_period, time.monotonic())

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended meanwhile
            lane.loop.call_soon_threadsafe(obey)

    try:
        control.on_stop(wake)
        yield lane
    finally:
        with anyio.CancelScope(shield=True):
            await lane.close()
