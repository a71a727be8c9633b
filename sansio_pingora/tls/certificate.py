"""What we want to know of a certificate, read from its bytes (RFC 5280), and whose it is (RFC 9525).

The standard library tells this only of certificates that it has verified; a digest is wanted of every one, and a
name may be checked where the chain is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

__all__ = ["Certificate", "accepted_names", "validity"]

_SEQUENCE, _SET, _INTEGER, _OID = 0x30, 0x31, 0x02, 0x06
_EXPLICIT_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_ORGANIZATION = b"\x55\x04\x0a"
_COMMON_NAME = b"\x55\x04\x03"
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_UTF16 = 0x1E
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The subject of a certificate."""

    serial_number: str
    """In hexadecimal digits."""
    organization: str | None
    common_name: str | None
    dns_names: tuple[str, ...]
    """In lower case; ``*.example.com`` stands for one label more."""
    addresses: tuple[str, ...]

    @classmethod
    def parse(cls, der: bytes) -> Certificate:
        """Read *der*.

        :raises ValueError: it is no certificate.
        """
        try:
            return _parse(der)
        except (IndexError, StopIteration, UnicodeDecodeError) as exc:
            raise ValueError("not a certificate") from exc

    def is_for(self, name: str) -> bool:
        """Whether it was issued to *name*, a DNS name or an address.

        Only the alternative names count: what a common name says is for people. An address matches an address alone.
        A wildcard stands for the whole leftmost label, and for no part of one.
        """
        try:
            return str(ip_address(name.strip("[]"))) in self.addresses
        except ValueError:
            pass
        wanted = name.lower().rstrip(".")
        first, dot, parent = wanted.partition(".")
        return any(
            known == wanted
            or (known[:2] == "*." and bool(dot) and bool(_LABEL.fullmatch(first)) and known[2:] == parent)
            for known in (known.rstrip(".") for known in self.dns_names)
        )


def accepted_names(name: str, alternative: str | None) -> tuple[str, ...]:
    """The names of which a certificate has to have one: each as it is, and as it could be certified.

    An underscore is no character of a host name, so that no authority certifies one in the leftmost label: a hyphen
    in its place is taken as well, as Pingora does where there are three labels or more.
    """
    names = []
    for given in (name, alternative):
        if given:
            names.append(given)
            first, dot, parent = given.partition(".")
            if dot and "." in parent and "_" in first:
                names.append(f"{first.replace('_', '-')}.{parent}")
    return tuple(names)


def validity(der: bytes) -> tuple[float, float]:
    """From when to when the certificate *der* is good, in Unix time.

    :raises ValueError: it is no certificate.
    """
    try:
        fields = _fields(der)
        for _ in range(3):  # serial number, signature algorithm, issuer
            next(fields)
        begin, end = (_instant(tag, value.decode("ascii")) for tag, value in _elements(next(fields)[1]))
    except (IndexError, StopIteration) as exc:
        raise ValueError("not a certificate") from exc
    return begin, end


def _instant(tag: int, text: str) -> float:
    """Of RFC 5280 section 4.1.2.5: always UTC, always with seconds."""
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a time of another kind")
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise ValueError(f"{text!r} is no time of a certificate")
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC).timestamp()


def _fields(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Of a certificate, from the serial number on."""
    (certificate,) = _values(der, _SEQUENCE)
    fields = iter(_elements(next(_values(certificate, _SEQUENCE))))
    first = next(fields)
    if first[0] != _EXPLICIT_VERSION:
        yield first
    yield from fields


def _parse(der: bytes) -> Certificate:
    fields = _fields(der)
    tag, value = next(fields)
    if tag != _INTEGER or not value:
        raise ValueError("a certificate without a serial number")
    serial = value.hex() if value[0] or len(value) == 1 else value[1:].hex()
    next(fields)  # signature algorithm
    next(fields)  # issuer
    next(fields)  # validity
    subject = dict(_attributes(next(fields)[1]))
    dns_names: list[str] = []
    addresses: list[str] = []
    for tag, value in fields:
        if tag == _EXTENSIONS:
            for kind, name in _alternative_names(value):
                if kind == _DNS_NAME:
                    dns_names.append(name.decode("ascii", "replace").lower())
                elif kind == _IP_ADDRESS and len(name) in (4, 16):
                    addresses.append(str(ip_address(name)))
    return Certificate(
        serial, subject.get(_ORGANIZATION), subject.get(_COMMON_NAME), tuple(dns_names), tuple(addresses)
    )


def _attributes(name: bytes) -> Iterator[tuple[bytes, str]]:
    """Type and text of what a distinguished name is made of."""
    for relative in _values(name, _SET):
        for attribute in _values(relative, _SEQUENCE):
            (_, kind), (tag, text) = list(_elements(attribute))[:2]
            yield kind, text.decode("utf-16-be" if tag == _UTF16 else "utf-8", "replace")


def _alternative_names(extensions: bytes) -> Iterator[tuple[int, bytes]]:
    for extension in _values(next(_values(extensions, _SEQUENCE)), _SEQUENCE):
        parts = list(_elements(extension))
        if parts[0] == (_OID, _ALTERNATIVE_NAMES):
            yield from _elements(next(_values(parts[-1][1], _SEQUENCE)))


def _values(data: bytes, tag: int) -> Iterator[bytes]:
    return (value for found, value in _elements(data) if found == tag)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each element in *data* (X.690): DER, so with definite lengths, and tags of one byte."""
    at, end = 0, len(data)
    while at < end:
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            if not 0 < width <= 4:
                raise ValueError("a length that DER does not have")
            size = int.from_bytes(data[at : at + width])
            at += width
        if at + size > end:
            raise ValueError("an element that is cut short")
        yield tag, data[at : at + size]
        at += size
