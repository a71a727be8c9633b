"""A stand-in for the TLS library whose bytes are equal in every run: no secrets, no randomness, nothing hidden.

OpenSSL draws random numbers, and its messages differ between versions, so that a trace with it would be another each
time. This has the shape of :mod:`ssl` as far as :mod:`sansio_pingora.tls` drives it: real records, a real ClientHello,
certificates that parse, ALPN, tickets, alerts, and a checksum where TLS has its seal. So the layers, their clocks and
their ends are the real ones, and only what is below them is not.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from sansio_pingora.tls import Certificate, ClientHello, ClientSettings, HelloFault, HelloReader, NotTls, ServerSettings
from sansio_pingora.upstreams import CaCerts, CertKey

__all__ = ["TlsLibrary", "TlsSession", "authority", "issue"]

ALERT, HANDSHAKE, DATA = 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _TICKET, _FINISHED = 1, 2, 4, 20
_CLOSE_NOTIFY, _BAD_RECORD, _BAD_CERTIFICATE = 0, 20, 42
_RECORD = 16_384
_TAG = 16
_HIDDEN = bytes(255 - byte for byte in range(256))
"""What stands for encryption: a reader that looks below TLS finds no HTTP there."""


def issue(name: str, authority: str = "main") -> CertKey:
    """A certificate for *name*; who trusts *authority* believes it."""
    alg = _der(0x30, _der(0x06, b"\x2a"))
    owner = _der(0x30, _der(0x31, _der(0x30, _der(0x06, b"\x55\x04\x0a") + _der(0x0C, authority.encode()))))
    names = _der(0x30, _der(0x82, name.encode()))
    extension = _der(0x30, _der(0x06, b"\x55\x1d\x11") + _der(0x04, names))
    body = _der(0x02, b"\x01") + alg + owner + _der(0x30, b"") + owner + _der(0xA3, _der(0x30, extension))
    der = _der(0x30, _der(0x30, body) + alg)
    return CertKey(ssl.DER_cert_to_PEM_cert(der).encode(), b"-----BEGIN PRIVATE KEY-----")


def authority(name: str = "main") -> CaCerts:
    """Trust in what *name* issues."""
    return CaCerts(issue("authority", name).cert)


def _der(tag: int, value: bytes) -> bytes:
    size = len(value)
    return bytes((tag, size) if size < 128 else (tag, 0x82, size >> 8, size & 255)) + value


def _fault(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, reason)
    error.reason = reason
    return error


class TlsLibrary:
    """Makes contexts, as :class:`sansio_pingora.tls.TlsBackend` wants them; knows every session."""

    def __init__(self) -> None:
        self.sessions: list[TlsSession] = []

    def server_context(self, settings: ServerSettings) -> Any:
        """See :class:`sansio_pingora.tls.TlsBackend`."""
        return _Context(self, settings)

    def client_context(self, settings: ClientSettings) -> Any:
        """See :class:`sansio_pingora.tls.TlsBackend`."""
        return _Context(self, settings)


class _Context:
    def __init__(self, library: TlsLibrary, settings: ServerSettings | ClientSettings) -> None:
        self.library = library
        self.settings = settings

    def session_stats(self) -> dict[str, int]:
        return {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> TlsSession:
        return TlsSession(self, incoming, outgoing, server_hostname)


class TlsSession:
    """One side of a session, between two buffers: what :class:`ssl.SSLObject` is."""

    def __init__(
        self,
        context: _Context,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_hostname: str | bytes | None,
    ) -> None:
        self.server_hostname = server_hostname
        self.audit: list[tuple[int, int, bytes]] = []
        """For oracles, as that of an :class:`.link.End`: of each write, what was written and read before it."""
        self.peer: TlsSession | None = None
        """The other side, of a server's once it has heard the client."""
        self.session: Any = None
        """A ticket to resume with."""
        self.session_reused = False
        self._settings = context.settings
        self._library = context.library
        self._number = len(context.library.sessions)
        context.library.sessions.append(self)
        self._incoming, self._outgoing = incoming, outgoing
        self._raw = bytearray()
        self._plain = b""
        self._said_hello = self._done = self._ended = self._said_end = False
        self._alpn: str | None = None
        self._certificate = b""
        self._sent = self._received = 0  # records, in each direction
        self._read = self._written = 0

    # ── what a handshake came to ─────────────────────────────────────────────────────

    def cipher(self) -> tuple[str, str, int]:
        """Its name, version and bits."""
        return "SIMULATED", "TLSv1.3", 0

    def version(self) -> str:
        """As OpenSSL has it."""
        return "TLSv1.3"

    def getpeercert(self, binary_form: bool = True) -> bytes:
        """As DER."""
        return self._certificate

    def selected_alpn_protocol(self) -> str | None:
        """What was agreed on."""
        return self._alpn

    # ── the handshake ────────────────────────────────────────────────────────────────

    def do_handshake(self) -> None:
        """Go on as far as what has come allows.

        :raises ssl.SSLWantReadError: more has to come.
        :raises ssl.SSLError: it has failed; the alert is in the outgoing buffer.
        """
        if isinstance(self._settings, ServerSettings):
            self._serve(self._settings)
        else:
            self._ask(self._settings)
        self._done = True

    def _ask(self, settings: ClientSettings) -> None:
        if not self._said_hello:
            self._said_hello = True
            self._put(HANDSHAKE, _message(_CLIENT_HELLO, self._hello(settings)))
        body = self._await(_SERVER_HELLO)
        size = body[0]
        self._alpn = body[1 : 1 + size].decode() or None
        self.session_reused = bool(body[1 + size])
        self._certificate = body[2 + size :]
        shown = Certificate.parse(self._certificate)
        if settings.verify:
            trusted = Certificate.parse(ssl.PEM_cert_to_DER_cert(settings.ca.pem.decode())) if settings.ca else None
            if trusted is None or trusted.organization != shown.organization:
                self._alert(_BAD_CERTIFICATE)
                error = _fault("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError)
                error.verify_message, error.verify_code = "unable to get local issuer certificate", 20  # type: ignore[attr-defined]  # of an SSLCertVerificationError
                raise error
        self._put(HANDSHAKE, _message(_FINISHED, bytes(12)))

    def _hello(self, settings: ClientSettings) -> bytes:
        extensions = _extension(43, _vector(b"\x03\x04", 1))
        if self.server_hostname is not None:
            name = self.server_hostname.encode() if isinstance(self.server_hostname, str) else self.server_hostname
            extensions += _extension(0, _vector(b"\0" + _vector(name)))
        if settings.alpn:
            offered = b"".join(_vector(name.encode(), 1) for name in settings.alpn)
            extensions += _extension(16, _vector(offered))
        if self.session is not None:
            extensions += _extension(35, self.session)
        return b"\x03\x03" + _number(self._number, 32) + b"\0\0\x02\x13\x01\x01\0" + _vector(extensions)

    def _serve(self, settings: ServerSettings) -> None:
        if not self._said_hello:
            self._answer(settings, self._hear())
        self._await(_FINISHED)
        for number in range(settings.tickets):
            self._seal(HANDSHAKE, b"%c%b" % (_TICKET, _number(number, 16)))

    def _hear(self) -> ClientHello:
        raw = self._incoming.read()
        reader = HelloReader(_RECORD)
        try:
            hello = reader.feed(bytes(self._raw) + raw)
        except NotTls:
            raise _fault("WRONG_VERSION_NUMBER") from None
        except HelloFault as fault:
            self._alert(fault.alert)
            raise _fault("BAD_PACKET") from None
        self._raw += raw
        if hello is None:
            raise ssl.SSLWantReadError
        size = 5 + int.from_bytes(self._raw[3:5])  # one of ours comes in one record
        self.peer = self._library.sessions[int.from_bytes(self._raw[11:43])]
        self._raw = self._raw[size:]
        self.session_reused = 35 in hello.extensions
        self.server_hostname = hello.server_name
        return hello

    def _answer(self, settings: ServerSettings, hello: ClientHello) -> None:
        self._said_hello = True
        self._alpn = next((name for name in settings.alpn if name in hello.alpn), None)
        der = ssl.PEM_cert_to_DER_cert(settings.cert_key.cert.decode())
        agreed = _vector((self._alpn or "").encode(), 1)
        self._put(HANDSHAKE, _message(_SERVER_HELLO, agreed + bytes([self.session_reused]) + der))

    def _await(self, kind: int) -> bytes:
        """The next message of the handshake, which is to be of *kind*."""
        record, body = next(self._records(), (0, b""))
        if not record:
            raise ssl.SSLWantReadError
        if record == ALERT:
            self._hear_alert(body)
        if record != HANDSHAKE or body[:1] != bytes((kind,)):
            raise _fault("UNEXPECTED_MESSAGE")
        return body[4:]

    # ── the session ──────────────────────────────────────────────────────────────────

    def read(self, size: int) -> bytes:
        """Up to *size* bytes that the peer has sent.

        :raises ssl.SSLWantReadError: none is there.
        :raises ssl.SSLZeroReturnError: none will be: the peer has said that it is done.
        :raises ssl.SSLError: what came is not of this session.
        """
        if not self._plain and not self._ended:
            for record, body in self._records():
                if self._open(record, body):
                    break
        if self._plain:
            data, self._plain = self._plain[:size], self._plain[size:]
            self._read += len(data)
            return data
        raise ssl.SSLZeroReturnError if self._ended else ssl.SSLWantReadError

    def _open(self, record: int, body: bytes) -> bool:
        """Take a record; True: there is something to tell."""
        tag = self._tag(self._received, body[:-_TAG])
        self._received += 1
        if record != DATA or len(body) <= _TAG or body[-_TAG:] != tag:
            self._alert(_BAD_RECORD)
            raise _fault("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")
        inner, kind = body[: -_TAG - 1].translate(_HIDDEN), body[-_TAG - 1]
        if kind == DATA:
            self._plain += inner
        elif kind == ALERT:
            self._hear_alert(inner)
        else:
            self.session = inner
            return False
        return True

    def write(self, data: bytes | memoryview) -> int:
        """Seal *data*."""
        data = bytes(data)
        self.audit.append((self._written, self._read, data))
        self._written += len(data)
        for at in range(0, len(data), _RECORD):
            self._seal(DATA, data[at : at + _RECORD])
        return len(data)

    def unwrap(self) -> None:
        """Say that nothing more will come.

        :raises ssl.SSLWantReadError: the peer has not said so.
        """
        if not self._said_end:
            self._said_end = True
            self._alert(_CLOSE_NOTIFY)
        if not self._ended:
            raise ssl.SSLWantReadError

    def _alert(self, alert: int) -> None:
        body = bytes((1 if alert == _CLOSE_NOTIFY else 2, alert))
        if self._done:
            self._seal(ALERT, body)
        else:
            self._put(ALERT, body)

    def _hear_alert(self, body: bytes) -> None:
        if body[1:] == b"\0":
            self._ended = True
        else:
            raise _fault(f"TLSV1_ALERT_{_ALERTS.get(body[1], 'INTERNAL_ERROR')}")

    # ── records ──────────────────────────────────────────────────────────────────────

    def _records(self) -> Iterator[tuple[int, bytes]]:
        raw = self._raw
        raw += self._incoming.read()
        while len(raw) >= 5:
            if not ALERT <= raw[0] <= DATA or raw[1] != 3:
                raise _fault("WRONG_VERSION_NUMBER")
            size = raw[3] << 8 | raw[4]
            if size > _RECORD + 256:
                raise _fault("PACKET_LENGTH_TOO_LONG")
            if len(raw) < 5 + size:
                return
            kind, body = raw[0], bytes(raw[5 : 5 + size])
            del raw[: 5 + size]
            yield kind, body

    def _seal(self, kind: int, inner: bytes) -> None:
        body = inner.translate(_HIDDEN) + bytes((kind,))
        self._put(DATA, body + self._tag(self._sent, body))
        self._sent += 1

    @staticmethod
    def _tag(number: int, body: bytes) -> bytes:
        return _number(crc32(body, number & 0xFFFF_FFFF), 4) * (_TAG // 4)

    def _put(self, kind: int, body: bytes) -> None:
        self._outgoing.write(bytes((kind, 3, 3)) + _vector(body))


_ALERTS = {_BAD_RECORD: "BAD_RECORD_MAC", _BAD_CERTIFICATE: "BAD_CERTIFICATE"}


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size)


def _vector(body: bytes, width: int = 2) -> bytes:
    """*body* behind its length."""
    return _number(len(body), width) + body


def _extension(kind: int, body: bytes) -> bytes:
    return _number(kind, 2) + _vector(body)


def _message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + _number(len(body), 3) + body
