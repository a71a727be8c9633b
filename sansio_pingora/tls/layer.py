"""TLS between a transport and the connection above, on memory buffers: what both roles have in common."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from sansio_pingora.digests import Digest, SslDigest, TimingDigest
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.layers import Above, Layer
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Event
from sansio_pingora.tls.certificate import Certificate
from sansio_pingora.tls.client_hello import ClientHello
from sansio_pingora.tls.faults import handshake_error, record_error

__all__ = ["TlsHandshake", "TlsLayer"]

_RECORD = 16_384
"""The most that a record carries. Both buffers are filled and emptied by as much at a time: they keep the largest
size that they ever had, and an idle connection would keep four times as much.
"""


@dataclass(frozen=True, slots=True)
class TlsHandshake:
    """What a handshake came to, for callbacks."""

    digest: SslDigest
    server_name: str | None
    """What the client asked for (SNI)."""
    alpn: str | None
    """What was agreed on."""
    peer_certificate: bytes
    """As DER; empty when the peer showed none."""
    resumed: bool
    hello: ClientHello | None = None
    """Of the server's side: what the client offered."""


class TlsLayer(Layer):
    """One TLS session. A subclass makes the session object, and judges what the handshake came to.

    A close_notify of the peer is the end of its stream, as the end of a transport is without TLS. An end of the
    transport without it may be a cut by anybody on the way, so it ends nothing that lasts until the end (a body without
    a length, a tunnel): that has failed. What tells its own length is as complete or incomplete as it is, and an idle
    connection is merely closed (RFC 9112 section 9.8, RFC 8446 section 6.1). In the other direction close_notify goes
    out before the transport is shut or closed in good order.
    """

    __slots__ = ("_handshaken", "_incoming", "_outgoing", "_paused", "_peer_ended", "_said_goodbye", "_shut", "_ssl")

    secure = True
    waits_for = "the TLS handshake"
    timeout_type = ErrorType.TLS_HANDSHAKE_TIMEDOUT

    _ssl: ssl.SSLObject

    def __init__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> None:
        super().__init__(above, limits, digest, deadline)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._handshaken = False
        self._peer_ended = False
        self._said_goodbye = False
        self._shut = False  # the driver was told to shut the write side
        self._paused = False

    # ── for a role ───────────────────────────────────────────────────────────────────

    def _judge(self, certificate: Certificate | None) -> None:
        """The handshake is complete: look at what the peer is, by the *certificate* that it showed.

        :raises Error: it will not do.
        """

    def _completed(self, handshake: TlsHandshake) -> object:
        """Tell who wants to know; returns what they want to find in the digest."""

    def _handshake(self, now: float, failed: Exception | None = None) -> list[Event]:
        """Go on with the handshake, as far as what has come allows; *failed*: it has been, and this came of it."""
        try:
            if failed is not None:
                raise failed
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._take_output()
            return []
        except (ssl.SSLError, OSError) as exc:
            self._take_output()  # the alert
            return self._fail(handshake_error(exc, self.source), now)
        try:
            self._describe(now)
        except Error as error:
            return self._fail(error, now)  # and our last message, perhaps with our certificate, is not sent
        self._handshaken = True
        self._take_output()
        events = self._establish(now)
        return events + self._read(now)

    def _describe(self, now: float) -> None:
        session = self._ssl
        der = session.getpeercert(binary_form=True) or b""
        cipher = session.cipher()
        digest = SslDigest(cipher[0] if cipher else "", session.version() or "")
        certificate: Certificate | None = None
        if der:
            try:
                certificate = Certificate.parse(der)
            except ValueError as exc:  # OpenSSL takes what we do not
                text = "the peer's certificate cannot be read"
                raise Error(ErrorType.INVALID_CERT, text, cause=exc, esource=self.source) from None
            digest.cert_digest = sha256(der).digest()
            digest.organization, digest.serial_number = certificate.organization, certificate.serial_number
        self._judge(certificate)
        self.digest.timing_digest.append(TimingDigest(now))
        self.digest.ssl_digest = digest
        self.alpn = session.selected_alpn_protocol()
        hello = self._hello()
        name = session.server_hostname if hello is None else hello.server_name
        digest.extension.value = self._completed(
            TlsHandshake(digest, name, self.alpn, der, bool(session.session_reused), hello)
        )

    def _hello(self) -> ClientHello | None:
        return None

    # ── bytes in ─────────────────────────────────────────────────────────────────────

    def _receive(self, data: bytes, now: float) -> list[Event]:
        self._incoming.write(data)
        return self._handshake(now)

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not self._handshaken or not data:
            return super().receive_data(data, now)
        if self._closing or self._peer_ended:
            return []
        if len(data) <= _RECORD:
            self._incoming.write(data)
            return self._read(now)
        events: list[Event] = []
        view = memoryview(data)
        for at in range(0, len(data), _RECORD):
            self._incoming.write(view[at : at + _RECORD])
            events += self._read(now)
            if self._closing or self._peer_ended:
                break
        return events

    def _read(self, now: float) -> list[Event]:
        """Hand up what can be decrypted of what has come."""
        inner, read = self.inner, self._ssl.read
        assert inner is not None  # it is established
        events: list[Event] = []
        try:
            while plain := read(_RECORD):
                # Each on its own: what the first one causes may be sent while the next is decrypted.
                events += inner.receive_data(plain, now)
            self._peer_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_ended = True
        except (ssl.SSLError, OSError) as exc:
            self._take_output()
            return events + self._fail(record_error(exc, self.source), now)
        if self._peer_ended:
            return events + inner.receive_eof(now)
        if self._outgoing.pending and self._paused:
            # A new key is answered with a new key: a peer that takes no answer gets no more of them.
            error = Error(ErrorType.WRITE_ERROR, "the peer does not read the answers to its key updates")
            return events + self._fail(error, now, Closing.ABORT)
        return events

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        if not self._handshaken:
            return super().receive_eof(now)
        if self._peer_ended or self._closing:
            return []
        # Who does not say what its messages end with may rely on it.
        if not getattr(self.inner, "close_delimited", True):
            self._peer_ended = True
            assert self.inner is not None  # it is established
            return self.inner.receive_eof(now)
        text = "the transport ended without close_notify: what came may be cut short"
        return self._fail(Error(ErrorType.CONNECTION_CLOSED, text, esource=self.source), now)

    # ── bytes out ────────────────────────────────────────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        output, self._output = self._output, []
        inner = self.inner
        if self._shut:  # what the library still says, to what it cannot read or to a new key, has no way out
            self._outgoing.read()
            return []
        if inner is None or self._closing:
            return output
        for chunk in _together(inner.data_to_send()):
            self._encrypt(chunk, output)
        if (inner.closing is Closing.AFTER_FLUSH or inner.shut_write) and not self._said_goodbye:
            self._say_goodbye()
        self._shut = inner.shut_write
        if self._outgoing.pending:
            output.append(self._outgoing.read())
        return output

    def _encrypt(self, chunk: bytes, output: list[bytes]) -> None:
        write, read = self._ssl.write, self._outgoing.read
        if len(chunk) <= _RECORD:
            if chunk:
                write(chunk)
                output.append(read())
            return
        view = memoryview(chunk)
        for at in range(0, len(chunk), _RECORD):
            write(view[at : at + _RECORD])
            output.append(read())

    def _say_goodbye(self) -> None:
        """Queue close_notify (RFC 8446 section 6.1)."""
        self._said_goodbye = True
        try:
            self._ssl.unwrap()
        except (ssl.SSLError, OSError):
            pass  # the peer has not said it yet, and need not

    def _take_output(self) -> None:
        if self._outgoing.pending:
            self._output.append(self._outgoing.read())

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""
        self._paused = True
        super().write_paused(now)

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        self._paused = False
        return super().write_resumed(now)

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, and what stands above."""
        return self._incoming.pending + self._outgoing.pending + sum(map(len, self._output)) + super().held


def _together(chunks: list[bytes]) -> Iterator[bytes]:
    """*chunks*, small ones joined as far as they fit in a record: each record costs 22 bytes and a call."""
    small: list[bytes] = []
    size = 0
    for chunk in chunks:
        if size + len(chunk) > _RECORD and small:
            yield b"".join(small)
            small, size = [], 0
        if len(chunk) >= _RECORD:
            yield chunk
        else:
            small.append(chunk)
            size += len(chunk)
    if small:
        yield b"".join(small)
