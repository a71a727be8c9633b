"""A peer behind a proxy that is asked for a tunnel by CONNECT (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.transport import SocketAddr
from sansio_pingora.wire import Authority, RequestHeader, Text

if TYPE_CHECKING:
    from sansio_pingora.upstreams.peer import Peer

__all__ = ["Proxy", "add_fields", "connect_head"]

# They would frame a body, and a tunnel has none: the proxy would take its first bytes for one.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Proxy:
    """A proxy at *next_hop*, and what it is asked: a tunnel to *host* (a name, or an address without brackets), *port*.

    *next_hop*: an address, of TCP or a Unix socket, or a peer, whose TLS is then that to the proxy. *headers* go with
    the request; a later one replaces an earlier one of the same name, and Host.

    :raises ValueError: not an address; or *next_hop* is a peer behind a proxy itself.
    :raises Error: ``INVALID_HTTP_HEADER``: *host* and *port* are no authority, or a field is not legal.
    """

    __slots__ = ("_head", "_next_hop", "host", "identity", "port")

    def __init__(
        self,
        next_hop: Peer | SocketAddr | str,
        host: str,
        port: int,
        headers: Iterable[tuple[Text, Text]] = (),
    ) -> None:
        if isinstance(next_hop, SocketAddr | str):
            from sansio_pingora.upstreams.peer import BasicPeer  # a peer may have a proxy, and a proxy is a peer

            next_hop = BasicPeer(next_hop)
        if next_hop.proxy is not None:
            raise ValueError(f"the proxy {next_hop.address} cannot be behind a proxy itself")
        self._next_hop = next_hop
        self.host = host
        self.port = port
        self._head = connect_head(host, port)
        add_fields(self._head, headers)
        self.identity: Hashable = (next_hop.reuse_key, self._head.target, tuple(self._head.fields.items))
        """The part of a peer's reuse key that stems from its proxy."""

    @property
    def next_hop(self) -> Peer:
        """The proxy itself."""
        return self._next_hop

    def request(self, extra: Iterable[tuple[Text, Text]] = ()) -> RequestHeader:
        """The head of the request, with *extra* fields.

        :raises Error: ``INVALID_HTTP_HEADER``: one of them is not legal.
        """
        head = self._head.clone()
        add_fields(head, extra)
        return head

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __str__(self) -> str:
        return f"{self.next_hop.address} for {self._head.target.decode('ascii')}"

    def __repr__(self) -> str:
        if len(self._head.fields.items) > 1:
            return f"<Proxy {self}>"  # they may be credentials
        through = self.next_hop if self.next_hop.tls else str(self.next_hop.address)
        return f"Proxy({through!r}, {self.host!r}, {self.port})"


def connect_head(host: str, port: int) -> RequestHeader:
    """The head of a CONNECT to *host* and *port*.

    :raises Error: ``INVALID_HTTP_HEADER``: they are no authority.
    """
    raw = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    authority = Authority.parse(raw.encode("latin-1", "replace"))
    if authority is None:
        raise Error(ErrorType.INVALID_HTTP_HEADER, f"CONNECT needs host:port, not {raw!r}").into_in()
    return RequestHeader("CONNECT", bytes(authority), [("Host", bytes(authority))])


def add_fields(head: RequestHeader, fields: Iterable[tuple[Text, Text]]) -> None:
    """Put *fields* into the head of a CONNECT; a later one replaces an earlier one.

    :raises Error: ``INVALID_HTTP_HEADER``: one is not legal there.
    """
    for name, value in fields:
        head.insert(name, value)
    for framing in _FRAMING:
        if head.get(framing) is not None:
            raise Error(
                ErrorType.INVALID_HTTP_HEADER, f"CONNECT has no body: leave the field {framing.decode()} out"
            ).into_in()
