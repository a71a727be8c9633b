"""Requests that two parsers would read differently: each must be refused, and nothing behind it served."""

from __future__ import annotations

__all__ = ["KNOWN_BAD"]

_HIDDEN = b"GET /t/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

_GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"

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
    "other bytes behind a chunk": _CHUNKED + b"5\r\nhelloXX0\r\n\r\n" + _HIDDEN,
    "line feed behind a chunk": _CHUNKED + b"5\r\nhello\n0\r\n\r\n" + _HIDDEN,
    "signed chunk size": _CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "prefixed chunk size": _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "chunk size with an underscore": _CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "blank before a chunk size": _CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "no chunk size": _CHUNKED + b"\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "carriage return in an extension": _CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n" + _HIDDEN,
    "length with an underscore": _POST + b"Content-Length: 1_0\r\n\r\n0123456789" + _HIDDEN,
    "list of lengths": _POST + b"Content-Length: 5, 6\r\n\r\nhello" + _HIDDEN,
    "hexadecimal length": _POST + b"Content-Length: 0x10\r\n\r\n" + _HIDDEN,
    "negative length": _POST + b"Content-Length: -1\r\n\r\n" + _HIDDEN,
    "empty length": _POST + b"Content-Length: \r\n\r\n" + _HIDDEN,
    "length in other digits": _POST + b"Content-Length: \xd9\xa5\r\n\r\nhello" + _HIDDEN,
    "vertical tab behind a length": _POST + b"Content-Length: 5\x0b\r\n\r\nhello" + _HIDDEN,
    "two codings": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + _HIDDEN,
    "chunked before another coding": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + _HIDDEN,
    "chunked twice": _POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + _HIDDEN,
    "NUL in a value": _GET + b"X: a\x00b\r\n\r\n" + _HIDDEN,
    "carriage return in a value": _GET + b"X: a\rContent-Length: 5\r\n\r\n" + _HIDDEN,
    "field without a colon": _GET + b"X\r\n\r\n" + _HIDDEN,
    "field without a name": _GET + b": y\r\n\r\n" + _HIDDEN,
    "blank before the first field": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n" + _HIDDEN,
    "host that is none": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" + _HIDDEN,
}
"""By what is wrong with them."""
