"""Small things that most tests of a connection want: feed it, cut its input, take its output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from weakref import WeakSet

from sansio_pingora.machine import AT_ONCE, Closing, Event
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.wire import Body, Failed, Header, HttpTask, RequestHeader, ResponseHeader, UpgradedBody

__all__ = ["Feedable", "cut_everywhere", "drain", "feed", "merged"]


class Feedable(Protocol):
    """The part of a :class:`~sansio_pingora.machine.Connection` that is used here; ``ServerConnection`` has it too."""

    @property
    def deadline(self) -> float:
        """When handle_timeout is to be called, math.inf for never, AT_ONCE when there is more to tell already."""

    @property
    def closing(self) -> Closing:
        """True, or a Closing that is, once nothing more is to be received."""

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Bytes of the other end; a list of events, (stream, value), [] for none."""

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed; a list of events. Early or repeated calls are harmless."""

    def data_to_send(self) -> list[bytes]:
        """Pieces to be written, in order, handed out once; [] for none."""

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """Queue a Header, Body, Trailer or Done; the room left: 0 or less when its sender waits for Writable."""

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """*size* bytes of a body were used up."""


_FEEDABLE: WeakSet[type] = WeakSet()
"""Kinds of connections that were looked at."""


def drain(connection: Feedable) -> bytes:
    """Everything that *connection* has to send, as one piece."""
    return b"".join(_listed(connection, "data_to_send", connection.data_to_send()))


def _listed(connection: object, call: str, returned: Any) -> Any:
    """What a *call* of somebody's own connection returned, if it is a list or the like."""
    if isinstance(returned, bytes | bytearray | str) or not isinstance(returned, Iterable):
        what = "a list of bytes" if call == "data_to_send" else "a list of (stream, value)"
        raise TypeError(f"{type(connection).__qualname__}.{call} returned {returned!r}, and {what} is asked for")
    return returned


def cut_everywhere(raw: bytes) -> Iterator[list[bytes]]:
    """Every way to deliver *raw* in two pieces, then whole, then byte by byte; never an empty piece."""
    for at in range(1, len(raw)):
        yield [raw[:at], raw[at:]]
    if raw:
        yield [raw]
        yield [raw[at : at + 1] for at in range(len(raw))]


def merged(events: Iterable[Event]) -> list[tuple[int, Any]]:
    """*events* with adjacent bodies of a stream joined: what no segmentation may change."""
    result: list[tuple[int, Any]] = []
    for stream_id, value in events:
        if result and isinstance(value, Body | UpgradedBody):
            last_id, last = result[-1]
            if last_id == stream_id and type(last) is type(value) and not last.end:
                result[-1] = (stream_id, type(value)(last.data + value.data, value.end))
                continue
        result.append((stream_id, value))
    return result


def feed(connection: Feedable, pieces: Iterable[bytes], *, now: float = 0.0) -> tuple[list[tuple[int, Any]], bytes]:
    """Deliver *pieces*, answer each complete request with 204, and return ``(events, bytes put out)``.

    Adjacent bodies are merged, and what it says of a connection is made comparable, so that
    two segmentations of the same bytes compare equal. Nothing is delivered to a connection
    that is closing; time stands still.

    :raises TypeError: *connection* lacks something of :class:`Feedable`.
    """
    kind = type(connection)
    if kind not in _FEEDABLE:
        check_contract(connection, Feedable, "feed was given")
        _FEEDABLE.add(kind)
    events: list[Event] = []
    out: list[bytes] = []
    requests: set[int] = set()

    def take(fresh: list[Event]) -> None:
        for stream_id, value in fresh:
            events.append((stream_id, value))
            if isinstance(value, Header) and isinstance(value.head, RequestHeader):
                requests.add(stream_id)
            if isinstance(value, Body | UpgradedBody):
                connection.consumed(stream_id, len(value.data), now)
            if isinstance(value, Failed):
                requests.discard(stream_id)
            elif stream_id in requests and getattr(value, "end", False):
                requests.discard(stream_id)
                connection.send(stream_id, Header(ResponseHeader(204), True), now)
        out.append(drain(connection))

    for piece in pieces:
        if connection.closing:
            break
        take(_listed(connection, "receive_data", connection.receive_data(piece, now)))
        while connection.deadline == AT_ONCE and not connection.closing:
            take(_listed(connection, "handle_timeout", connection.handle_timeout(now)))
    return [(stream_id, _Comparable.of(value)) for stream_id, value in merged(events)], b"".join(out)


class _Comparable:
    """An event without an equality of its own, compared by its text."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    @staticmethod
    def of(value: Any) -> Any:
        return value if isinstance(value, HttpTask) and not isinstance(value, Failed) else _Comparable(value)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Comparable)
            and type(self.value) is type(other.value)
            and repr(self.value) == repr(other.value)
        )

    __hash__ = None  # type: ignore[assignment]  # as the tasks beside it

    def __repr__(self) -> str:
        return repr(self.value)
