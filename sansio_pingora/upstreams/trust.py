"""Certificates, keys and authorities as values, by Pingora's names: read by whoever may read files."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

__all__ = ["CaCerts", "CertKey"]

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class CertKey:
    """A certificate with its chain, and its private key, as PEM. Equal when all of them are.

    :raises ValueError: one is not PEM.
    """

    cert: bytes
    """The leaf first, then what leads to the authority."""
    key: bytes
    password: str | None = None
    """Of an encrypted key."""

    def __post_init__(self) -> None:
        if _BEGIN not in self.cert:
            swapped = ", but a private key: were the two swapped?" if _KEY in self.cert else ""
            raise ValueError(f"the certificate has no {_BEGIN.decode()}{swapped}")
        if _KEY not in self.key:
            raise ValueError("the key has no -----BEGIN PRIVATE KEY-----")

    def __repr__(self) -> str:
        return f"<CertKey {sha256(self.cert).hexdigest()[:16]}>"


@dataclass(frozen=True, slots=True)
class CaCerts:
    """Authorities to trust, as PEM.

    :raises ValueError: it is not PEM.
    """

    pem: bytes

    def __post_init__(self) -> None:
        if _BEGIN not in self.pem:
            raise ValueError(f"the authorities hold no PEM: each begins with {_BEGIN.decode()}")

    def __repr__(self) -> str:
        return f"<CaCerts {sha256(self.pem).hexdigest()[:16]}>"
