"""What a connection keeps of its contract where there is no transport."""

from __future__ import annotations

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.machine import Closing, Endpoint, Event

__all__ = ["Transportless"]


class Transportless:
    """A connection whose bytes nobody sees."""

    __slots__ = ("closing", "endpoint", "shut_write", "stalled", "starved", "want_read")

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """There is no transport.

        :raises LocalProtocolError: always.
        """
        raise LocalProtocolError("a subrequest has no transport: SubrequestHandle.send takes its body")

    def data_to_send(self) -> list[bytes]:
        """No bytes ever."""
        return []

    def write_paused(self, now: float) -> None:
        """There is nothing to pause."""

    def write_resumed(self, now: float) -> list[Event]:
        """There is nothing to pause."""
        return []

    def write_progressed(self, now: float) -> None:
        """There is nothing to pause."""

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`: there is one stream, and it is open."""
        return None
