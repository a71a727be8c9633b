"""From a listening address over TLS, with files by name, to one whose layers can be made; and reading files anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import fspath

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import ServerAddress, Tls
from sansio_pingora.tls import Certificates, ClientAuth, ServerSettings, ServerTls, TlsBackend
from sansio_pingora.upstreams import CertKey
from sansio_pingora_posix.tls_contexts import StdlibTls, read_ca, read_cert_key

__all__ = ["TlsListening"]


class TlsListening:
    """What *tls* says, read and made.

    :raises Error: ``FILE_READ_ERROR``: a file cannot be read, or a key is not its certificate's. ``BIND_ERROR``: the
        settings cannot be used.
    """

    def __init__(self, tls: Tls, backend: TlsBackend | None = None) -> None:
        self._tls = tls
        self._backend = StdlibTls() if backend is None else backend
        self._server = ServerTls(self._read(), tls.chooser(), tls.completed, offload=tls.offload)

    @property
    def address(self) -> ServerAddress:
        """Where to listen, with TLS above the layers that were there."""
        address = self._tls.address
        assert isinstance(address, ServerAddress)  # Tls has parsed it
        return replace(address, layers=(*address.layers, self._server))

    def prepare(self) -> Callable[[], None]:
        """Read the files again. Handshakes that begin after the call that is returned take what is in them.

        From any thread.

        :raises Error: as above; everything stays as it was.
        """
        certificates = self._read()

        def take() -> None:
            self._server.certificates = certificates

        return take

    def _read(self) -> Certificates:
        tls = self._tls
        assert isinstance(tls.client_auth, ClientAuth)  # Tls has parsed it
        settings = ServerSettings(
            cert_key=read_cert_key(tls.cert, tls.key, tls.password),
            alpn=tls.alpn,
            client_auth=tls.client_auth,
            client_ca=None if tls.client_ca is None else read_ca(tls.client_ca),
            min_version=tls.min_version,
            max_version=tls.max_version,
            ciphers=tls.ciphers,
            curves=tls.curves,
            tickets=tls.tickets,
            keylog=tls.keylog,
        )
        names = {name: read_cert_key(cert, key) for name, (cert, key) in tls.names.items()}
        try:
            return Certificates(self._backend, settings, names, strict=tls.strict_names)
        except ValueError as exc:
            self._find_at_fault(settings.cert_key, names)
            raise Error(ErrorType.BIND_ERROR, f"no TLS at {tls.address}: {exc}").into_in() from None

    def _find_at_fault(self, made: CertKey, names: Mapping[str, CertKey]) -> None:
        """:raises Error: a certificate and its key are what cannot be used."""
        tls = self._tls
        for (cert, key), pair in (((tls.cert, tls.key), made), *((tls.names[name], names[name]) for name in names)):
            try:
                self._backend.server_context(ServerSettings(cert_key=pair))
            except ValueError as exc:
                text = f"{fspath(cert)}, {fspath(key)}: {exc}: name two that belong together"
                raise Error(ErrorType.FILE_READ_ERROR, text) from None
