"""How one peer is connected to and spoken to, where it differs from the service's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Protocol, Self

from sansio_pingora._reprs import brief
from sansio_pingora.limits import Limits
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import BindTo, DialOptions, SocketAddr, TcpKeepalive, Tracer
from sansio_pingora.upstreams.alpn import ALPN
from sansio_pingora.upstreams.trust import CaCerts
from sansio_pingora.upstreams.tunnel import add_fields, connect_head
from sansio_pingora.wire import RequestHeader, ResponseHeader, Text

__all__ = ["CustomL4", "PeerOptions"]


class CustomL4(Protocol):
    """Connects in a way of its own. Must be hashable."""

    def connect(self, address: SocketAddr) -> Any:
        """A connected socket, or an object with ``read(size)``, which returns ``b""`` at the end, and ``write(data)``.

        May block, and runs off the lane. ``read`` and ``write`` may block as well: such an object takes two threads.
        ``close()`` and ``write_eof()`` are called where it has them.
        """


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PeerOptions:
    """What a peer wants otherwise than the service's :class:`Limits`; None leaves it to them.

    A value: make it once and share it between peers; :func:`dataclasses.replace` makes a changed
    one. Times are seconds, sizes are bytes. Fields that need something which this version does
    not have yet are refused when set to anything but their default.

    :raises ValueError: a value is out of range, or takes effect with something not spoken yet.
    :raises Error: ``INVALID_HTTP_HEADER``: a field for a proxy is not legal.
    """

    bind_to: SocketAddr | BindTo | str | None = None
    """Source address of the connection; port 0 lets the kernel choose one. Text is kept as a SocketAddr."""
    connection_timeout: float | None = None
    """For one connect."""
    total_connection_timeout: float | None = None
    """For everything until the connection is usable."""
    read_timeout: float | None = None
    """Between two reads from the peer while it owes us something."""
    write_timeout: float | None = None
    """Without progress while output waits for the peer."""
    idle_timeout: float | None = None
    """How long an unused connection is kept; 0 never keeps one."""
    verify_cert: bool = True
    """Verify the chain of the certificate. Without TLS it only keeps the connections of both kinds apart."""
    verify_hostname: bool = True
    """Check the name in the certificate, whether or not its chain is verified. Without TLS as above."""
    use_system_certs: bool = True
    """Trust the system's authorities, or those of the service, where there is no ``ca``."""
    alternative_cn: str | None = None
    """Another name that the certificate may be for."""
    alpn: ALPN = ALPN.H1
    """The HTTP versions that may be spoken. Without TLS, which offers them, HTTP/2 is spoken where it alone may be."""
    ca: CaCerts | None = None
    """The authorities to trust instead."""
    tcp_keepalive: TcpKeepalive | None = None
    """Kernel probes on the connection."""
    tcp_recv_buf: int | None = None
    """SO_RCVBUF, set before connecting; the kernel doubles it."""
    dscp: int | None = None
    """The whole TOS byte, as Pingora takes it: 0 to 255."""
    h2_ping_interval: float | None = None
    """Between two PING frames on a quiet connection."""
    psk: Any = None
    """Pre-shared keys, of s2n: refused."""
    s2n_security_policy: str | None = None
    """The name of a TLS policy, of s2n: refused."""
    max_blinding_delay: float | None = None
    """The longest delay that hides a TLS fault, of s2n: refused."""
    max_h2_streams: int = 1
    """Requests at once on one HTTP/2 connection."""
    h2_stream_window_size: int | None = None
    """What a stream may receive unread. None is the limit ``h2_window``; where streams share a connection, no more
    than ``high_water``: far away, more of it is faster.
    """
    h2_connection_window_size: int | None = None
    """What all streams of a connection may receive unread. None is the limit ``h2_connection_window``, or as much as
    the streams may together, so that those which nobody reads do not hold up the others.
    """
    allow_h1_response_invalid_content_length: bool = False
    """Read a response with an invalid Content-Length until the end of the connection, instead of refusing it."""
    proxy_protocol: ProxyHeader | None = None
    """The first that is sent on a connection, within a tunnel if there is one: whose requests it carries.
    ``ProxyHeader.between(session.client_addr, session.server_addr)`` tells of the client. Connections are shared by
    requests that tell the same.
    """
    extra_proxy_headers: Mapping[str, Text] | None = field(default=None, repr=False)  # it may hold credentials
    """More fields for the CONNECT request to a proxy; they replace those of the proxy."""
    curves: str | None = None
    """The group of the TLS key exchange, as OpenSSL names it: ``X25519``. The standard library takes no list."""
    second_keyshare: bool = True
    """A second key share with post-quantum groups, of BoringSSL; False is refused: OpenSSL decides by itself."""
    tcp_fast_open: bool = False
    """Send the first bytes with the SYN where the kernel can."""
    tracer: Tracer | None = None
    """Told of connects and disconnects. Connections made under another one are shared all the same."""
    custom_l4: CustomL4 | None = None
    """Replaces the connect; socket options and ``bind_to`` are its own affair. Only peers with an equal one share
    connections: make one object and pass that.
    """
    custom_connection: Callable[[Limits, float], Any] | None = None
    """Makes what speaks a protocol of one's own with the peer, instead of HTTP: called with the limits of the service
    and the time, it returns the client's side of a connection, a :class:`~sansio_pingora.session.CustomConnection` for
    one. Connections are kept and shared like any other; only peers with an equal one share them.
    """
    upstream_tcp_sock_tweak_hook: Callable[[Any], None] | None = None
    """Called with the socket just before it connects.

    It may decide where the connection ends, so only peers with an equal hook share connections:
    name one function and pass that, since a lambda per request would never find a kept connection.
    """
    proxy_digest_user_data_hook: Callable[[RequestHeader, ResponseHeader], Any] | None = None
    """Called when a proxy has opened a tunnel; what it returns is the ``user_data`` of the connection's ProxyDigest."""
    upstream_tls_handshake_complete_hook: Callable[[Any], object] | None = None
    """Called with the :class:`~sansio_pingora.tls.TlsHandshake` of each new connection.

    What it returns lands in the extension of the ``SslDigest``; an :class:`Error` that it raises refuses the peer.
    Only peers with an equal hook share connections, as with the hook above.
    """

    identity: tuple[Any, ...] = field(init=False, repr=False, compare=False, default=())
    """The part of the reuse key that stems from these options; empty when they decide nothing."""

    def __post_init__(self) -> None:
        for name, reason in _REFUSED.items():
            if getattr(self, name) != _DEFAULTS[name]:
                raise ValueError(f"peer option {name}: {reason}")
        if self.ca is not None and not isinstance(self.ca, CaCerts):
            raise ValueError(
                f"peer option ca takes CaCerts, as read_ca of sansio_pingora_posix gives, not {self.ca!r:.60}"
            )
        for name in _TIMES:
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"peer option {name} takes seconds of 0 or more, or None, not {value!r}")
        if self.tcp_recv_buf is not None and not (_is_whole(self.tcp_recv_buf) and self.tcp_recv_buf > 0):
            raise ValueError(f"peer option tcp_recv_buf takes bytes of 1 or more, or None, not {self.tcp_recv_buf!r}")
        if not (_is_whole(self.max_h2_streams) and 1 <= self.max_h2_streams <= _MAX_WINDOW):
            raise ValueError(f"peer option max_h2_streams takes a number of 1 or more, not {self.max_h2_streams!r}")
        for name in ("h2_stream_window_size", "h2_connection_window_size"):
            value = getattr(self, name)
            if value is not None and not (_is_whole(value) and 1 <= value <= _MAX_WINDOW):
                raise ValueError(f"peer option {name} takes bytes from 1 to 2^31-1, or None, not {value!r}")
        if self.h2_ping_interval == 0:
            raise ValueError("peer option h2_ping_interval takes seconds above 0, or None for no PING")
        if self.dscp is not None and not (_is_whole(self.dscp) and 0 <= self.dscp <= 255):
            raise ValueError(f"peer option dscp takes the TOS byte, 0 to 255, or None, not {self.dscp!r}")
        custom = self.custom_l4
        if custom is not None and not (callable(getattr(custom, "connect", None)) and isinstance(custom, Hashable)):
            raise ValueError(f"peer option custom_l4 takes a hashable object with connect(address), not {custom!r}")
        if self.extra_proxy_headers is not None:
            # A copy that cannot be changed: what it was is in the reuse key.
            extra = MappingProxyType(dict(self.extra_proxy_headers))
            add_fields(connect_head("a", 1), extra.items())
            object.__setattr__(self, "extra_proxy_headers", extra)
        if isinstance(self.bind_to, str):
            object.__setattr__(self, "bind_to", SocketAddr.parse(self.bind_to))  # frozen, and not yet shared
        bind_to = self.bind_to.addr if isinstance(self.bind_to, BindTo) else self.bind_to
        if isinstance(bind_to, SocketAddr) and bind_to.path is not None:
            raise ValueError(f"peer option bind_to takes address:port, not {bind_to}")
        if any(getattr(self, name) != _DEFAULTS[name] for name in _IDENTITY):
            object.__setattr__(self, "identity", tuple(_frozen(getattr(self, name)) for name in _IDENTITY))

    def __repr__(self) -> str:
        return brief(self)

    def set_http_version(self, maximum: int, minimum: int) -> Self:
        """The same options with the HTTP versions from *minimum* to *maximum*; these stay as they are.

        :raises ValueError: there is no such range.
        """
        return replace(self, alpn=ALPN.new(maximum, minimum))

    def dial_options(self) -> DialOptions:
        """How the socket is prepared before it connects."""
        bind_to = self.bind_to if isinstance(self.bind_to, BindTo) else None
        return DialOptions(
            bind_to=bind_to.addr if bind_to else self.bind_to,  # type: ignore[arg-type]  # text was parsed
            bind_port_range=bind_to.port_range if bind_to else None,
            bind_fallback=bind_to is not None and bind_to.fallback,
            tcp_keepalive=self.tcp_keepalive,
            tcp_recv_buf=self.tcp_recv_buf,
            dscp=self.dscp,
            tcp_fast_open=self.tcp_fast_open,
            custom=None if self.custom_l4 is None else self.custom_l4.connect,
            tweak=self.upstream_tcp_sock_tweak_hook,
        )


def _frozen(value: object) -> object:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_DEFAULTS = {spec.name: spec.default for spec in fields(PeerOptions)}

_MAX_WINDOW = 2**31 - 1
_TIMES = (
    "connection_timeout",
    "total_connection_timeout",
    "read_timeout",
    "write_timeout",
    "idle_timeout",
    "h2_ping_interval",
)

_REFUSED = {
    "psk": "pre-shared keys are s2n's: ssl of the standard library has none before Python 3.13, and not in this form",
    "s2n_security_policy": "policies are s2n's: ssl of the standard library takes versions and ciphers",
    "max_blinding_delay": "blinding is s2n's: ssl of the standard library has none",
    "second_keyshare": "OpenSSL decides by itself which key shares it sends",
}

# What decides who is at the other end, whom we trust to be there, or how strictly its bytes
# are read: a connection made under one of these is never handed to a peer with another.
# Pingora leaves out ca, bind_to, alpn, custom_l4, the proxy's fields and the hook.
_IDENTITY = (
    "bind_to",
    "verify_cert",
    "verify_hostname",
    "use_system_certs",
    "alternative_cn",
    "alpn",
    "ca",
    "psk",
    "s2n_security_policy",
    "max_h2_streams",
    "h2_ping_interval",
    "h2_stream_window_size",
    "h2_connection_window_size",
    "allow_h1_response_invalid_content_length",
    "proxy_protocol",
    "extra_proxy_headers",
    "curves",
    "second_keyshare",
    "custom_l4",
    "custom_connection",
    "upstream_tcp_sock_tweak_hook",
    "upstream_tls_handshake_complete_hook",
)
