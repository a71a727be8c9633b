"""Certificates for a show, made on the spot where trustme is installed: an authority, and what it issues."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sansio_pingora.upstreams import CaCerts

__all__ = ["CAN_ISSUE", "Authority"]

CAN_ISSUE = find_spec("trustme") is not None
"""Certificates can be made: ``pip install 'sansio-pingora[demo]'``."""


class Authority:
    """Issues certificates into *folder*; nobody but who is given :attr:`ca` believes them."""

    def __init__(self, folder: str) -> None:
        import trustme  # a dependency of the demo alone

        self._folder = Path(folder)
        self._made = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca = CaCerts(self._made.cert_pem.bytes())

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for *name*, and its key, as the paths of files."""
        issued = self._made.issue_cert(name)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return str(cert), str(key)
