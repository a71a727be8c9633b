"""Which content coding an answer may have, by what the client says (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sansio_pingora.wire import Fields

__all__ = ["accepted_codings", "choose_coding", "compressible_type", "may_have"]

_ELEMENT = re.compile(
    rb"[ \t]*+([!#$%&'*+\-.^_`|~0-9A-Za-z]++)[ \t]*+"
    rb"(?:;[ \t]*+[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*+)?"
)
_ALIASES = {"x-gzip": "gzip", "x-compress": "compress"}

# All but what is compressed in itself, or framed in a way that a coding would break.
_PLAIN = ("text/", "application/", "font/")
_ALSO = frozenset({"image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon", "image/bmp", "binary/octet-stream"})
_NEVER = frozenset(
    {
        "application/gzip",
        "application/java-archive",
        "application/octet-stream",
        "application/pdf",
        "application/vnd.android.package-archive",
        "application/vnd.rar",
        "application/x-7z-compressed",
        "application/x-brotli",
        "application/x-bzip2",
        "application/x-gzip",
        "application/x-rar-compressed",
        "application/x-xz",
        "application/x-zip-compressed",
        "application/zip",
        "application/zstd",
        "font/woff",
        "font/woff2",
    }
)


def accepted_codings(fields: Fields) -> dict[str, float]:
    """The codings that a request accepts, in lower case, with their weights; ``*`` for all that it does not name.

    Empty: it names none, which RFC 9110 lets us take for all, and many clients do not mean so. What is not
    well-formed is passed over.
    """
    found: dict[str, float] = {}
    for line in fields.get_all(b"accept-encoding"):
        for element in line.split(b","):
            match = _ELEMENT.fullmatch(element)
            if match is not None:
                name = match[1].decode("ascii").lower()
                found[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    return found


def may_have(accepted: dict[str, float], coding: str) -> bool:
    """A response in *coding* is acceptable."""
    return accepted.get(coding, accepted.get("*", 0.0)) > 0


def choose_coding(accepted: dict[str, float], offered: Iterable[str]) -> str | None:
    """The one of *offered*, the most wanted first, that the client likes best; None: none of them.

    None also where the client likes ``identity`` better.
    """
    best, weight = None, 0.0
    for coding in offered:
        liked = accepted.get(coding, accepted.get("*", 0.0))
        if liked > weight:
            best, weight = coding, liked
    return None if accepted.get("identity", 0.0) > weight else best


def compressible_type(content_type: bytes | None) -> bool:
    """Whether a body of *content_type* gets smaller by a coding."""
    if content_type is None:
        return False
    kind = content_type.partition(b";")[0].strip(b" \t").lower().decode("latin-1")
    if kind in _ALSO:
        return True
    if not kind.startswith(_PLAIN) or kind in _NEVER or kind.endswith("+zip"):
        return False
    return not kind.startswith(("application/grpc", "application/vnd.openxmlformats", "application/vnd.oasis"))
