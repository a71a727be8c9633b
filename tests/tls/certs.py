"""Certificates for tests, made once for each process."""

from __future__ import annotations

import datetime as dt
from functools import cache

import trustme

from sansio_pingora.upstreams import CaCerts, CertKey

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@cache
def authority(name: str = "main") -> trustme.CA:
    return trustme.CA(organization_name=f"Authority {name}")


def ca(name: str = "main") -> CaCerts:
    return CaCerts(authority(name).cert_pem.bytes())


@cache
def cert(*names: str, by: str = "main", expired: bool = False, organization: str = "Acme") -> CertKey:
    issued = authority(by).issue_cert(
        *(names or ("localhost", "127.0.0.1")),
        organization_name=organization,
        **({"not_before": PAST, "not_after": PAST + dt.timedelta(days=1)} if expired else {}),
    )
    return CertKey(b"".join(pem.bytes() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes())


@cache
def self_signed(name: str = "localhost") -> CertKey:
    """A leaf that nobody has issued but itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0x8000)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertKey(made.public_bytes(pem), private)
