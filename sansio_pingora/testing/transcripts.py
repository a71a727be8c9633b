r"""What a transcript of a connection holds, as JSON and as Python: the machine, and every call with what came of it.

The first line of a transcript is the machine. Each line behind it is a :class:`Step`. Bytes are text in Latin-1, so
that a person reads ``"GET / HTTP/1.1\r\n"``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sansio_pingora.errors import Error, ErrorSource, ErrorType, RetryType
from sansio_pingora.machine import ConnectionClosed, Writable
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

__all__ = ["VERSION", "Step", "Transcript", "decode", "encode", "python", "read_transcript"]

VERSION = 1

_BODIES: dict[str, type[Body | UpgradedBody]] = {"body": Body, "upgraded": UpgradedBody}


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a connection."""

    call: str
    """The method."""
    arguments: tuple[Any, ...] = ()
    """Encoded."""
    options: Mapping[str, Any] | None = None
    """Arguments by keyword, encoded."""
    result: Any = None
    """Encoded: events, bytes put out, the room left; ``{"raises": …}`` for an exception."""

    def line(self) -> str:
        """As JSON."""
        entry: dict[str, Any] = {"call": self.call, "with": self.arguments}
        if self.options:
            entry["options"] = self.options
        if self.result is not None:
            entry["result"] = self.result
        return json.dumps(entry)

    def __str__(self) -> str:
        """As Python, for people."""
        shown = [python(argument) for argument in self.arguments]
        shown += [f"{name}={python(value)}" for name, value in (self.options or {}).items()]
        return f"{self.call}({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A connection from its beginning, or as far as it was recorded."""

    machine: Mapping[str, Any]
    """``kind`` and the ``options`` that it was made with; ``why`` when it cannot be made again."""
    steps: tuple[Step, ...]


def read_transcript(lines: Iterable[str]) -> Transcript:
    """The transcript in these lines.

    :raises ValueError: they are none, or of another version.
    """
    machine: Mapping[str, Any] | None = None
    steps: list[Step] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if machine is None:
                if entry["version"] != VERSION:
                    raise ValueError(f"line 1: a transcript of version {entry['version']}, not {VERSION}")
                machine = entry["machine"]
            else:
                steps.append(Step(entry["call"], tuple(entry["with"]), entry.get("options"), entry.get("result")))
        except (KeyError, TypeError, json.JSONDecodeError) as exc:
            raise ValueError(f"line {number} is none of a transcript: {exc!r}") from None
    if machine is None:
        raise ValueError("there is nothing in it")
    return Transcript(machine, tuple(steps))


# ── values to JSON ───────────────────────────────────────────────────────────────────


def encode(value: Any) -> Any:
    """*value* of a connection's method as what JSON can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return _encode_object(value)


def _encode_object(value: Any) -> Any:
    match value:
        case Header(head=RequestHeader() as head):
            entry = {"request": [encode(head.method), encode(head.target), encode(head.version)]}
            more = {"scheme": encode(head.scheme), "protocol": encode(head.protocol)}
            return {**entry, **more, "fields": encode(head.fields.items), "end": value.end}
        case Header(head=ResponseHeader() as head):
            entry = {"response": [head.status, encode(head.reason), encode(head.version)]}
            return {**entry, "fields": encode(head.fields.items), "end": value.end}
        case Body() | UpgradedBody():
            return {"body" if isinstance(value, Body) else "upgraded": encode(value.data), "end": value.end}
        case Trailer():
            return {"trailer": encode(value.fields.items)}
        case Done():
            return {"done": True}
        case Failed():
            return {"failed": encode(value.error)}
        case Writable():
            return {"writable": value.room}
        case ConnectionClosed():
            return {"closed": encode(value.error)}
        case Error():
            return {
                "error": value.etype.name,
                "context": value.context,
                "source": value.esource.name,
                "retry": value.retry_type.name,
                "status": value.status,
                "name": value.name,
                "code": value.code,
                "unprocessed": value.unprocessed,
            }
        case _:
            return {"value": repr(value)}


# ── and back ─────────────────────────────────────────────────────────────────────────


def decode(entry: Any) -> Any:
    """The argument that *entry* was made of."""
    if isinstance(entry, str):
        return entry.encode("latin-1")
    return _decode_object(entry) if isinstance(entry, dict) else entry


def _pairs(entry: Any) -> list[tuple[bytes, bytes]]:
    return [(decode(name), decode(value)) for name, value in entry]


def _decode_object(entry: dict[str, Any]) -> HttpTask | Error:
    if "request" in entry:
        method, target, version = map(decode, entry["request"])
        request = RequestHeader.received(method, target, version, Fields(_pairs(entry["fields"])))
        request.scheme, request.protocol = decode(entry["scheme"]), decode(entry["protocol"])
        return Header(request, entry["end"])
    if "response" in entry:
        status, reason, version = entry["response"]
        fields = Fields(_pairs(entry["fields"]))
        return Header(ResponseHeader.received(status, decode(reason), decode(version), fields), entry["end"])
    for name, kind in _BODIES.items():
        if name in entry:
            return kind(decode(entry[name]), entry["end"])
    if "trailer" in entry:
        return Trailer(Fields(_pairs(entry["trailer"])))
    if "done" in entry:
        return Done()
    if "failed" in entry:
        return Failed(decode(entry["failed"]))
    return Error(
        ErrorType[entry["error"]],
        entry["context"],
        esource=ErrorSource[entry["source"]],
        retry=RetryType[entry["retry"]],
        status=entry["status"],
        name=entry["name"],
        code=entry["code"],
        unprocessed=entry["unprocessed"],
    )


# ── and to Python ────────────────────────────────────────────────────────────────────


def python(entry: Any) -> str:
    """The expression that makes the argument *entry*."""
    if not isinstance(entry, dict):
        return repr(decode(entry))
    if "request" in entry:
        method, target, version = (repr(decode(part)) for part in entry["request"])
        more = f", version={version}, scheme={decode(entry['scheme'])!r}"
        if entry["protocol"] is not None:
            more += f", protocol={decode(entry['protocol'])!r}"
        return f"Header(RequestHeader({method}, {target}, {_pairs(entry['fields'])!r}{more}), {entry['end']})"
    if "response" in entry:
        status, reason, version = entry["response"]
        more = f", reason={decode(reason)!r}, version={decode(version)!r}"
        return f"Header(ResponseHeader({status}, {_pairs(entry['fields'])!r}{more}), {entry['end']})"
    for name, kind in _BODIES.items():
        if name in entry:
            return f"{kind.__name__}({decode(entry[name])!r}, {entry['end']})"
    if "trailer" in entry:
        return f"Trailer(Fields({_pairs(entry['trailer'])!r}))"
    if "done" in entry:
        return "Done()"
    if "failed" in entry:
        return f"Failed({python(entry['failed'])})"
    return f"Error(ErrorType.{entry['error']}, {entry['context']!r})"
