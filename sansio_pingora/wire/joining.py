"""What waits in line, in memory of about its size however small the pieces are that it comes in."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

from sansio_pingora.wire.tasks import Body, HttpTask, UpgradedBody

__all__ = ["join_piece", "join_task"]

_TOGETHER = 1_024
"""Bytes, or characters, up to which pieces are joined.

A piece has some 100 bytes of its own: its object, its task, its place in line. Two neighbours are more than this
together, so all that comes to a fifth of what waits at most. Joining a byte copies at most so many, whatever waits:
less work than reading it was.
"""


def join_piece(line: MutableSequence[Any], data: str | bytes) -> None:
    """Put *data* at the end of *line*, together with a piece of its kind before it where both are small."""
    last: Any = line[-1] if line else None
    kind: type[Any] = type(data)
    if type(last) is kind and len(last) + len(data) <= _TOGETHER:
        line[-1] = last + data
    else:
        line.append(data)


def join_task(line: MutableSequence[Any], task: HttpTask) -> None:
    """Put *task* at the end of *line*; a Body, or an UpgradedBody, together with one before it where both are small.

    No task is changed: one that was joined to makes way for another.
    """
    kind = type(task)
    if line and (kind is Body or kind is UpgradedBody) and type(last := line[-1]) is kind and not last.end:
        data: bytes = task.data  # type: ignore[union-attr]  # by its kind
        if len(last.data) + len(data) <= _TOGETHER:
            line[-1] = kind(last.data + data, task.end)
            return
    line.append(task)
