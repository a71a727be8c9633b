"""A tunnel through a proxy below a connection, and all the layers of a peer in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sansio_pingora.digests import Digest, ProxyDigest
from sansio_pingora.errors import Error, ErrorSource
from sansio_pingora.layers.layer import Above, Layer, LayerMaker
from sansio_pingora.layers.proxy_protocol import SendProxyProtocol
from sansio_pingora.layers.raw_connect import RawConnect
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Event
from sansio_pingora.wire import RequestHeader, ResponseHeader

if TYPE_CHECKING:
    from sansio_pingora.upstreams import Peer

__all__ = ["OpenTunnel", "upstream_layers"]

_TO_A_PROXY = ("http/1.1",)


class OpenTunnel:
    """Makes the layer that sends the CONNECT of *head* and waits for the tunnel.

    *told* is called with the request and the response once it is open; what it returns is kept in the digest.
    """

    __slots__ = ("_head", "_told")

    def __init__(self, head: RequestHeader, told: Callable[[RequestHeader, ResponseHeader], Any] | None = None) -> None:
        self._head = head
        self._told = told

    def __call__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> Layer:
        """See :class:`LayerMaker`."""
        return _Opening(self._head, self._told, above, limits, digest, deadline)


class _Opening(Layer):
    __slots__ = ("_connect", "_head", "_user_data")

    waits_for = "the proxy's answer to CONNECT"
    source = ErrorSource.UPSTREAM

    def __init__(
        self,
        head: RequestHeader,
        told: Callable[[RequestHeader, ResponseHeader], Any] | None,
        above: Above,
        limits: Limits,
        digest: Digest,
        deadline: float,
    ) -> None:
        super().__init__(above, limits, digest, deadline)
        self._head = head
        self._user_data = told
        self._connect = RawConnect(head, limits)
        self._output = [self._connect.request()]

    def _receive(self, data: bytes, now: float) -> list[Event]:
        try:
            if not self._connect.receive_data(data):
                return []
        except Error as error:
            return self._fail(error, now, Closing.ABORT)
        response = self._connect.response
        assert response is not None  # receive_data says that the tunnel is open
        user_data = None if self._user_data is None else self._user_data(self._head, response)
        self.digest.proxy_digest = ProxyDigest(response, user_data)
        events = self._establish(now)
        self._step_aside()
        rest = self._connect.rest
        assert self.inner is not None  # it is established
        return events + self.inner.receive_data(rest, now) if rest else events

    def _ended(self) -> Error:
        return self._connect.closed()

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        if self.inner is None and not self._told:
            reason = self._connect.closed(reason)
        return super().transport_lost(reason, now)

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, and what stands above."""
        return len(self._connect.rest) + super().held if self.inner is None else super().held


def upstream_layers(
    peer: Peer, protocols: Sequence[str], tls: Callable[[Peer, Sequence[str]], LayerMaker | None] | None = None
) -> list[LayerMaker]:
    """The makers of what stands below a connection to *peer*, lowest first.

    The tunnel through its proxy, which may be spoken to over TLS; the PROXY protocol header for the peer itself; the
    peer's own TLS, which offers *protocols*. *tls* makes the maker for a peer; None for one that is not spoken to
    over TLS.
    """
    makers: list[LayerMaker] = []
    options = peer.options
    if (proxy := peer.proxy) is not None:
        if tls is not None and (maker := tls(proxy.next_hop, _TO_A_PROXY)) is not None:
            makers.append(maker)
        extra = options.extra_proxy_headers
        makers.append(OpenTunnel(proxy.request(extra.items() if extra else ()), options.proxy_digest_user_data_hook))
    if options.proxy_protocol is not None:
        makers.append(SendProxyProtocol(options.proxy_protocol))
    if tls is not None and (maker := tls(peer, protocols)) is not None:
        makers.append(maker)
    return makers
