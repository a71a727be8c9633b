"""Certificates as files, and listeners of them."""

from __future__ import annotations

from sansio_pingora.listeners import Tls
from tests.tls.certs import ca, cert


class Files:
    """Certificates as files."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, cert_key):
        paths = [self.folder / f"{name}.pem", self.folder / f"{name}.key"]
        for path, content in zip(paths, (cert_key.cert, cert_key.key), strict=True):
            path.write_bytes(content)
        return tuple(map(str, paths))

    def ca(self, name="main"):
        path = self.folder / f"ca-{name}.pem"
        if not path.exists():
            path.write_bytes(ca(name).pem)
        return str(path)


def listen(files, cert_key=None, name="server", **options):
    certificate, key = files.write(name, cert_key or cert())
    return Tls("127.0.0.1:0", cert=certificate, key=key, **options)
