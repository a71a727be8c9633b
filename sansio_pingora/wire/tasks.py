"""HttpTask: the one currency between connections, sessions, filters and the proxy.

Order on a stream: ``Header(1xx)* Header (Body* | UpgradedBody*) [Trailer] [Done]``;
``Failed`` ends it anywhere. Our machines put out one normal form: no body,
``Header.end``; length known, the last ``Body.end``; chunked and until-close, a
``Trailer`` or ``Done``; and nothing follows an end. Consumers accept any legal form.

Plain slotted classes rather than dataclasses: one is made per chunk, and a frozen
dataclass takes three times as long to make.
"""

from __future__ import annotations

from typing import Any

from sansio_pingora.errors import Error
from sansio_pingora.wire.fields import Fields
from sansio_pingora.wire.heads import RequestHeader, ResponseHeader

__all__ = ["Body", "Done", "Failed", "Header", "HttpTask", "Trailer", "UpgradedBody"]


class _Task:
    __slots__: tuple[str, ...] = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Task) and type(self) is type(other) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]  # tasks hold mutable heads

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._values()))})"


class Header(_Task):
    """A head. ``end``: no body follows."""

    __slots__ = ("head", "end")  # noqa: RUF023  # the order of the arguments, as repr shows it

    def __init__(self, head: RequestHeader | ResponseHeader, end: bool) -> None:
        self.head = head
        self.end = end


class Body(_Task):
    """Payload bytes, never framing. ``end``: these are the last."""

    __slots__ = ("data", "end")

    def __init__(self, data: bytes, end: bool = False) -> None:
        self.data = data
        self.end = end


class UpgradedBody(_Task):
    """Opaque bytes after a 101, or inside a CONNECT tunnel. ``end``: this direction is closed."""

    __slots__ = ("data", "end")

    def __init__(self, data: bytes, end: bool = False) -> None:
        self.data = data
        self.end = end


class Trailer(_Task):
    """Trailer fields; ends the stream."""

    __slots__ = ("fields",)

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    @property
    def end(self) -> bool:
        """Always true."""
        return True


class Done(_Task):
    """The message is complete."""

    __slots__ = ()

    @property
    def end(self) -> bool:
        """Always true."""
        return True


class Failed(_Task):
    """The message ended by a fault; what came before it is incomplete."""

    __slots__ = ("error",)

    def __init__(self, error: Error) -> None:
        self.error = error

    @property
    def end(self) -> bool:
        """Always true."""
        return True


HttpTask = Header | Body | UpgradedBody | Trailer | Done | Failed
