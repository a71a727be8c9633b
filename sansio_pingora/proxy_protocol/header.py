"""A PROXY protocol header as a value, and its bytes (haproxy's proxy-protocol.txt, versions 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self

from sansio_pingora.proxy_protocol.tlv import ProxyTlv, crc32c
from sansio_pingora.transport import SocketAddr

__all__ = ["PROXY_SIGNATURE", "ProxyHeader"]

PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""The first twelve bytes of version 2: no line of any text protocol that is in use."""
UNIX_PATH_SIZE = 108
_MAX_PAYLOAD = 65_535
_CHECKSUM = b"\x03\0\x04\0\0\0\0"


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who connected to a proxy, and where: what the proxy tells the server behind it.

    A header without addresses (v1 ``UNKNOWN``, v2 ``UNSPEC`` and ``LOCAL``) says that the ends of
    the transport itself are the ends of the connection.
    """

    version: int = 2
    """1 for the line of text, 2 for the binary form."""
    source: SocketAddr | None = None
    """The client. None where it is not told, or a Unix client without a name."""
    destination: SocketAddr | None = None
    """The address that the client connected to."""
    local: bool = False
    """The proxy speaks for itself, as health checks do. Version 2 alone can say so."""
    datagram: bool = False
    """The client came by datagrams. Version 2 alone can say so."""
    tlvs: tuple[ProxyTlv, ...] = ()
    """What version 2 adds, in order; without its checksum and padding, which the reader has dealt with."""

    @classmethod
    def between(
        cls,
        source: SocketAddr | None,
        destination: SocketAddr | None,
        *,
        version: int = 2,
        tlvs: Iterable[ProxyTlv] = (),
    ) -> Self:
        """The header for a client at *source* that connected to *destination*.

        Ends of two address families are told as IPv6. Ends that the protocol cannot tell (one
        of them unknown, a host name, an internet address with a Unix path) are left out.
        """
        first, second = _numeric(source), _numeric(destination)
        if first is None or second is None:
            paths = [end for end in (source, destination) if end is not None]
            if not paths or any(end.path is None for end in paths):
                source = destination = None
        elif first.version == second.version:
            source, destination = _address(first, source), _address(second, destination)
        else:
            source, destination = _address(_mapped(first), source), _address(_mapped(second), destination)
        return cls(version, source, destination, tlvs=tuple(tlvs))

    def tlv(self, kind: int) -> bytes | None:
        """The value of the first TLV of *kind*, or None."""
        return next((tlv.value for tlv in self.tlvs if tlv.kind == kind), None)

    def to_bytes(self, *, checksum: bool = False) -> bytes:
        """The header for the wire; *checksum* adds a CRC32c to version 2.

        :raises ValueError: addresses or TLVs that this version cannot tell.
        """
        if self.version == 1:
            return self._line(checksum)
        if self.version != 2:
            raise ValueError(f"PROXY protocol versions are 1 and 2, not {self.version!r}")
        family, addresses = (0, b"") if self.local else self._addresses()
        if family:
            family |= 2 if self.datagram else 1
        payload = addresses + b"".join(tlv.to_bytes() for tlv in self.tlvs)
        if checksum:
            payload += _CHECKSUM
        if len(payload) > _MAX_PAYLOAD:
            raise ValueError(f"a PROXY v2 header carries {_MAX_PAYLOAD} bytes at most, not {len(payload)}")
        whole = b"%b%c%c%b%b" % (
            PROXY_SIGNATURE,
            0x20 if self.local else 0x21,
            family,
            len(payload).to_bytes(2, "big"),
            payload,
        )
        return whole[:-4] + crc32c(whole).to_bytes(4, "big") if checksum else whole

    def _line(self, checksum: bool) -> bytes:
        if self.local or self.datagram or self.tlvs or checksum:
            raise ValueError("PROXY v1 has no LOCAL, no datagrams, no TLVs and no checksum: use version 2")
        family, _ = self._addresses()
        if family not in {0x10, 0x20}:
            return b"PROXY UNKNOWN\r\n"
        source, destination = self.source, self.destination
        assert source is not None and destination is not None  # noqa: PT018  # _addresses has told the family by them
        text = (
            f"PROXY {'TCP4' if family == 0x10 else 'TCP6'} {_bare(source)} {_bare(destination)} "
            f"{source.port} {destination.port}\r\n"
        )
        return text.encode("ascii")

    def _addresses(self) -> tuple[int, bytes]:
        """The family in the high nibble, and both addresses as version 2 packs them."""
        source, destination = self.source, self.destination
        if source is None and destination is None:
            return 0, b""
        if any(end is not None and end.path is not None for end in (source, destination)):
            return 0x30, _pack_path(source) + _pack_path(destination)
        first, second = _numeric(source), _numeric(destination)
        if first is None or second is None or first.version != second.version:
            raise ValueError(
                f"a PROXY header tells two IP addresses of one family, not {source} and {destination}: "
                "make it with ProxyHeader.between"
            )
        assert source is not None and destination is not None  # noqa: PT018  # else one of them were not numeric
        ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
        return 0x10 if first.version == 4 else 0x20, first.packed + second.packed + ports


def _bare(addr: SocketAddr) -> str:
    """The host without the zone of a link-local address, which means nothing on another host."""
    return addr.host.partition("%")[0]


def _numeric(addr: SocketAddr | None) -> IPv4Address | IPv6Address | None:
    if addr is None or addr.path is not None:
        return None
    host = _bare(addr)
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None


def _mapped(ip: IPv4Address | IPv6Address) -> IPv6Address:
    return ip if isinstance(ip, IPv6Address) else IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)


def _address(ip: IPv4Address | IPv6Address, addr: SocketAddr | None) -> SocketAddr:
    return SocketAddr(str(ip), 0 if addr is None else addr.port)


def _pack_path(addr: SocketAddr | None) -> bytes:
    if addr is None:
        return b"\0" * UNIX_PATH_SIZE
    if addr.path is None:
        raise ValueError(f"a PROXY header tells no internet address beside a Unix socket: {addr}")
    raw = addr.path.encode("utf-8", "surrogateescape")
    if not raw or len(raw) > UNIX_PATH_SIZE or b"\0" in raw:
        raise ValueError(f"{addr.path!r} is not the path of a Unix socket, of 1 to {UNIX_PATH_SIZE} bytes")
    return raw.ljust(UNIX_PATH_SIZE, b"\0")
