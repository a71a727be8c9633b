"""permessage-deflate (RFC 7692): what is negotiated, and its two ends, with a ceiling over what inflates."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sansio_pingora.websocket.events import CloseCode, WebSocketFault

__all__ = ["Deflate", "Deflater", "Inflater"]

_TAIL = b"\x00\x00\xff\xff"
_STEP = 65_536
"""Bytes inflated at a time: what a bomb can take before it is found out (CVE-2018-1000518).

No ceiling on the ratio beside that on the size: up to 1 MiB, the default of ws_max_message,
it would allow anything, and whoever raises that wants messages of the size, zeros too.
"""
_LEVEL = 4
_MEMORY = 6  # 32 KiB of state and the window, rather than 128 KiB
_NAME = "permessage-deflate"
_PARAMETER = re.compile(r'\s*([a-z_]+)\s*(?:=\s*"?([0-9]+)"?\s*)?')
_BITS = re.compile(r"[89]|1[0-5]")


@dataclass(frozen=True, slots=True)
class Deflate:
    """The parameters of one connection (RFC 7692 section 7.1)."""

    server_no_context_takeover: bool = False
    """The server compresses each message by itself."""
    client_no_context_takeover: bool = False
    """The client compresses each message by itself."""
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    client_bits_named: bool = False
    """The client named its window: an answer may do so too."""

    @classmethod
    def choose(cls, offers: str) -> Deflate | None:
        """The first offer of *offers*, a Sec-WebSocket-Extensions field, that can be met.

        A window of 8 bits cannot: zlib compresses with 9 at least.
        """
        for offer in offers.split(","):
            found = cls._parse(offer, answer=False)
            if found is not None and found.server_max_window_bits >= 9:
                return found
        return None

    @classmethod
    def accepted(cls, answer: str) -> Deflate | None:
        """What the server's *answer* to our offer says; None: it is none that we can live with."""
        found = cls._parse(answer, answer=True)
        return found if found is not None and found.client_max_window_bits >= 9 else None

    @classmethod
    def _parse(cls, text: str, *, answer: bool) -> Deflate | None:
        name, *parameters = text.split(";")
        if name.strip() != _NAME:
            return None
        values: dict[str, bool | int] = {}
        for parameter in parameters:
            match = _PARAMETER.fullmatch(parameter)
            if match is None or match[1] in values:
                return None
            key, value = match.groups()
            if key in ("server_no_context_takeover", "client_no_context_takeover"):
                if value is not None:
                    return None
                values[key] = True
            elif key in ("server_max_window_bits", "client_max_window_bits"):
                if value is None:
                    if answer or key == "server_max_window_bits":
                        return None
                    values[key] = 15
                elif _BITS.fullmatch(value):
                    values[key] = int(value)
                else:
                    return None
            else:
                return None
        return cls(**values, client_bits_named="client_max_window_bits" in values)  # type: ignore[arg-type]  # by key

    def answer(self) -> bytes:
        """The field that accepts it."""
        parts = [_NAME]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_max_window_bits < 15:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_bits_named and self.client_max_window_bits < 15:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts).encode("ascii")


class Inflater:
    """What comes in."""

    __slots__ = ("_bits", "_ceiling", "_grown", "_inflate", "_keep")

    def __init__(self, bits: int, *, keep: bool, ceiling: int) -> None:
        self._bits = bits
        self._keep = keep
        self._ceiling = ceiling
        self._inflate = zlib.decompressobj(-bits)
        self._grown = 0  # bytes of this message

    def inflate(self, data: bytes, last: bool) -> Iterator[bytes]:
        """*data* inflated, in pieces of 64 KiB at most; *last*: the message ends behind it.

        :raises WebSocketFault: it is not deflated, or inflates beyond the ceilings.
        """
        yield from self._feed(data)
        if last:
            yield from self._feed(_TAIL)
            self._grown = 0
            if not self._keep:
                self._inflate = zlib.decompressobj(-self._bits)

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                out = self._inflate.decompress(data, _STEP)
            except zlib.error as exc:
                raise WebSocketFault(CloseCode.INVALID_DATA, f"not deflated: {exc}") from None
            self._grown += len(out)
            if self._grown > self._ceiling:
                raise WebSocketFault(CloseCode.TOO_BIG, f"a message of more than {self._ceiling} bytes")
            if out:
                yield out
            data = self._inflate.unconsumed_tail
            if self._inflate.eof:  # a block that called itself the last (RFC 7692 section 7.2.3.4)
                data = self._inflate.unused_data
                self._inflate = zlib.decompressobj(-self._bits)


class Deflater:
    """What goes out."""

    __slots__ = ("_bits", "_deflate", "_keep")

    def __init__(self, bits: int, *, keep: bool) -> None:
        self._bits = bits
        self._keep = keep
        self._deflate = self._new()

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._bits, _MEMORY)

    def deflate(self, data: bytes, last: bool) -> bytes:
        """One frame's payload; *last*: its message ends with it."""
        out = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if last:
            # Nothing new behind a flush gives nothing: an empty block stands for it (RFC 7692 section 7.2.3.6).
            out = out[:-4] if out.endswith(_TAIL) else b"\x00"
            if not self._keep:
                self._deflate = self._new()
        return out
