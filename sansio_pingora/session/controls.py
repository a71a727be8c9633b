"""What sessions can do beyond moving their messages, by Pingora's names and for every kind of connection.

Nothing here runs for an ordinary request: its state is made when it is first asked for. What a
connection cannot do raises :class:`LocalProtocolError` and says what to use instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sansio_pingora.digests import Digest
from sansio_pingora.errors import LocalProtocolError

if TYPE_CHECKING:
    from sansio_pingora.machine import Connection
    from sansio_pingora.session.messages import CustomMessages, MessageFlow
    from sansio_pingora.transport import TransportInfo

__all__ = ["FOREVER", "SUBREQUEST", "SessionControls"]

FOREVER = 1e9
"""Seconds: no time-out, where limits are finite numbers."""
SUBREQUEST = b"subrequest"
"""The ``version`` of a connection that carries a subrequest."""
_NAMES = {b"1.1": "HTTP/1", b"2": "HTTP/2", SUBREQUEST: "a subrequest"}


class SessionControls:
    """What server and client sessions share."""

    __slots__ = ()

    _connection: Connection
    stream_id: int
    info: TransportInfo | None
    now: float

    # ── what is spoken ───────────────────────────────────────────────────────────────

    @property
    def is_http2(self) -> bool:
        """HTTP/2 is spoken."""
        return self._connection.version == b"2"

    @property
    def is_subrequest(self) -> bool:
        """It is a subrequest of this process: no transport of its own."""
        return self._connection.version == SUBREQUEST

    @property
    def is_custom(self) -> bool:
        """A protocol of the user's own is spoken."""
        return self._connection.version not in _NAMES

    def as_http1(self) -> Any:
        """The machine, if HTTP/1 is spoken."""
        return self._machine if self._connection.version == b"1.1" else None

    def as_http2(self) -> Any:
        """The machine, if HTTP/2 is spoken."""
        return self._machine if self.is_http2 else None

    def as_subrequest(self) -> Any:
        """The machine of a subrequest."""
        return self._machine if self.is_subrequest else None

    def as_custom(self) -> Any:
        """The machine, if it is the user's own."""
        return self._machine if self.is_custom else None

    @property
    def _machine(self) -> Any:
        """The one that does the work, where another stands before it."""
        return getattr(self._connection, "machine", self._connection)

    @property
    def _spoken(self) -> str:
        version = self._connection.version
        return _NAMES.get(version) or f"{version.decode('latin-1')} (a custom protocol)"

    def _cannot(self, what: str, instead: str) -> NoReturn:
        raise LocalProtocolError(f"{what} does not apply to {self._spoken}: {instead}")

    # ── the transport ────────────────────────────────────────────────────────────────

    def digest(self) -> Digest:
        """What is known of the transport, the same object for every stream of the connection: it may be changed."""
        return Digest.of(self.info)

    def digest_mut(self) -> Digest:
        """As :meth:`digest`."""
        return self.digest()

    def stream(self) -> NoReturn:
        """The transport of HTTP/1, in Pingora.

        :raises LocalProtocolError: always.
        """
        raise LocalProtocolError(
            "the transport is its driver's, and machines never see it: "
            "for opaque bytes answer with 101, or 2xx to CONNECT, and write the body"
        )

    # ── messages beside the stream ───────────────────────────────────────────────────

    def take_custom_message_reader(self) -> MessageFlow | None:
        """What the peer sends beside the HTTP stream, for the caller alone to read; None when it was taken.

        :raises LocalProtocolError: the protocol has no such messages.
        """
        return self._messages("take_custom_message_reader").take_reader()

    def restore_custom_message_reader(self, flow: MessageFlow) -> None:
        """Give back what :meth:`take_custom_message_reader` gave.

        :raises LocalProtocolError: it is not taken, or the protocol has no such messages.
        """
        self._messages("restore_custom_message_reader").restore_reader(flow)

    def take_custom_message_writer(self) -> MessageFlow | None:
        """What goes to the peer beside the HTTP stream, for the caller alone to write; None when it was taken.

        :raises LocalProtocolError: the protocol has no such messages.
        """
        return self._messages("take_custom_message_writer").take_writer()

    def restore_custom_message_writer(self, flow: MessageFlow) -> None:
        """Give back what :meth:`take_custom_message_writer` gave.

        :raises LocalProtocolError: it is not taken, or the protocol has no such messages.
        """
        self._messages("restore_custom_message_writer").restore_writer(flow)

    def finish_custom(self) -> None:
        """No more messages are written beside the HTTP stream.

        :raises LocalProtocolError: the protocol has no such messages.
        """
        self._messages("finish_custom").outbound.finish()

    def _messages(self, what: str) -> CustomMessages:
        find = getattr(self._machine, "custom_messages", None)
        messages = None if find is None else find(self.stream_id)
        if messages is None:
            self._cannot(what, "only a custom protocol has messages beside the stream")
        return messages  # type: ignore[no-any-return]  # a custom connection's
