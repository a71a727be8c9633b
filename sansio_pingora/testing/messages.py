"""HTTP/1 messages as scripted peers write them: raw bytes of which every part is known by name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

__all__ = ["Labelled", "chunked_body", "labelled", "request", "response"]


class Labelled:
    """Raw bytes, and which part of a message each of them belongs to."""

    __slots__ = ("_names", "_starts", "raw")

    def __init__(self, parts: Iterable[tuple[str, bytes]]) -> None:
        self._names: list[str] = []
        self._starts: list[int] = []
        raw = bytearray()
        for name, data in parts:
            if data:
                self._names.append(name)
                self._starts.append(len(raw))
                raw += data
        self.raw = bytes(raw)

    def parts(self) -> list[tuple[str, bytes]]:
        """The named parts."""
        ends = [*self._starts[1:], len(self.raw)]
        return [(name, self.raw[start:end]) for name, start, end in zip(self._names, self._starts, ends, strict=True)]

    def part_at(self, offset: int) -> str:
        """The part that the byte at *offset* belongs to, one of :data:`.faults.PARTS`; ``idle`` at either end."""
        if offset <= 0 or offset >= len(self.raw):
            return "idle"
        if self.raw[offset - 1 : offset + 1] == b"\r\n":
            return "crlf"
        return self._names[bisect_right(self._starts, offset) - 1]

    def offsets(self, part: str) -> list[int]:
        """Every offset in *part*."""
        if part == "crlf":
            raw = self.raw
            inside: list[int] = []
            at = raw.find(b"\r\n")
            while at >= 0 and len(inside) < 64:
                inside.append(at + 1)
                at = raw.find(b"\r\n", at + 2)
            return inside
        if part == "idle":
            return [0]
        ends = [*self._starts[1:], len(self.raw)]
        found: list[int] = []
        for name, start, end in zip(self._names, self._starts, ends, strict=True):
            if name == part:
                found += [at for at in range(max(start, 1), min(end, start + 64)) if self.part_at(at) == part]
        return found

    def __len__(self) -> int:
        return len(self.raw)


def labelled(raw: bytes) -> Labelled:
    """Any bytes, as one message: what lies behind its head is all body."""
    head, end, body = raw.partition(b"\r\n\r\n")
    line, crlf, fields = (head + end[:2]).partition(b"\r\n")
    return Labelled([("start-line", line + crlf), ("fields", fields), ("head-end", end[2:]), ("body", body)])


def chunked_body(
    pieces: Sequence[bytes], trailers: Sequence[tuple[bytes, bytes]] = (), extension: bytes = b""
) -> list[tuple[str, bytes]]:
    """The parts of a chunked body of *pieces*."""
    parts: list[tuple[str, bytes]] = []
    for piece in pieces:
        if piece:
            parts += [
                ("chunk-line", b"%x%b\r\n" % (len(piece), extension)),
                ("chunk-data", piece),
                ("chunk-end", b"\r\n"),
            ]
    parts.append(("chunk-line", b"0\r\n"))
    parts += [("trailers", b"%b: %b\r\n" % field) for field in trailers]
    parts.append(("trailers", b"\r\n"))
    return parts


def request(
    method: bytes,
    target: bytes,
    fields: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] | None = None,
    *,
    chunked: bool = False,
    trailers: Sequence[tuple[bytes, bytes]] = (),
    version: bytes = b"1.1",
) -> Labelled:
    """A request; *body* is None for none, or its pieces."""
    return _message(
        b"%b %b HTTP/%b\r\n" % (method, target, version), fields, body, "chunked" if chunked else "length", trailers
    )


def response(
    status: int,
    fields: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] | None = None,
    *,
    framing: str = "length",
    trailers: Sequence[tuple[bytes, bytes]] = (),
    version: bytes = b"1.1",
) -> Labelled:
    """A response; *framing* is ``length``, ``chunked`` or ``close``."""
    return _message(b"HTTP/%b %d Whatever\r\n" % (version, status), fields, body, framing, trailers)


def _message(
    line: bytes,
    fields: Sequence[tuple[bytes, bytes]],
    body: Sequence[bytes] | None,
    framing: str,
    trailers: Sequence[tuple[bytes, bytes]],
) -> Labelled:
    parts = [("start-line", line), *(("fields", b"%b: %b\r\n" % field) for field in fields)]
    rest: list[tuple[str, bytes]] = []
    if body is not None and framing == "chunked":
        parts.append(("fields", b"Transfer-Encoding: chunked\r\n"))
        rest = chunked_body(body, trailers)
    elif body is not None:
        whole = b"".join(body)
        if framing == "length":
            parts.append(("fields", b"Content-Length: %d\r\n" % len(whole)))
        rest = [("body", whole)]
    return Labelled([*parts, ("head-end", b"\r\n"), *rest])
