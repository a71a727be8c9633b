"""A listening address over TLS, as a user writes it: files by name, decisions as callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.listeners.address import ServerAddress
from sansio_pingora.session import Form, check_form, form_of
from sansio_pingora.tls import DEFAULT_CIPHERS, ClientAuth

if TYPE_CHECKING:
    from sansio_pingora.tls import ChooseCertificate, ClientHello, TlsHandshake

__all__ = ["File", "Tls"]


class _Path(Protocol):
    def __fspath__(self) -> str: ...


File = str | _Path
"""The path of a file."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Listen at *address* over TLS: ``Tls("127.0.0.1:8443", cert="cert.pem", key="key.pem")``.

    The files are read when the server starts, and anew when it is told to reload; connections that stand are not
    touched by that.

    :raises ValueError: not an address, or two settings that contradict each other.
    """

    address: str | ServerAddress
    cert: File = field(kw_only=True)
    """PEM: the certificate, then those that lead to its authority."""
    key: File = field(kw_only=True)
    """PEM: the private key of the certificate."""
    password: str | None = field(default=None, kw_only=True, repr=False)
    """Of an encrypted key."""
    names: Mapping[str, tuple[File, File]] = field(default_factory=dict, kw_only=True)
    """Other certificates with their keys, by the name that the client asks for: ``www.a.com``, ``*.a.com``."""
    strict_names: bool = field(default=False, kw_only=True)
    """Refuse a client that asks for a name which is not in ``names``, instead of showing it the default certificate."""
    alpn: tuple[str, ...] = field(default=("h2", "http/1.1"), kw_only=True)
    """Protocols, the preferred first. With ``h2`` alone, who does not speak it is refused."""
    client_ca: File | None = field(default=None, kw_only=True)
    """PEM: who issues the clients' certificates. Alone, a certificate of theirs is required."""
    client_auth: ClientAuth | str | None = field(default=None, kw_only=True)
    """``none``, ``optional`` or ``required``."""
    min_version: str = field(default="TLSv1.2", kw_only=True)
    max_version: str = field(default="TLSv1.3", kw_only=True)
    ciphers: str = field(default=DEFAULT_CIPHERS, kw_only=True)
    """Of TLS 1.2, as OpenSSL names them; those of TLS 1.3 are all good, and the library takes no list of them."""
    curves: str | None = field(default=None, kw_only=True)
    """The group of the key exchange; the library takes one."""
    tickets: int = field(default=2, kw_only=True)
    """Tickets with which a client may resume its session; 0 for none."""
    keylog: str | None = field(default=None, kw_only=True)
    """A file to which the secrets of every session are appended, as SSLKEYLOGFILE of other programs."""
    choose: Callable[[ClientHello], Any] | None = field(default=None, kw_only=True)
    """Chooses the certificate, a :class:`CertKey`, by what the client said; None is by the name as above.

    Plain, ``@blocking``, or ``async def`` on asyncio: a handshake that waits for it holds up nobody. An
    :class:`Error` that it raises refuses the client.
    """
    offload: bool = field(default=False, kw_only=True)
    """Answer clients in a thread, so that others need not wait while many shake hands; it costs a third more CPU."""
    completed: Callable[[TlsHandshake], object] | None = field(default=None, kw_only=True)
    """Told of every handshake; what it returns lands in the extension of the ``SslDigest``."""

    def __post_init__(self) -> None:
        if isinstance(self.address, str):
            object.__setattr__(self, "address", ServerAddress.parse(self.address))  # frozen, and not yet shared
        auth = self.client_auth
        if auth is None:
            auth = ClientAuth.NONE if self.client_ca is None else ClientAuth.REQUIRED
        elif isinstance(auth, str):
            try:
                auth = ClientAuth(auth)
            except ValueError:
                raise ValueError(f"client_auth {auth!r}: write none, optional or required") from None
        object.__setattr__(self, "client_auth", auth)
        if (auth is ClientAuth.NONE) != (self.client_ca is None):
            raise ValueError("client_ca and client_auth belong together: who issues certificates, and who needs one")
        alpn: Any = self.alpn  # a text is a sequence of texts as well
        if isinstance(alpn, str) or not all(0 < len(name.encode()) < 256 for name in self.alpn):
            raise ValueError(f"alpn {self.alpn!r}: write a tuple of names of 1 to 255 bytes, as ('h2', 'http/1.1')")
        if self.choose is not None and form_of(self.choose) is Form.GENERATOR:
            raise ValueError("choose is a generator: write it plain, @blocking or async def")

    def check(self, runtime: str, *, can_await: bool) -> None:
        """Refuse a callback that *runtime* cannot run.

        :raises TypeError: ``async def`` where nothing awaits.
        :raises ValueError: ``offload`` where calls that block take the time of the loop all the same.
        """
        if self.offload and runtime == "gevent":
            raise ValueError("offload has no effect on gevent, whose greenlets share a thread: leave it out there")
        if self.choose is not None:
            check_form("the choice of a certificate", form_of(self.choose), runtime, can_await=can_await)

    def chooser(self) -> ChooseCertificate | None:
        """:attr:`choose` as :class:`~sansio_pingora.tls.ServerTls` takes it."""
        choose = self.choose
        if choose is None or form_of(choose) is Form.PLAIN:
            return choose
        from sansio_pingora.tls import ChooseLater  # the library of TLS, when it is spoken

        is_async = form_of(choose) is Form.ASYNC
        return lambda hello: ChooseLater(partial(choose, hello), is_async)
