"""serve, connect, run: lanes on event loops, from bind to the last transport closed."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

import anyio

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.listeners import AcceptPolicy, Admission, ConnectionFilter, ServerAddress
from sansio_pingora.machine import Application, Connection, Lane, Receiver
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_asyncio.lane import AsyncioLane
from sansio_pingora_posix import ClientCall, Control, ListeningSet, Stop, hear_signals, install_signals

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "run_async", "serve", "serve_async"]

NAME = "asyncio"
"""What users type to choose this runtime."""
CAN_AWAIT = True
"""Whether callbacks may be ``async def``."""

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
    with install_signals(control) if signals else nullcontext():
        main = partial(serve_async, application, addresses, control=control, grace_period=grace_period)
        _run(partial(main, connection_filter=connection_filter), uvloop)


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
    :raises ValueError: a listener has an option that this runtime cannot obey.
    """
    control = Control() if control is None else control
    try:
        application.check(NAME, can_await=CAN_AWAIT)
        _refuse_timestamps(addresses)
        admission = Admission.of(connection_filter, NAME, can_await=CAN_AWAIT)
        limits = application.limits
        policy = control.accept_policy(limits)
        bind = partial(ListeningSet.bind, addresses, control, admission=admission, patience=limits.handshake_timeout)
        listening = await _bind(bind)
        try:
            async with _open_lane(control, grace_period, policy, listening) as lane:
                now = time.monotonic()
                lane.end.gate = listening.gate(lane.lane)
                lane.end.acceptor = application.open(lane.lane, now, time.time())
                lane.settle(now)
                for listener in listening.listeners:
                    lane.add_listener(listener)
                await lane.ended.wait()
        finally:
            listening.close()
    finally:
        control.finish()


def _refuse_timestamps(addresses: Sequence[ServerAddress]) -> None:
    for address in addresses:
        if address.options.timestamps:
            raise ValueError(
                f"option timestamps of {address} has no effect on asyncio, whose loops read by themselves: "
                "leave it out, or choose runtime='threads' or 'gevent'"
            )


def run(start: Start, *, control: Control | None = None, uvloop: bool | None = None) -> None:
    """Drive a lane without listeners in an event loop of its own: *start* gives it its first members.

    Returns when nothing is left that could happen, or *control* is told to stop.
    """
    _run(partial(run_async, start, control=control), uvloop)


async def run_async(start: Start, *, control: Control | None = None) -> None:
    """:func:`run` in the running loop, which may do other work. Cancelling it aborts all."""
    control = Control() if control is None else control
    try:
        async with _open_lane(control, 0.0) as lane:
            now = time.monotonic()
            start(lane.lane, now)
            lane.settle(now)
            lane.end_when_idle()
            await lane.ended.wait()
    finally:
        control.finish()


def connect(
    address: SocketAddr,
    connection: Connection,
    receiver: Receiver,
    *,
    timeout: float = 10.0,
    options: DialOptions = DialOptions(),
    uvloop: bool | None = None,
) -> None:
    """Drive one client connection to *address* until it closes.

    :raises Error: it cannot be connected within *timeout* seconds.
    """
    call = ClientCall(address, connection, receiver, timeout=timeout, options=options)
    run(call.start, uvloop=uvloop)
    call.raise_for_error()


def _run(main: Callable[[], Coroutine[Any, Any, None]], uvloop: bool | None) -> None:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise LocalProtocolError("this call blocks, and a loop runs in this thread: await serve_async() or run_async()")
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if uvloop or (uvloop is None and find_spec("uvloop") is not None):
        from uvloop import new_event_loop as loop_factory  # an extra
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_alert(main))


async def _alert(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """*main*, in a loop that signals wake up: uvloop sees to that itself, asyncio only for handlers of its own."""
    loop = asyncio.get_running_loop()

    def watch(hear: Callable[[], object], ear: socket.socket) -> Callable[[], object]:
        loop.add_reader(ear, hear)
        return partial(loop.remove_reader, ear)

    with hear_signals(watch):
        await main()


async def _bind(bind: Callable[[], ListeningSet]) -> ListeningSet:
    """In a thread: names are resolved, and an address in use is waited for."""
    binding = asyncio.get_running_loop().run_in_executor(None, bind)
    try:
        return await asyncio.shield(binding)
    except asyncio.CancelledError:
        binding.add_done_callback(_unbind)
        raise


def _unbind(binding: asyncio.Future[ListeningSet]) -> None:
    if binding.exception() is None:
        binding.result().close()


@asynccontextmanager
async def _open_lane(
    control: Control,
    grace_period: float,
    policy: AcceptPolicy | None = None,
    listening: ListeningSet | None = None,
) -> AsyncIterator[AsyncioLane]:
    """A lane that obeys *control*, and of which nothing is left at the end."""
    lane = AsyncioLane(policy)

    def obey() -> None:
        if control.asked is Stop.NOW:
            lane.abort(time.monotonic())
        else:
            lane.drain(grace_period, time.monotonic(), keep_idle=control.keep_idle)
        if listening is not None:
            listening.close()  # at once: clients had better be refused than wait in a backlog that nobody empties

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended meanwhile
            lane.loop.call_soon_threadsafe(obey)

    try:
        control.on_stop(wake)
        yield lane
    finally:
        with anyio.CancelScope(shield=True):
            await lane.close()
