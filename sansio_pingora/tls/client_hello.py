"""What a client offers in its first message, read before anything is decided (RFC 8446 section 4.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClientHello", "HelloFault", "HelloReader", "NotTls"]

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_MAX_RECORD = 16_384
_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_SERVER_NAME, _GROUPS, _FORMATS, _SIGNATURES, _ALPN, _SUPPORTED_VERSIONS = 0, 10, 11, 13, 16, 43


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client can speak and whom it wants. Numbers are those of the IANA registries, in the client's order."""

    server_name: str | None
    """The name that it wants (SNI), in lower case; None when it says none."""
    alpn: tuple[str, ...]
    """Protocols, the preferred first."""
    versions: tuple[int, ...]
    """TLS versions: 0x0304 is TLS 1.3."""
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    """Of the key exchange."""
    point_formats: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    legacy_version: int
    """What the message itself says, 0x0303 since TLS 1.2; with the lists above it is what fingerprints are made of."""

    @property
    def version_names(self) -> tuple[str, ...]:
        """The versions as OpenSSL spells them; without those that are only there to be ignored (RFC 8701)."""
        return tuple(_VERSIONS[version] for version in self.versions if version in _VERSIONS)


class HelloFault(Exception):
    """The bytes are none; ``alert`` is what TLS says to that."""

    def __init__(self, reason: str, alert: int = 50) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert
        """50: decode_error, 22: record_overflow."""


class NotTls(Exception):
    """The bytes are no TLS at all: *is_http* tells whether they begin a request without it."""

    def __init__(self, *, is_http: bool) -> None:
        super().__init__("a request without TLS" if is_http else "no TLS")
        self.is_http = is_http


class HelloReader:
    """Takes the first bytes of a connection until the whole message is there, *ceiling* bytes at most.

    It may lie in any number of records, and come in any pieces; the cost is linear in its size.
    """

    __slots__ = ("_at", "_ceiling", "_message", "raw")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._at = 0  # where in raw the next record begins
        self._message = bytearray()
        self.raw = bytearray()
        """All that came, to be given to what speaks TLS."""

    def feed(self, data: bytes) -> ClientHello | None:
        """More bytes; the message once it is whole.

        :raises NotTls: they are none of TLS.
        :raises HelloFault: they are, and no ClientHello.
        """
        raw = self.raw
        raw += data
        message = self._message
        while len(raw) >= self._at + 5:
            size = self._record(raw, self._at)
            if len(raw) < self._at + 5 + size:
                break
            message += raw[self._at + 5 : self._at + 5 + size]
            self._at += 5 + size
            if message[0] != _CLIENT_HELLO:
                raise HelloFault(f"handshake message {message[0]} where a ClientHello belongs", 10)
            if len(message) >= 4:
                end = 4 + int.from_bytes(message[1:4])
                if end > self._ceiling:
                    raise HelloFault(f"a ClientHello of {end} bytes, more than max_client_hello={self._ceiling}", 22)
                if len(message) >= end:
                    return _parse(bytes(message[4:end]))
        if len(raw) - self._at < 5:
            self._judge_start(raw)
        if len(raw) > 2 * self._ceiling:  # in records so small that their headers outweigh it
            raise HelloFault(f"more than {2 * self._ceiling} bytes, and no whole ClientHello in them", 22)
        return None

    def _record(self, raw: bytearray, at: int) -> int:
        if raw[at] != _HANDSHAKE or raw[at + 1] != 3:
            if at == 0:
                raise NotTls(is_http=_is_request(raw))
            raise HelloFault(f"a record of type {raw[at]} within the ClientHello", 10)
        size = int.from_bytes(raw[at + 3 : at + 5])
        if not 0 < size <= _MAX_RECORD:
            raise HelloFault(f"a record of {size} bytes", 50 if not size else 22)
        return size

    def _judge_start(self, raw: bytearray) -> None:
        """A single byte that cannot begin a record is enough."""
        if self._at == 0 and raw and raw[0] != _HANDSHAKE and (len(raw) >= 4 or not raw[:1].isalpha()):
            raise NotTls(is_http=_is_request(raw))


def _is_request(raw: bytearray) -> bool:
    """It looks like the line of an HTTP/1 request, or like the preface of HTTP/2."""
    method = bytes(raw[:24]).split(b" ", 1)[0]
    return method.isalpha() and method.isupper()


class _Cursor:
    """Vectors of TLS, each with its length before it."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    def __bool__(self) -> bool:
        return self._at < self._end

    def take(self, size: int) -> bytes:
        at = self._at
        if self._end - at < size:
            raise HelloFault("a ClientHello whose lengths do not fit together")
        self._at = at + size
        return self._data[at : at + size]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, width: int) -> _Cursor:
        return _Cursor(self.take(self.number(width)))

    def text(self, width: int) -> str:
        return self.take(self.number(width)).decode("latin-1")

    def numbers(self, size: int) -> tuple[int, ...]:
        found = []
        while self:
            found.append(self.number(size))
        return tuple(found)


def _parse(body: bytes) -> ClientHello:
    cursor = _Cursor(body)
    legacy = cursor.number(2)
    cursor.take(32)  # random
    session_id = cursor.number(1)
    if session_id > 32:
        raise HelloFault("a session id of more than 32 bytes")
    cursor.take(session_id)
    ciphers = cursor.vector(2).numbers(2)
    cursor.vector(1)  # compression
    found: dict[int, _Cursor] = {}
    if cursor:
        extensions = cursor.vector(2)
        if cursor:
            raise HelloFault("bytes behind the ClientHello")
        while extensions:
            kind = extensions.number(2)
            if kind in found:
                raise HelloFault(f"extension {kind} twice", 47)  # illegal_parameter, RFC 8446 section 4.2
            found[kind] = extensions.vector(2)
    order = tuple(found)
    versions = found[_SUPPORTED_VERSIONS].vector(1).numbers(2) if _SUPPORTED_VERSIONS in found else (legacy,)
    return ClientHello(
        server_name=_server_name(found.get(_SERVER_NAME)),
        alpn=_alpn(found.get(_ALPN)),
        versions=versions,
        ciphers=ciphers,
        extensions=order,
        groups=found[_GROUPS].vector(2).numbers(2) if _GROUPS in found else (),
        point_formats=found[_FORMATS].vector(1).numbers(1) if _FORMATS in found else (),
        signature_algorithms=found[_SIGNATURES].vector(2).numbers(2) if _SIGNATURES in found else (),
        legacy_version=legacy,
    )


def _server_name(extension: _Cursor | None) -> str | None:
    """RFC 6066 section 3: a list, of which the entry of type 0 is a DNS name."""
    if not extension:
        return None
    names = extension.vector(2)
    while names:
        kind, name = names.number(1), names.text(2)
        if kind == 0:
            if not name or not name.isascii() or "\0" in name:
                raise HelloFault("a server name that is none", 47)
            return name.lower()
    return None


def _alpn(extension: _Cursor | None) -> tuple[str, ...]:
    """RFC 7301 section 3.1."""
    if extension is None:
        return ()
    names, found = extension.vector(2), []
    while names:
        name = names.text(1)
        if not name:
            raise HelloFault("an empty protocol name")
        found.append(name)
    return tuple(found)
