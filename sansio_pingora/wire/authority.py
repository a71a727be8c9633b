"""Host and port of a request, parsed once and kept as one object (RFC 9110 section 4.2, RFC 3986 section 3.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

__all__ = ["Authority"]

# A registered name or IPv4 address. Sub-delims and percent-encoding, which RFC 3986 allows,
# name no host that exists and have hidden lists and user information: refused.
_HOST_PORT = re.compile(rb"(?:([A-Za-z0-9._~-]{1,255})|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")
_MAX_LENGTH = 255 + len(":65535")


@dataclass(frozen=True, slots=True)
class Authority:
    """A host with, perhaps, a port."""

    host: bytes
    """The name or address as received, without the brackets of IPv6."""
    port: int | None
    """None when the authority named none."""

    @staticmethod
    def parse(raw: bytes) -> Authority | None:
        """*raw* as an authority without user information, or None when it is not one."""
        return _parse(raw) if len(raw) <= _MAX_LENGTH else None

    def __bytes__(self) -> bytes:
        host = b"[%b]" % self.host if b":" in self.host else self.host
        return host if self.port is None else b"%b:%d" % (host, self.port)


# Most requests name a host that the one before named. What is kept is bounded by _MAX_LENGTH
# as well: what names no host is kept too, and a peer chooses it.
@lru_cache(maxsize=1024)
def _parse(raw: bytes) -> Authority | None:
    match = _HOST_PORT.fullmatch(raw)
    if match is None:
        return None
    name, address, digits = match.groups()
    port = int(digits) if digits is not None else None
    if port is not None and port > 65535:
        return None
    if address is not None:
        try:
            IPv6Address(address.decode("ascii"))
        except AddressValueError:
            return None
        return Authority(address, port)
    return Authority(name, port)
