"""A first message of a client, as OpenSSL writes it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

__all__ = ["hello"]


def hello(name: str | None, alpn: Sequence[str]) -> bytes:
    """A ClientHello for *name*, offering the protocols *alpn*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()
