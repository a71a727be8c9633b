"""The PROXY protocol below a connection: read from clients that are trusted, sent to origins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.layers.layer import Above, Layer
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Event
from sansio_pingora.proxy_protocol import (
    MAX_PROXY_HEADER,
    NoProxyHeader,
    ProxyHeader,
    TrustedSources,
    read_proxy_header,
)
from sansio_pingora.transport import SocketAddr

__all__ = ["AcceptProxyProtocol", "SendProxyProtocol"]

_LEAST, _MOST = 16, 16 + 65_535


class AcceptProxyProtocol:
    """Makes the layer of a listener behind a proxy: it reads a header of either version, from *trusted* sources alone.

    *trusted*: networks, addresses, ``unix``; see :class:`TrustedSources`. *required*: a connection from anywhere
    else, or without a header, is closed. Otherwise a trusted source may leave the header out, and whoever else
    connects is an ordinary client: a header of theirs is never read, so nobody can claim another's address.
    *max_header*: bytes of a v2 header.
    """

    __slots__ = ("max_header", "required", "trusted")

    def __init__(
        self, trusted: TrustedSources | Iterable[str], *, required: bool = True, max_header: int = MAX_PROXY_HEADER
    ) -> None:
        if not _LEAST <= max_header <= _MOST:
            raise ValueError(f"max_header of a PROXY header is from {_LEAST} to {_MOST} bytes, not {max_header}")
        self.trusted = trusted if isinstance(trusted, TrustedSources) else TrustedSources(trusted)
        self.required = required
        self.max_header = max_header

    def __call__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> Layer:
        """See :class:`LayerMaker`."""
        peer = None if digest.socket_digest is None else digest.socket_digest.peer_addr
        return _Reading(self, peer, above, limits, digest, deadline)


class SendProxyProtocol:
    """Makes the layer of a connection to an origin that wants a header: the first that is sent is *header*."""

    __slots__ = ("_raw",)

    def __init__(self, header: ProxyHeader) -> None:
        self._raw = header.to_bytes()

    def __call__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> Layer:
        """See :class:`LayerMaker`."""
        return _Sending(self._raw, above, limits, digest, AT_ONCE)


class _Reading(Layer):
    __slots__ = ("_rules", "_seen", "_trusted", "_who")

    waits_for = "a PROXY protocol header"
    timeout_type = ErrorType.READ_TIMEDOUT

    def __init__(
        self,
        rules: AcceptProxyProtocol,
        peer: SocketAddr | None,
        above: Above,
        limits: Limits,
        digest: Digest,
        deadline: float,
    ) -> None:
        self._trusted = peer in rules.trusted
        # What is not waited for is dealt with before the first byte: a server may be the first to speak.
        super().__init__(above, limits, digest, deadline if self._trusted else AT_ONCE)
        self._rules = rules
        self._who = peer
        self._seen = b""

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        if self._trusted or self.inner is not None or self._closing:
            return super().handle_timeout(now)
        return self._receive(b"", now)

    def _receive(self, data: bytes, now: float) -> list[Event]:
        if not self._trusted:
            if self._rules.required:
                who = self._who or "a Unix client"
                return self._fail(_refusal(f"{who} is not among the trusted sources of the PROXY protocol"), now)
            return self._go_on(data, now)
        seen = self._seen = self._seen + data
        try:
            read = read_proxy_header(seen, limit=self._rules.max_header)
        except Error as error:
            return self._fail(error, now)
        if read is None:
            return []
        self._seen = b""
        if isinstance(read, NoProxyHeader):
            if self._rules.required:
                return self._fail(_refusal(f"no PROXY protocol header from {self._who or 'a Unix client'}"), now)
            return self._go_on(seen, now)
        self._believe(read.header)
        return self._go_on(seen[read.size :], now)

    def _believe(self, header: ProxyHeader) -> None:
        self.digest.proxy_protocol = header
        endpoint = self._endpoint
        if (header.source or header.destination) and endpoint is not None and endpoint.info is not None:
            endpoint.info = replace(endpoint.info, peer=header.source, local=header.destination)

    def _go_on(self, rest: bytes, now: float) -> list[Event]:
        events = self._establish(now)
        self._step_aside()
        assert self.inner is not None  # it is established
        return events + self.inner.receive_data(rest, now) if rest else events

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, and what stands above."""
        return len(self._seen) + super().held


class _Sending(Layer):
    __slots__ = ()

    source = ErrorSource.UPSTREAM

    def __init__(self, raw: bytes, above: Above, limits: Limits, digest: Digest, deadline: float) -> None:
        super().__init__(above, limits, digest, deadline)
        self._output = [raw]

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        if self.inner is not None or self._closing:
            return super().handle_timeout(now)
        events = self._establish(now)
        self._step_aside()
        return events


def _refusal(text: str) -> Error:
    return Error(ErrorType.HANDSHAKE_ERROR, text).into_down()
