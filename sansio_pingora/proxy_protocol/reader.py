"""A PROXY protocol header from bytes: told from other protocols at once, refused by name, never read past its end."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.proxy_protocol.header import PROXY_SIGNATURE, UNIX_PATH_SIZE, ProxyHeader
from sansio_pingora.proxy_protocol.tlv import MAX_UNIQUE_ID, ProxyTlv, TlvType, crc32c, read_tlvs
from sansio_pingora.transport import SocketAddr

__all__ = ["MAX_PROXY_HEADER", "NoProxyHeader", "ReadProxyHeader", "read_proxy_header"]

MAX_PROXY_HEADER: Final = 536
"""Bytes of a header: what the smallest TCP segment carries, so that a sender may send it as one (section 2)."""
_MAX_LINE = 107
"""Bytes of a v1 line with its CRLF: the longest that can be (section 2.1)."""
_LINE = b"PROXY "
_FIXED = 16
_ADDRESSES = {0: 0, 1: 12, 2: 36, 3: 2 * UNIX_PATH_SIZE}
_FAMILIES = {1: "IPv4", 2: "IPv6", 3: "Unix"}


@dataclass(frozen=True, slots=True)
class ReadProxyHeader:
    """A whole header was there, in the first *size* bytes."""

    header: ProxyHeader
    size: int


@dataclass(frozen=True, slots=True)
class NoProxyHeader:
    """These bytes begin something else."""


NO_HEADER = NoProxyHeader()


def read_proxy_header(data: bytes, *, limit: int = MAX_PROXY_HEADER) -> ReadProxyHeader | NoProxyHeader | None:
    """The header that *data* begins with; None while it is not all there.

    The answer depends on the bytes alone and not on how many come at once. *limit*: bytes of a v2
    header; a v1 line has 107 at most.

    :raises Error: ``HANDSHAKE_ERROR``, a header that breaks the rules or is too long.
    """
    if data.startswith(_LINE):
        return _read_line(data)
    if data.startswith(PROXY_SIGNATURE):
        return _read_binary(data, limit)
    if _LINE.startswith(data) or PROXY_SIGNATURE.startswith(data):
        return None
    return NO_HEADER


def _refusal(version: int, text: str) -> Error:
    return Error(ErrorType.HANDSHAKE_ERROR, f"PROXY v{version} header: {text}").into_down()


# ── version 1 ────────────────────────────────────────────────────────────────────────


def _read_line(data: bytes) -> ReadProxyHeader | None:
    at = data.find(b"\n", 0, _MAX_LINE)
    if at < 0:
        if len(data) >= _MAX_LINE:
            raise _refusal(1, f"no line end within {_MAX_LINE} bytes")
        return None
    if data[at - 1 : at] != b"\r":
        raise _refusal(1, "the line ends with LF instead of CRLF")
    words = data[: at - 1].split(b" ")
    if words[1] == b"UNKNOWN":  # what follows it says nothing (section 2.1)
        return ReadProxyHeader(ProxyHeader(1), at + 1)
    if words[1] not in {b"TCP4", b"TCP6"}:
        raise _refusal(1, f"protocol {_shown(words[1])} is not TCP4, TCP6 or UNKNOWN")
    if len(words) != 6:
        raise _refusal(1, f"{len(words) - 2} words behind {words[1].decode()}, not the two addresses and two ports")
    hosts = [_host(word, role, words[1]) for word, role in ((words[2], "source"), (words[3], "destination"))]
    ports = [_port(word, role) for word, role in ((words[4], "source"), (words[5], "destination"))]
    return ReadProxyHeader(ProxyHeader(1, SocketAddr(hosts[0], ports[0]), SocketAddr(hosts[1], ports[1])), at + 1)


def _host(word: bytes, role: str, protocol: bytes) -> str:
    try:
        text = word.decode("ascii")
        if "%" not in text:  # a zone, which IPv6Address would take
            return str(IPv4Address(text) if protocol == b"TCP4" else IPv6Address(text))
    except (UnicodeDecodeError, AddressValueError):
        pass
    family = "IPv4" if protocol == b"TCP4" else "IPv6"
    raise _refusal(1, f"{role} {_shown(word)} is not an {family} address")


def _port(word: bytes, role: str) -> int:
    # Without leading zeros, which some read as octal (section 2.1).
    if word.isdigit() and len(word) <= 5 and (word == b"0" or word[:1] != b"0") and int(word) <= 65_535:
        return int(word)
    raise _refusal(1, f"{role} port {_shown(word)} is not a number from 0 to 65535 without leading zeros")


def _shown(word: bytes) -> str:
    return repr(word)[1:]


# ── version 2 ────────────────────────────────────────────────────────────────────────


def _read_binary(data: bytes, limit: int) -> ReadProxyHeader | None:
    if len(data) < 13:
        return None
    version, command = data[12] >> 4, data[12] & 15
    if version != 2:
        raise _refusal(2, f"version {version} is not 2")
    if command > 1:
        raise _refusal(2, f"command {command} is neither 0 (LOCAL) nor 1 (PROXY)")
    if len(data) < _FIXED:
        return None
    family, protocol = data[13] >> 4, data[13] & 15
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if size > limit:
        raise _refusal(2, f"{size} bytes, and the limit is {limit}")
    if command and (family not in _ADDRESSES or protocol > 2):
        raise _refusal(2, f"address family {family} with protocol {protocol} is not assigned")
    if command and size - _FIXED < _ADDRESSES[family]:
        raise _refusal(2, f"{size - _FIXED} bytes do not hold two {_FAMILIES[family]} addresses")
    if len(data) < size:
        return None
    whole = data[:size]
    if not command:
        # Discarded whole, the family included; only its length counts (section 2.2).
        return ReadProxyHeader(ProxyHeader(2, local=True), size)
    start = _FIXED + _ADDRESSES[family]
    tlvs = _tlvs(whole, start)
    # UNSPEC in either half: the addresses, if there are any, are not to be believed.
    source, destination = _ends(family, whole[_FIXED:start]) if protocol else (None, None)
    # Without an end that it tells it is as good as none: that one came by datagrams could not be written again.
    datagram = protocol == 2 and (source is not None or destination is not None)
    return ReadProxyHeader(ProxyHeader(2, source, destination, datagram=datagram, tlvs=tlvs), size)


def _ends(family: int, block: bytes) -> tuple[SocketAddr | None, SocketAddr | None]:
    if family == 0:
        return None, None
    if family == 3:
        return _path(block[:UNIX_PATH_SIZE]), _path(block[UNIX_PATH_SIZE:])
    size = (len(block) - 4) // 2
    kind = IPv4Address if family == 1 else IPv6Address
    source, destination = str(kind(block[:size])), str(kind(block[size : 2 * size]))
    return (
        SocketAddr(source, int.from_bytes(block[-4:-2], "big")),
        SocketAddr(destination, int.from_bytes(block[-2:], "big")),
    )


def _path(block: bytes) -> SocketAddr | None:
    """A path, or None for a client without a name, or with one in Linux's abstract space, for which no file stands."""
    raw = block.partition(b"\0")[0]
    return SocketAddr(path=raw.decode("utf-8", "surrogateescape")) if raw else None


def _tlvs(whole: bytes, start: int) -> tuple[ProxyTlv, ...]:
    try:
        found = read_tlvs(whole[start:])
    except ValueError as exc:
        raise _refusal(2, str(exc)) from None
    kept = []
    at = start
    checksums = 0
    for tlv in found:
        value_at = at + 3
        at = value_at + len(tlv.value)
        if tlv.kind == TlvType.CRC32C:
            checksums += 1
            if checksums > 1 or len(tlv.value) != 4:
                raise _refusal(2, "a header has one checksum, of 4 bytes")
            if crc32c(whole[:value_at] + b"\0\0\0\0" + whole[at:]) != int.from_bytes(tlv.value, "big"):
                raise _refusal(2, "the checksum (CRC32c) does not match")
        elif tlv.kind == TlvType.UNIQUE_ID and len(tlv.value) > MAX_UNIQUE_ID:
            raise _refusal(2, f"a unique id of {len(tlv.value)} bytes, and {MAX_UNIQUE_ID} is the limit")
        elif tlv.kind != TlvType.NOOP:
            kept.append(tlv)
    return tuple(kept)
