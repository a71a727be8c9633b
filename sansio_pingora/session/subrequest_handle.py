"""Who makes a subrequest: the side that sends its body and is told the response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sansio_pingora.wire import Body, HttpTask, UpgradedBody

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.session.subrequest import SubrequestConnection

__all__ = ["SubrequestHandle", "SubrequestReceiver"]


class SubrequestReceiver(Protocol):
    """What is told of a subrequest. It may call the handle, and any machine of the lane."""

    def response_task(self, task: HttpTask, now: float) -> None:
        """A task of the response; its bytes go back with :meth:`SubrequestHandle.consumed`. ``Failed`` is the last."""

    def body_wanted(self, now: float) -> None:
        """The body is wanted from here on. Told once, if ever."""

    def request_writable(self, room: int, now: float) -> None:
        """There is room again for the body, after a ``send`` that left none."""


class SubrequestHandle:
    """The requesting side. Nothing here blocks; what is sent behind an end goes nowhere."""

    __slots__ = ("_connection", "proxy_error", "receiver", "response_done", "wants_body")

    def __init__(self, connection: SubrequestConnection) -> None:
        self._connection = connection
        self.receiver: SubrequestReceiver = _Nobody(self)
        self.wants_body = False
        """The body is wanted: what is sent before waits."""
        self.response_done = False
        """The response has ended, and its end was told; or it is not wanted any more."""
        self.proxy_error: Error | None = None
        """Why the proxy that served it failed, whatever it answered; the first error counts."""

    @property
    def room(self) -> int:
        """Bytes of the body that may be sent; 0 or less: wait."""
        return self._connection.request_room

    @property
    def request_done(self) -> bool:
        """No more of the request is wanted: it is complete, or its answer is, or it has failed."""
        return self._connection.request_done

    def send(self, task: HttpTask, now: float) -> int:
        """Send a task of the request, behind its head; returns the room left.

        A body that ends short of its Content-Length fails on both sides by ``PrematureBodyEnd``, behind what
        was sent of it; what is more than declared is cut off.

        :raises LocalProtocolError: not legal now; nothing was sent.
        """
        return self._connection.request_task(task, now)

    def finish(self, now: float) -> None:
        """End the body, or our direction of a tunnel."""
        self._connection.finish_request(now)

    def fail(self, error: Error, now: float) -> None:
        """Give the request up: its exchange fails by *error*, and the receiver hears nothing more."""
        self._connection.give_up(error, now)

    def consumed(self, size: int, now: float) -> None:
        """*size* bytes of the response were used: as many more may come.

        :raises LocalProtocolError: that many were not delivered.
        """
        self._connection.response_consumed(size, now)

    def drain_tasks(self) -> None:
        """Throw away what comes of the response from here on. The request may go on."""
        self.receiver = _Nobody(self)


class _Nobody:
    """Throws a response away."""

    __slots__ = ("_handle",)

    def __init__(self, handle: SubrequestHandle) -> None:
        self._handle = handle

    def response_task(self, task: HttpTask, now: float) -> None:
        if isinstance(task, Body | UpgradedBody):
            self._handle.consumed(len(task.data), now)

    def body_wanted(self, now: float) -> None:
        """It says so by ``wants_body``."""

    def request_writable(self, room: int, now: float) -> None:
        """It says so by ``room``."""
