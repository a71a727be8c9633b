"""The certificates, keys and authorities that a configuration names: whether TLS can be made of them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from os import fspath

from sansio_pingora.errors import Error
from sansio_pingora.listeners import File
from sansio_pingora.server import ServerConf, UpstreamTls
from sansio_pingora.tls import ClientSettings, ServerSettings, validity
from sansio_pingora.upstreams import CertKey
from sansio_pingora_posix.tls_contexts import StdlibTls, read_ca, read_cert_key
from sansio_pingora_posix.tls_listening import TlsListening

__all__ = ["check_certificates"]

_END = "-----END CERTIFICATE-----"


def check_certificates(conf: ServerConf, wall: float, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """One line for everything that would keep TLS from being made, and one for each certificate that is not valid at
    *wall*, in Unix time, with which TLS can be made all the same.
    """
    check = _Check(conf, wall)
    check.whole_file(environ)
    for at, service in enumerate(conf.services):
        for number, listener in enumerate(service.listeners):
            if listener.tls is not None:
                place = f"services[{at}].listeners[{number}].tls"
                names = {f"names.{name}": pair for name, pair in listener.tls.names.items()}
                pairs = {"": (listener.tls.cert, listener.tls.key), **names}
                if not check.pairs(place, pairs, listener.tls.password) and listener.tls.client_ca is not None:
                    check.authorities(f"{place}.client_ca", listener.tls.client_ca)
                if not check.has_problem(place):
                    try:
                        TlsListening(listener.tls)
                    except Error as exc:
                        check.wrong(place, f"{exc.context}: correct it")
        for number, upstream in enumerate(service.upstreams):
            if upstream.tls is not None:
                check.upstream(f"services[{at}].upstreams[{number}].tls", upstream.tls)
    return [text for _, text in check.problems], check.warnings


class _Check:
    def __init__(self, conf: ServerConf, wall: float) -> None:
        self._conf = conf
        self._wall = wall
        self._backend = StdlibTls()
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def wrong(self, path: str, text: str) -> None:
        """A problem with the value at *path*."""
        self.problems.append((path, f"{self._conf.place(path)} {text}"))

    def has_problem(self, place: str) -> bool:
        """Whether there is one at *place* or below."""
        return any(path.startswith(place) for path, _ in self.problems)

    def whole_file(self, environ: Mapping[str, str]) -> None:
        """What stands for all services."""
        if self._conf.ca_file is not None:
            self.authorities("ca_file", self._conf.ca_file)
        if self._conf.upstream_debug_ssl_keylog and not environ.get("SSLKEYLOGFILE"):
            self.wrong("upstream_debug_ssl_keylog", "the variable SSLKEYLOGFILE names no file: set it, or write false")

    def authorities(self, path: str, file: File) -> None:
        """A file of authorities."""
        if self._readable(path, file):
            try:
                self._backend.client_context(ClientSettings(ca=read_ca(file)))
            except (Error, ValueError) as exc:
                self.wrong(path, f"{fspath(file)}: {_text(exc)}: name a PEM file of authorities")

    def pairs(self, place: str, pairs: Mapping[str, tuple[File, File]], password: str | None = None) -> bool:
        """Certificates with their keys; whether one of them cannot be used."""
        for name, (cert, key) in pairs.items():
            path = f"{place}.{name}" if name else place
            readable = [self._readable(f"{path}.cert", cert), self._readable(f"{path}.key", key)]
            if all(readable):
                try:
                    made = read_cert_key(cert, key, None if name else password)
                    self._backend.server_context(ServerSettings(cert_key=made))
                except (Error, ValueError) as exc:
                    self.wrong(
                        f"{path}.key", f"{fspath(cert)}, {fspath(key)}: {_text(exc)}: name two that belong together"
                    )
                else:
                    self._look_at_time(f"{path}.cert", cert, made)
        return self.has_problem(place)

    def upstream(self, place: str, tls: UpstreamTls) -> None:
        """What is shown to an upstream, and whom it is trusted by."""
        if tls.ca is not None:
            self.authorities(f"{place}.ca", tls.ca)
        if tls.cert is not None and tls.key is not None:
            self.pairs(place, {"": (tls.cert, tls.key)})

    def _readable(self, path: str, file: File) -> bool:
        try:
            with open(file, "rb"):
                return True
        except OSError as exc:
            self.wrong(path, f"{fspath(file)} cannot be read: {exc.strerror}: name a PEM file that this user may read")
            return False

    def _look_at_time(self, path: str, file: File, made: CertKey) -> None:
        for der in _certificates(made.cert.decode("ascii", "replace")):
            begin, end = validity(der)
            if end < self._wall:
                text = f"{fspath(file)} has expired on {_date(end)}: clients will refuse it; renew it"
            elif begin > self._wall:
                text = f"{fspath(file)} is valid from {_date(begin)} on: clients will refuse it until then"
            else:
                continue
            self.warnings.append(f"{self._conf.place(path)} {text}")
            return


def _certificates(pem: str) -> Iterator[bytes]:
    """The leaf, then what leads to its authority."""
    for part in pem.split(_END)[:-1]:
        begin = part.index("-----BEGIN CERTIFICATE-----")
        yield ssl.PEM_cert_to_DER_cert(f"{part[begin:]}{_END}\n")


def _text(exc: Error | ValueError) -> str:
    if isinstance(exc, Error):  # begins with the files
        return str(exc.context).rpartition(": ")[2]
    return str(exc)


def _date(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")
