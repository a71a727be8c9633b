"""What an old and a new process say to each other when sockets are handed over: frames of bytes, no descriptor.

A frame: ``SPHO``, version, kind, four bytes of length, and JSON. Descriptors travel beside the frames of kind
``SOCKETS``, in the order of the names in it; there are as many such frames as it takes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

__all__ = ["MAX_DESCRIPTORS", "MAX_FRAME", "Frame", "FrameKind", "FrameReader", "encode_frame", "socket_frames"]

MAX_DESCRIPTORS = 200
"""Beside one frame; the kernel takes 253 (SCM_MAX_FD)."""
MAX_FRAME = 262_144
"""Bytes of a frame's JSON: 200 names of 107 bytes take a tenth of it."""
_MAGIC = b"SPHO"
_VERSION = 1
_HEAD = struct.Struct("!4sBBI")


class FrameKind(IntEnum):
    """What a frame says."""

    SOCKETS = 1  # old to new: {"names": [...], "left": frames that follow}
    ACKNOWLEDGED = 2  # new to old: everything is up, and I accept from here on
    WITHDRAWN = 3  # old to new: I go on serving; end


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: FrameKind
    content: dict[str, Any]


def encode_frame(kind: FrameKind, content: dict[str, Any] | None = None) -> bytes:
    """A frame as bytes."""
    body = json.dumps({} if content is None else content).encode()
    return _HEAD.pack(_MAGIC, _VERSION, kind, len(body)) + body


def socket_frames(names: Sequence[str]) -> Iterator[tuple[bytes, int, int]]:
    """Frames for the sockets called *names*: the bytes, and which of the sockets go beside them, from and to."""
    starts = range(0, max(len(names), 1), MAX_DESCRIPTORS)
    for number, start in enumerate(starts):
        end = min(start + MAX_DESCRIPTORS, len(names))
        content = {"names": list(names[start:end]), "left": len(starts) - number - 1}
        yield encode_frame(FrameKind.SOCKETS, content), start, end


class FrameReader:
    """Frames from the bytes of a stream, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[Frame]:
        """The frames that are whole now.

        :raises ValueError: what comes is no hand-over of this version; the message says what it is.
        """
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _HEAD.size:
            magic, version, kind, size = _HEAD.unpack_from(self._buffer)
            if magic != _MAGIC:
                raise ValueError("the other side does not speak the hand-over of sansio-pingora")
            if version != _VERSION:
                raise ValueError(f"the other side hands over in version {version}, this one in {_VERSION}")
            if size > MAX_FRAME:
                raise ValueError(f"a frame of {size:,} bytes, where {MAX_FRAME:,} are the most")
            if len(self._buffer) < _HEAD.size + size:
                break
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
            del self._buffer[: _HEAD.size + size]
            try:
                content = json.loads(body)
                frame = Frame(FrameKind(kind), content)
            except (ValueError, RecursionError) as exc:
                raise ValueError(f"a frame that cannot be read: {exc}") from exc
            if not isinstance(content, dict) or (frame.kind is FrameKind.SOCKETS and not _names_sockets(content)):
                raise ValueError("a frame without the content of its kind")
            frames.append(frame)
        return frames


def _names_sockets(content: dict[str, Any]) -> bool:
    names, left = content.get("names"), content.get("left")
    return isinstance(names, list) and all(isinstance(name, str) for name in names) and isinstance(left, int)
