"""Requests that two parsers would read differently: each must be refused, and nothing behind it served."""

from __future__ import annotations

__all__ = ["KNOWN_BAD"]

_HIDDEN = b"GET /t/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

_POST = b"POST / HTTP/1.1\r\nHost: h\r\n"

KNOWN_BAD: dict[str, bytes] = {
    "both framings": _POST + b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _HIDDEN,
    "unknown coding": _POST + b"Transfer-Encoding: xchunked\r\n\r\n" + _HIDDEN,
    "vertical tab before a coding": _POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + _HIDDEN,
    "two lengths": _POST + b"Content-Length: 0\r\nContent-Length: 39\r\n\r\n" + _HIDDEN,
    "signed length": _POST + b"Content-Length: +5\r\n\r\n" + _HIDDEN,
    "line feed in a chunk line": _POST + b"Transfer-Encoding: chunked\r\n\r\n5;\n\r\n" + _HIDDEN,
    "chunk longer than it says": _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n" + _HIDDEN,
    "no host": b"GET / HTTP/1.1\r\n\r\n" + _HIDDEN,
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: h\n\n" + _HIDDEN,
    "blank before the colon": b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n" + _HIDDEN,
    "version 9.9": b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
}
"""By what is wrong with them."""
