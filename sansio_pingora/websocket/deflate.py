"""permessage-deflate (RFC 7692): what is negotiated, and its two ends, with a ceiling over what inflates."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from sansio_pingora.websocket.events import CloseCode, WebSocketFault

__all__ = ["Deflate", "Deflater", "Inflater"]

_TAIL = b"\x00\x00\xff\xff"
_STEP = 65_536
"""Bytes inflated at a time: what a bomb can take before it is found out (CVE-2018-1000518).

No ceiling on the ratio beside that on the size: up to 1 MiB, the default of ws_max_message,
it would allow anything, and whoever raises that wants messages of the size, zeros too.
"""
_PART = 16_384
"""Bytes given to zlib at a time: behind a block that calls itself the last it copies what it did not take, and one
has 2 bytes."""
_LEVEL = 4
_MEMORY = 6  # 32 KiB of state and the window, rather than 128 KiB
_NAME = "permessage-deflate"
_PARAMETER = re.compile(r'[ \t]*([a-z_]+)[ \t]*(?:=[ \t]*(?:([0-9]+)|"([0-9]+)")[ \t]*)?')
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
    server_bits_named: bool = False
    """The client named the server's window: an answer must do so too (section 7.1.2.1)."""
    client_bits_named: bool = False
    """The client named its own window: an answer may do so too (section 7.1.2.2)."""

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
            key, value = match[1], match[2] or match[3]
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
        return cls(
            **values,  # type: ignore[arg-type]  # by key
            server_bits_named="server_max_window_bits" in values,
            client_bits_named="client_max_window_bits" in values,
        )

    def answer(self) -> bytes:
        """The field that accepts it."""
        parts = [_NAME]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_bits_named or self.server_max_window_bits < 15:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_bits_named and self.client_max_window_bits < 15:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts).encode("ascii")


class Inflater:
    """What comes in: :meth:`give` it what a frame holds, and :meth:`take` what that inflates to while ``pending``.

    In steps, so that whoever takes decides how much of it there is in memory at once.
    """

    __slots__ = (
        "_at",
        "_begun",
        "_bits",
        "_ceiling",
        "_data",
        "_grown",
        "_inflate",
        "_keep",
        "_last",
        "_tailed",
        "pending",
    )

    def __init__(self, bits: int, *, keep: bool, ceiling: int) -> None:
        self._bits = bits
        self._keep = keep
        self._ceiling = ceiling
        self._inflate: zlib._Decompress | None = None  # made when it is needed: 40 KiB of an idle connection
        self._data = b""
        self._at = 0  # how much of it was taken
        self._last = False  # the message ends behind it
        self._begun = False  # the message had a byte
        self._tailed = False  # what a sender leaves out was put behind it
        self._grown = 0  # bytes of the message so far
        self.pending = False
        """Something given was not taken yet."""

    def give(self, data: bytes, last: bool) -> None:
        """Bytes of a message; *last*: it ends behind them."""
        self._data = data
        self._at = 0
        self._last = last
        if data:
            self._begun = True
        self.pending = True

    def drop(self) -> None:
        """What was given is not wanted any more, nor is anything else."""
        self._data = b""
        self.pending = False

    def take(self) -> bytes:
        """The next piece, of 64 KiB or a little more; the last when nothing is ``pending`` then, and perhaps empty.

        :raises WebSocketFault: it is not deflated, or inflates beyond the ceiling.
        """
        out = self._step()
        while self.pending and len(out) < _STEP:
            out += self._step()
        self._grown += len(out)
        if self._grown > self._ceiling:
            raise WebSocketFault(CloseCode.TOO_BIG, f"a message of more than {self._ceiling} bytes")
        if self._last and not self.pending:
            self._last = self._begun = self._tailed = False
            self._grown = 0
            if not self._keep:
                self._inflate = None
        return out

    def _step(self) -> bytes:
        inflate = self._inflate
        if inflate is None:
            inflate = self._inflate = zlib.decompressobj(-self._bits)
        part = self._data[self._at : self._at + _PART]
        try:
            out = inflate.decompress(part, _STEP)
        except zlib.error as exc:
            raise WebSocketFault(CloseCode.INVALID_DATA, f"not deflated: {exc}") from None
        if inflate.eof:
            # A block that called itself the last (RFC 7692 section 7.2.3.4). zlib begins anew behind one.
            left = inflate.unused_data
            self._inflate = None
        else:
            left = inflate.unconsumed_tail
        self._at += len(part) - len(left)
        if self._at < len(self._data) or (self._inflate is not None and len(out) == _STEP):
            return out  # though it has taken all, it may hold back more
        # The end of an empty block, to be put back where a sender left it out (section 7.2.2): not where
        # there is no block to end, or the next message would be read from within it.
        self.pending = self._last and self._begun and not self._tailed and self._inflate is not None
        self._data = _TAIL if self.pending else b""
        self._at = 0
        self._tailed = self._tailed or self.pending
        return out


class Deflater:
    """What goes out."""

    __slots__ = ("_bits", "_deflate", "_keep", "deflating")

    def __init__(self, bits: int, *, keep: bool) -> None:
        self._bits = bits
        self._keep = keep
        self._deflate: zlib._Compress | None = None  # made when it is needed: 160 KiB of an idle connection
        self.deflating = False
        """The message that is being sent goes through here."""

    def deflate(self, data: bytes, last: bool) -> bytes:
        """One frame's payload; *last*: its message ends with it."""
        deflate = self._deflate
        if deflate is None:
            deflate = self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._bits, _MEMORY)
        out = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        if last:
            # Nothing new behind a flush gives nothing: an empty block stands for it (RFC 7692 section 7.2.3.6).
            out = out[:-4] if out.endswith(_TAIL) else b"\x00"
            if not self._keep:
                self._deflate = None
        return out
