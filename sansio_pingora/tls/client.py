"""TLS to an upstream: whom we want, how we know that it is that, and sessions to resume."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.layers import Above, LayerMaker
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event
from sansio_pingora.tls.backend import ClientSettings, TlsBackend
from sansio_pingora.tls.certificate import Certificate, accepted_names
from sansio_pingora.tls.layer import TlsHandshake, TlsLayer
from sansio_pingora.upstreams import Peer

__all__ = ["ClientTls", "TlsClient", "TlsTarget", "peer_layer"]


@dataclass(frozen=True, slots=True)
class TlsTarget:
    """Whom a client wants to reach."""

    name: str
    """What it asks for (SNI) unless it is an address, and what the certificate is to be for."""
    alternative: str | None = None
    """Another name that the certificate may be for."""
    verify_name: bool = True
    completed: Callable[[TlsHandshake], object] | None = None
    """Told of the handshake; what it returns lands in the digest's extension."""


class ClientTls:
    """What the clients of one lane share: the backend, and ``tls_session_cache_size`` sessions to resume."""

    __slots__ = ("_backend", "_limits", "_sessions")

    def __init__(self, backend: TlsBackend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits
        self._sessions: OrderedDict[Hashable, ssl.SSLSession] = OrderedDict()

    def maker(self, settings: ClientSettings, target: TlsTarget, key: Hashable = None) -> LayerMaker:
        """What makes the layer towards *target*. *key*: sessions are resumed between those of an equal one.

        :raises Error: ``INTERNAL_ERROR``: the settings cannot be used; the text says which.
        """
        try:
            context = self._backend.client_context(settings)
        except ValueError as exc:
            raise Error(ErrorType.INTERNAL_ERROR, f"no TLS with these options: {exc}").into_in() from exc

        def make(above: Above, limits: Limits, digest: Digest, deadline: float) -> TlsClient:
            return TlsClient(context, target, above, limits, digest, deadline, (self, key), settings.alpn)

        return make

    def session(self, key: Hashable) -> ssl.SSLSession | None:
        """A session to resume."""
        return self._sessions.get(key)

    def remember(self, key: Hashable, session: ssl.SSLSession | None) -> None:
        """*session* may be resumed."""
        sessions = self._sessions
        if session is None or not self._limits.tls_session_cache_size:
            return
        sessions.pop(key, None)
        sessions[key] = session
        if len(sessions) > self._limits.tls_session_cache_size:
            sessions.popitem(last=False)


def peer_layer(tls: ClientTls, peer: Peer, protocols: Sequence[str]) -> LayerMaker:
    """What makes the layer of TLS to *peer*, offering *protocols*: all that its options say of TLS in force.

    :raises Error: ``INTERNAL_ERROR``: the options cannot be used; the text says which.
    """
    options = peer.options
    settings = ClientSettings(
        alpn=tuple(protocols),
        verify=options.verify_cert,
        ca=options.ca,
        use_system_certs=options.use_system_certs,
        cert_key=peer.client_cert_key,
        curves=options.curves,
    )
    hook = options.upstream_tls_handshake_complete_hook
    target = TlsTarget(peer.tls_name, options.alternative_cn, options.verify_hostname, hook)
    return tls.maker(settings, target, peer.reuse_key)


class TlsClient(TlsLayer):
    """The client's side. Its first message is ready when it is made."""

    __slots__ = ("_alpn_only", "_shared", "_target")

    source = ErrorSource.UPSTREAM

    def __init__(
        self,
        context: Any,
        target: TlsTarget,
        above: Above,
        limits: Limits,
        digest: Digest,
        deadline: float,
        shared: tuple[ClientTls, Hashable] | None = None,
        alpn: Sequence[str] = (),
    ) -> None:
        super().__init__(above, limits, digest, deadline)
        self._target = target
        self._shared = shared
        self._alpn_only = "h2" if tuple(alpn) == ("h2",) else None
        name = None if _is_address(target.name) else target.name or None
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=False, server_hostname=name)
        if shared is not None and (session := shared[0].session(shared[1])) is not None:
            try:
                self._ssl.session = session
            except ValueError:
                pass  # of a context that was made anew
        self._handshake(0.0)  # nothing but the first message can come of it

    def _judge(self, certificate: Certificate | None) -> None:
        target = self._target
        if self._alpn_only is not None and self._ssl.selected_alpn_protocol() != self._alpn_only:
            text = "the server does not speak HTTP/2, and nothing else may be spoken"
            raise Error(ErrorType.H2_ERROR, text, esource=self.source)
        if not target.verify_name:
            return
        if certificate is None:
            raise Error(ErrorType.INVALID_CERT, "the server showed no certificate", esource=self.source)
        names = accepted_names(target.name, target.alternative)
        if not any(certificate.is_for(name) for name in names):
            issued = ", ".join((*certificate.dns_names, *certificate.addresses)) or "no name"
            wanted = " or ".join(map(repr, names)) or "a name: set sni"
            text = f"the server's certificate is refused: hostname mismatch: it is for {issued}, not for {wanted}"
            raise Error(ErrorType.INVALID_CERT, text, esource=self.source)

    def _completed(self, handshake: TlsHandshake) -> object:
        if self._ssl.version() != "TLSv1.3":
            self._keep_session()
        hook = self._target.completed
        return None if hook is None else hook(handshake)

    def _read(self, now: float) -> list[Event]:
        events = super()._read(now)
        # In TLS 1.3 the tickets come behind the handshake, mostly before the first answer.
        if self._shared is not None and events and not self._closing:
            self._keep_session()
        return events

    def _keep_session(self) -> None:
        if self._shared is not None:
            shared, key = self._shared
            self._shared = None
            shared.remember(key, self._ssl.session)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
