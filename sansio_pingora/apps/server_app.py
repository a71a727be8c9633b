"""Applications over raw streams: bytes in, bytes out, no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps.streams import StreamAcceptor
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Acceptor, Lane
from sansio_pingora.session import Form, check_callbacks, check_form, form_of

if TYPE_CHECKING:
    from sansio_pingora.apps.streams import RawStream
    from sansio_pingora.errors import Error

__all__ = ["EchoApp", "RawService", "ServerApp"]

_CALLBACKS = ("process_new", "received", "finished", "writable", "lost")


class ServerApp:
    """Serves whole connections: one object for all of them.

    ``process_new`` begins with each connection, in the forms of
    :class:`~sansio_pingora.apps.HttpServerApp`: plain with the callbacks below, or with a
    generator of effects returned; a generator of effects; ``async def`` on asyncio. ``ReadBody``
    gives the next bytes or None when the peer has finished, ``Drain`` waits for room. When a
    callback that waits is over, what it wrote is sent and the connection closed.

    What was read too far may be pushed back (:meth:`RawStream.push_back`): the plain form gets it again in front of the
    bytes that come next, the others with their next ``ReadBody``, a piece each.

    A connection on which nothing passes for ``read_timeout``, while we read, is closed.
    """

    def process_new(self, stream: RawStream) -> Awaitable[None] | Generator[Any, Any, None] | None:
        """A client has connected."""

    def received(self, stream: RawStream, data: bytes) -> None:
        """Plain form: bytes came. The peer may send as many more once this has returned and there is room to write."""

    def finished(self, stream: RawStream) -> None:
        """Plain form: the peer sends no more. The connection closes when both sides have finished."""
        stream.finish()

    def writable(self, stream: RawStream) -> None:
        """Plain form: there is room again, after a write that left none."""

    def lost(self, stream: RawStream, error: Error) -> None:
        """Plain form: the connection broke before both sides had finished."""


class EchoApp(ServerApp):
    """Sends back what it gets, and finishes when the peer does."""

    def received(self, stream: RawStream, data: bytes) -> None:
        """Send it back: the peer's credit is held until there is room for it."""
        stream.write(data)


class RawService:
    """A :class:`ServerApp` as an application that an adapter serves."""

    def __init__(self, app: ServerApp, limits: Limits | None = None) -> None:
        """Settle the form.

        :raises TypeError: *app* is none, or of a form that it cannot have, or a callback's name or arguments are wrong.
        """
        if not isinstance(app, ServerApp):
            raise TypeError(f"{app!r} is not a ServerApp")
        check_callbacks(app, ServerApp, _CALLBACKS)
        self.limits = limits or Limits()
        self._app = app
        self._name = f"{type(app).__name__}.process_new"
        self._form = form_of(app.process_new, app)
        if self._form is Form.BLOCKING:
            raise TypeError(
                f"{self._name} is marked @blocking, but a stream is not for other threads: "
                "yield Call(function) from a generator"
            )

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        check_form(self._name, self._form, runtime, can_await=can_await)

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """See :meth:`sansio_pingora.machine.Application.open`."""
        return StreamAcceptor(self._app, self._name, self._form, self.limits, lane, now)
