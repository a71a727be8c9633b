"""What a proxy adds to messages about the way they have come: Via, Forwarded, X-Forwarded-*.

Such fields are hearsay. What a client says of itself in them is believed, and added to, only
where that client is a proxy of ours (``trusted``); from others they are taken away, or anybody
could pretend to come from an address that the origin lets in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sansio_pingora.proxy_protocol import TrustedSources
from sansio_pingora.session import HEARSAY
from sansio_pingora.transport import SocketAddr

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession
    from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = ["FORWARDED", "ForwardingFields"]

FORWARDED = ("off", "x-forwarded", "forwarded", "both")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PSEUDONYM = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[0-9]{1,5})?")


class ForwardingFields:
    """Adds the fields that are wanted.

    :raises ValueError: *via* is no name, or *trusted* not a list of networks.
    """

    __slots__ = ("_forwarded", "_trusted", "_x_forwarded", "via")

    def __init__(self, *, via: str | None, forwarded: str, trusted: Iterable[str]) -> None:
        if via is not None and not _PSEUDONYM.fullmatch(via):
            raise ValueError(f"option 'via' is a name, perhaps with a port, as edge-1 or proxy.example:80, not {via!r}")
        self.via: bytes | None = None if via is None else via.encode("ascii")
        self._x_forwarded = forwarded in ("x-forwarded", "both")
        self._forwarded = forwarded in ("forwarded", "both")
        self._trusted = TrustedSources(trusted)

    def request(self, request: RequestHeader, session: ServerSession) -> None:
        """Add to *request*, which goes upstream, what is known of the client of *session*."""
        downstream = session.req_header
        assert downstream is not None  # there is one that goes upstream
        if self.via is not None:
            _append(request, "Via", downstream.version + b" " + self.via)
        if not self._x_forwarded and not self._forwarded:
            return
        client = session.client_addr
        if client not in self._trusted:
            request.fields.remove_all(HEARSAY)
        secure = session.digest().ssl_digest is not None
        proto = b"https" if secure else b"http"
        host = downstream.get(b"host")
        if self._x_forwarded:
            self._add_x_forwarded(request, client, proto, host, session.server_addr)
        if self._forwarded:
            element = b"for=" + _node(client)
            if host is not None:
                element += b";host=" + (host if _TOKEN.fullmatch(host) else b'"' + host + b'"')
            _append(request, "Forwarded", element + b";proto=" + proto)

    def _add_x_forwarded(
        self,
        request: RequestHeader,
        client: SocketAddr | None,
        proto: bytes,
        host: bytes | None,
        local: SocketAddr | None,
    ) -> None:
        """The client joins the list; the rest is what the first of our proxies has seen."""
        if client is not None and client.path is None:
            _append(request, "X-Forwarded-For", client.host.encode("ascii", "replace"))
        known = request.fields.index
        if b"x-forwarded-proto" not in known:
            request.append("X-Forwarded-Proto", proto)
        if host is not None and b"x-forwarded-host" not in known:
            request.append("X-Forwarded-Host", host)
        if local is not None and local.path is None and b"x-forwarded-port" not in known:
            request.append("X-Forwarded-Port", str(local.port))

    def response(self, response: ResponseHeader, version: bytes) -> None:
        """Add to *response*, which was received in *version*."""
        if self.via is not None and response.status >= 200:
            _append(response, "Via", version + b" " + self.via)


def _append(head: RequestHeader | ResponseHeader, name: str, element: bytes) -> None:
    """Put *element* behind the list that *name* is, in one line."""
    said = head.fields.get_all(name)
    head.insert(name, b", ".join([*said, element]))


def _node(client: SocketAddr | None) -> bytes:
    """RFC 7239 section 6."""
    if client is None or client.path is not None:
        return b"unknown"
    host = client.host.encode("ascii", "replace")
    return b'"[' + host + b']"' if b":" in host else host
