"""Content codings as streams of bytes: gzip, deflate, br, zstd, and zstd with a dictionary (dcz, RFC 9842).

gzip and deflate are in the standard library; the others need ``pip install 'sansio-pingora[compress]'``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import Any, Protocol

from sansio_pingora.errors import Error

__all__ = ["CODINGS", "Decoder", "Dictionary", "Encoder", "available_codings", "new_decoder", "new_encoder"]

CODINGS = ("dcz", "zstd", "br", "gzip", "deflate")
"""What can be encoded and decoded where its library is there, the most wanted first."""

_DCZ_MAGIC = bytes.fromhex("5e2a4d1820000000")
_DCZ_HEADER = 40
_GZIP, _ZLIB, _RAW = 31, 15, -15  # what zlib calls wbits
_BROTLI_WINDOW = 19  # log2: half a megabyte for each stream, as Pingora has it
_ZSTD_WINDOW = 23  # log2: no decoder must take more (RFC 9659)
_DICTIONARY_WINDOW = 27  # log2: what a dictionary may ask for (RFC 9842 section 5)
_PART = 16_384  # bytes given to a library at a time, behind a stream's end: at the next one it copies the rest of them
_BEST = {"gzip": 9, "deflate": 9, "br": 11, "zstd": 22, "dcz": 22}


class Encoder(Protocol):
    """One body on its way into a coding."""

    def encode(self, data: bytes) -> bytes:
        """What *data* makes come out; the rest of it is kept for better compression."""

    def flush(self) -> bytes:
        """All that was kept: who reads up to here can decode all that went in."""

    def finish(self) -> bytes:
        """The end."""


class Decoder(Protocol):
    """One body on its way out of a coding."""

    def decode(self, data: bytes, most: int) -> bytes:
        """What *data* stands for.

        :raises Error: it is more than *most* bytes, or *data* is not in the coding.
        """

    def finish(self) -> None:
        """Nothing more comes.

        :raises Error: the coding was not complete.
        """


class Dictionary:
    """What both ends have already, for a smaller response (RFC 9842)."""

    __slots__ = ("content", "hash", "zstd")

    def __init__(self, content: bytes) -> None:
        """Any content, as an older version of what is to be sent.

        :raises ImportError: the library for zstd is not installed.
        """
        self.content = content
        self.hash = sha256(content).digest()
        self.zstd: Any = _zstd().ZstdDict(content, is_raw=True)


@cache
def available_codings() -> tuple[str, ...]:
    """Those of :data:`CODINGS` whose libraries are installed."""
    return tuple(name for name in CODINGS if _is_there(name))


def new_encoder(coding: str, level: int, dictionary: Dictionary | None = None) -> Encoder:
    """An encoder at *level*, or the best that the coding has if that is less.

    :raises ImportError: the library is not installed.
    """
    level = min(level, _BEST[coding])
    if coding == "br":
        return _BrotliEncoder(level)
    if coding in ("zstd", "dcz"):
        return _ZstdEncoder(level, dictionary if coding == "dcz" else None)
    return _ZlibEncoder(level, _GZIP if coding == "gzip" else _ZLIB)


def new_decoder(coding: str, find: Callable[[bytes], Dictionary | None] = lambda _: None) -> Decoder:
    """A decoder; *find* gives the dictionary of a hash that a ``dcz`` body names.

    :raises ImportError: the library is not installed.
    """
    if coding == "br":
        return _BrotliDecoder()
    if coding == "zstd":
        return _ZstdDecoder(None)
    if coding == "dcz":
        return _DczDecoder(find)
    return _GzipDecoder() if coding == "gzip" else _DeflateDecoder()


def _brotli() -> Any:
    return import_module("brotli")


@cache  # to look for the first of them where it is not takes a quarter of a millisecond
def _zstd() -> Any:
    try:
        return import_module("compression.zstd")  # Python 3.14
    except ImportError:
        return import_module("backports.zstd")


def _is_there(coding: str) -> bool:
    try:
        if coding == "br":
            _brotli()
        elif coding in ("zstd", "dcz"):
            _zstd()
    except ImportError:
        return False
    return True


def _broken(what: str) -> Error:
    return Error.custom("DecompressionError", what).into_up()


def _too_much(most: int) -> Error:
    return _broken(
        f"more than the ceiling of {most} decoded bytes more: see the limits max_expansion, max_decoded_body"
    )


class _ZlibEncoder:
    __slots__ = ("_inner", "encode")

    def __init__(self, level: int, wbits: int) -> None:
        self._inner = zlib.compressobj(level, zlib.DEFLATED, wbits)
        self.encode = self._inner.compress

    def flush(self) -> bytes:
        return self._inner.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._inner.flush()


class _BrotliEncoder:
    __slots__ = ("encode", "finish", "flush")

    def __init__(self, level: int) -> None:
        inner = _brotli().Compressor(quality=level, lgwin=_BROTLI_WINDOW)
        self.encode: Callable[[bytes], bytes] = inner.process
        self.flush: Callable[[], bytes] = inner.flush
        self.finish: Callable[[], bytes] = inner.finish


class _ZstdEncoder:
    __slots__ = ("_head", "_inner")

    def __init__(self, level: int, dictionary: Dictionary | None) -> None:
        library = _zstd()
        parameter = library.CompressionParameter
        options = {parameter.compression_level: level}
        if level > 19:  # whose window would be larger
            options[parameter.window_log] = _ZSTD_WINDOW
        self._inner = library.ZstdCompressor(
            options=options, zstd_dict=None if dictionary is None else dictionary.zstd.as_prefix
        )
        self._head = b"" if dictionary is None else _DCZ_MAGIC + dictionary.hash

    def encode(self, data: bytes) -> bytes:
        return self._led(self._inner.compress(data))

    def flush(self) -> bytes:
        return self._led(self._inner.flush(self._inner.FLUSH_BLOCK))

    def finish(self) -> bytes:
        return self._led(self._inner.flush())

    def _led(self, data: bytes) -> bytes:
        """Behind what comes before the first byte."""
        head, self._head = self._head, b""
        return head + data


class _Members:
    """A decoder of a coding in which one stream may follow another; *new* makes one for the next."""

    __slots__ = ("_inner", "_once")

    def __init__(self, *, once: bool = False) -> None:
        self._inner: Any = None
        self._once = once  # nothing may follow the first stream
        """The stream under way; False: one has ended."""

    def _new(self) -> Any:
        raise NotImplementedError

    def _step(self, inner: Any, data: bytes, most: int) -> tuple[bytes, bytes]:
        """Up to *most* bytes more, and what of *data* is left; *most* is 1 or more."""
        raise NotImplementedError

    def decode(self, data: bytes, most: int) -> bytes:
        pieces: list[bytes] = []
        size = at = 0
        step = len(data)
        while at < len(data):
            if not self._inner:
                if self._inner is False and self._once:
                    raise _broken(f"{len(data) - at} bytes behind the end of the coded body")
                self._inner = self._new()
            part = data[at : at + step]
            try:
                piece, left = self._step(self._inner, part, most - size + 1)
            except Exception as exc:  # each library has an exception of its own
                raise _broken(f"the coded body cannot be decoded: {exc}") from exc
            at += len(part) - len(left)
            size += len(piece)
            if size > most:
                raise _broken(
                    f"the body decodes to more than the ceiling of {most} bytes more, which max_expansion sets"
                )
            pieces.append(piece)
            if self._inner.eof:
                self._inner = False
                step = _PART
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        if self._inner:
            raise _broken("the coded body ends in its middle")


class _GzipDecoder(_Members):
    __slots__ = ()

    def _new(self) -> Any:
        return zlib.decompressobj(_GZIP)

    def _step(self, inner: Any, data: bytes, most: int) -> tuple[bytes, bytes]:
        return inner.decompress(data, most), inner.unconsumed_tail or inner.unused_data


class _DeflateDecoder(_GzipDecoder):
    """zlib's format, as RFC 9110 section 8.4.1.2 has it, or none, as some have always sent it."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        super().__init__(once=True)
        self._first = b""

    def _new(self) -> Any:
        first = self._first
        headed = first[0] & 15 == 8 and first[0] >> 4 < 8 and int.from_bytes(first, "big") % 31 == 0
        return zlib.decompressobj(_ZLIB if headed else _RAW)

    def decode(self, data: bytes, most: int) -> bytes:
        if len(self._first) < 2:
            held = self._first + data
            self._first = held[:2]
            if len(held) < 2:
                return b""
            data = held
        return super().decode(data, most)

    def finish(self) -> None:
        if len(self._first) == 1:
            raise _broken("the coded body ends in its middle")
        super().finish()


class _ZstdDecoder(_Members):
    __slots__ = ("_dictionary",)

    def __init__(self, dictionary: Dictionary | None) -> None:
        super().__init__()
        self._dictionary = dictionary

    def _new(self) -> Any:
        library = _zstd()
        known = self._dictionary
        most = library.DecompressionParameter.window_log_max
        return library.ZstdDecompressor(
            options={most: _ZSTD_WINDOW if known is None else _DICTIONARY_WINDOW},
            zstd_dict=None if known is None else known.zstd.as_prefix,
        )

    def _step(self, inner: Any, data: bytes, most: int) -> tuple[bytes, bytes]:
        return inner.decompress(data, most), inner.unused_data if inner.eof else b""


class _DczDecoder:
    """The magic number, a hash, and zstd with the dictionary of that hash."""

    __slots__ = ("_find", "_head", "_inner")

    def __init__(self, find: Callable[[bytes], Dictionary | None]) -> None:
        self._find = find
        self._head = b""
        self._inner: _ZstdDecoder | None = None

    def decode(self, data: bytes, most: int) -> bytes:
        if self._inner is None:
            held = self._head + data
            self._head, data = held[:_DCZ_HEADER], held[_DCZ_HEADER:]
            if len(self._head) < _DCZ_HEADER:
                return b""
            dictionary = self._find(self._head[8:])
            if self._head[:8] != _DCZ_MAGIC or dictionary is None:
                raise _broken("the body is not in dcz, or with a dictionary that is not known here")
            self._inner = _ZstdDecoder(dictionary)
        return self._inner.decode(data, most)

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()
        elif self._head:
            raise _broken("the coded body ends in its middle")


class _BrotliDecoder:
    __slots__ = ("_fed", "_inner")

    def __init__(self) -> None:
        self._inner = _brotli().Decompressor()
        self._fed = False

    def decode(self, data: bytes, most: int) -> bytes:
        self._fed = self._fed or bool(data)
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                piece = self._inner.process(data, output_buffer_limit=most - size + 1)
            except Exception as exc:
                raise _broken(f"the coded body cannot be decoded: {exc}") from exc
            size += len(piece)
            if size > most:
                raise _broken(
                    f"the body decodes to more than the ceiling of {most} bytes more, which max_expansion sets"
                )
            pieces.append(piece)
            if self._inner.can_accept_more_data():
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            data = b""

    def finish(self) -> None:
        if self._fed and not self._inner.is_finished():
            raise _broken("the coded body ends in its middle")
