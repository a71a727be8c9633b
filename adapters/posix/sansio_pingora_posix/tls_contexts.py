"""Contexts of :mod:`ssl`, made from settings; and what the settings say, read from files."""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.tls import ClientAuth, ClientSettings, ServerSettings
from sansio_pingora.upstreams import CaCerts, CertKey

__all__ = ["StdlibTls", "read_ca", "read_cert_key"]

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_AUTH = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


def read_cert_key(cert: str | os.PathLike[str], key: str | os.PathLike[str], password: str | None = None) -> CertKey:
    """A certificate with its chain, and its private key, from PEM files.

    :raises Error: ``FILE_READ_ERROR``: one cannot be read, or is not PEM.
    """
    certificate, private = _read(cert), _read(key)
    try:
        return CertKey(certificate, private, password)
    except ValueError as exc:
        raise Error(ErrorType.FILE_READ_ERROR, f"{cert}, {key}: {exc}") from None


def read_ca(path: str | os.PathLike[str]) -> CaCerts:
    """Authorities to trust, from a PEM file.

    :raises Error: ``FILE_READ_ERROR``: it cannot be read, or is not PEM.
    """
    try:
        return CaCerts(_read(path))
    except ValueError as exc:
        raise Error(ErrorType.FILE_READ_ERROR, f"{path}: {exc}") from None


class StdlibTls:
    """The backend on the standard library's :mod:`ssl`, with *cache_size* contexts kept. Threads may share it.

    *ca*: whom peers without authorities of their own are trusted by, instead of the system's. *keylog*: a file to
    which the secrets of every session with a peer are appended.
    """

    def __init__(self, cache_size: int = 64, *, ca: CaCerts | None = None, keylog: str | None = None) -> None:
        self._cache_size = cache_size
        self._ca = ca
        self._keylog = keylog
        self._lock = threading.Lock()
        self._made: OrderedDict[Any, ssl.SSLContext] = OrderedDict()

    def server_context(self, settings: ServerSettings) -> ssl.SSLContext:
        """See :class:`sansio_pingora.tls.TlsBackend`."""
        return self._once(settings, lambda: _server(settings))

    def client_context(self, settings: ClientSettings) -> ssl.SSLContext:
        """See :class:`sansio_pingora.tls.TlsBackend`."""
        return self._once(settings, lambda: _client(settings, self._ca, self._keylog))

    def _once(self, settings: Any, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        with self._lock:
            context = self._made.get(settings)
            if context is None:
                context = self._made[settings] = make()
                if len(self._made) > self._cache_size:
                    self._made.popitem(last=False)
            else:
                self._made.move_to_end(settings)
            return context


def _server(settings: ServerSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _common(context, settings)
    _load_cert_key(context, settings.cert_key)
    _log_keys(context, settings.keylog)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = settings.tickets
    if not settings.tickets:
        context.options |= ssl.OP_NO_TICKET
    context.verify_mode = _AUTH[settings.client_auth]
    if settings.client_auth is not ClientAuth.NONE:
        if settings.client_ca is None:
            raise ValueError("client_auth needs client_ca: the authorities that issued the clients' certificates")
        _load_ca(context, settings.client_ca)
    elif settings.client_ca is not None:
        raise ValueError("client_ca has no effect without client_auth: optional or required")
    return context


def _client(settings: ClientSettings, default_ca: CaCerts | None, keylog: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the machine does, with the alternative name
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    _common(context, settings)
    context.options |= ssl.OP_NO_RENEGOTIATION
    ca = settings.ca or (default_ca if settings.use_system_certs else None)
    if ca is not None:
        _load_ca(context, ca)
    elif settings.verify and settings.use_system_certs:
        context.load_default_certs()
    _log_keys(context, keylog)
    if settings.cert_key is not None:
        _load_cert_key(context, settings.cert_key)
    return context


def _common(context: ssl.SSLContext, settings: ServerSettings | ClientSettings) -> None:
    for name in ("min_version", "max_version"):
        version = getattr(settings, name)
        if version not in _VERSIONS:
            raise ValueError(f"{name} {version!r}: this library offers {' and '.join(_VERSIONS)}")
    context.minimum_version = _VERSIONS[settings.min_version]
    context.maximum_version = _VERSIONS[settings.max_version]
    if context.minimum_version > context.maximum_version:
        raise ValueError(f"min_version {settings.min_version} is above max_version {settings.max_version}")
    try:
        context.set_ciphers(settings.ciphers)
    except ssl.SSLError:
        raise ValueError(f"ciphers {settings.ciphers!r} name none that the library has") from None
    if settings.curves is not None:
        if ":" in settings.curves:
            raise ValueError(
                f"curves {settings.curves!r}: ssl of the standard library takes one group, and no list (before 3.15)"
            )
        try:
            context.set_ecdh_curve(settings.curves)
        except ValueError:
            raise ValueError(f"curves {settings.curves!r}: the library has no such group") from None
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))


def _log_keys(context: ssl.SSLContext, path: str | None) -> None:
    if path is not None:
        try:
            context.keylog_filename = path
        except OSError as exc:
            raise ValueError(f"keylog {path!r} cannot be written: {exc.strerror}") from None


def _load_ca(context: ssl.SSLContext, ca: CaCerts) -> None:
    try:
        context.load_verify_locations(cadata=ca.pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as exc:
        raise ValueError(f"the authorities cannot be read: {getattr(exc, 'reason', None) or exc}") from None


def _load_cert_key(context: ssl.SSLContext, cert_key: CertKey) -> None:
    # OpenSSL takes them from a file alone, before Python 3.15: one that nobody else may read, for a moment.
    with tempfile.NamedTemporaryFile() as file:
        file.write(cert_key.cert.rstrip() + b"\n" + cert_key.key)
        file.flush()
        try:
            context.load_cert_chain(file.name, password=cert_key.password or _no_password)
        except (ssl.SSLError, OSError) as exc:
            reason = getattr(exc, "reason", None)
            if reason == "KEY_VALUES_MISMATCH":
                raise ValueError("the private key does not belong to the certificate") from None
            raise ValueError(f"the certificate and its key cannot be read: {reason or exc}") from None


def _no_password() -> str:
    """In the place of a prompt on the terminal, which would wait for ever."""
    raise ValueError("the private key is encrypted: give its password")


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise Error(ErrorType.FILE_READ_ERROR, f"{os.fspath(path)}: {exc.strerror}", cause=exc) from None
