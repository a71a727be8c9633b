"""One line of an access log: combined, JSON, or a format of the user's own. Nobody can forge a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from difflib import get_close_matches
from string import Formatter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sansio_pingora.proxy.record import ExchangeRecord
    from sansio_pingora.session import ServerSession

__all__ = ["ACCESS_FIELDS", "AccessFormat"]

ACCESS_FIELDS = (
    "time",
    "client",
    "method",
    "target",
    "version",
    "status",
    "bytes_sent",
    "bytes_received",
    "referer",
    "user_agent",
    "host",
    "duration",
    "upstream",
    "attempts",
    "reused",
    "error",
    "filters",
    "connect",
    "request",
    "wait",
    "response",
)
"""What a format may name in braces. Times after ``duration`` are seconds, or ``-`` where that never began."""
_COMBINED = (
    '{client} - - [{time}] "{method} {target} {version}" {status} {bytes_sent} "{referer}" "{user_agent}" {duration}'
)
_PHASES = ("filters", "connect", "request", "wait", "response")


class AccessFormat:
    """Makes the lines. *text*: ``combined`` (with the duration at its end), ``json``, or text with ``{fields}``.

    :raises ValueError: a field that is not there, or braces that do not close.
    """

    def __init__(self, text: str = "combined") -> None:
        self._json = text == "json"
        self._pieces: list[tuple[str, str | None]] = []
        if not self._json:
            for literal, name, spec, conversion in Formatter().parse(_COMBINED if text == "combined" else text):
                if name is not None and (name not in ACCESS_FIELDS or spec or conversion):
                    close = get_close_matches(name, ACCESS_FIELDS, n=1)
                    hint = f"did you mean {{{close[0]}}}?" if close else f"known are {', '.join(ACCESS_FIELDS)}"
                    raise ValueError(f"there is no field {{{name}}}: {hint}")
                self._pieces.append((literal, name))
            if all(name is None for _, name in self._pieces):
                raise ValueError("it names no field: write combined, json or text with {fields}")

    def line(self, session: ServerSession, record: ExchangeRecord, client: str, wall: float) -> str:
        """The line for an exchange that ended at *wall*, in Unix time; without its line break."""
        values = _values(session, record, client, wall)
        if self._json:
            return json.dumps({name: value for name, value in values.items() if value is not None})
        pieces = []
        for literal, name in self._pieces:
            pieces.append(literal)
            if name is not None:
                pieces.append(_shown(values[name]))
        return "".join(pieces)


def _values(session: ServerSession, record: ExchangeRecord, client: str, wall: float) -> dict[str, Any]:
    head = session.req_header
    values: dict[str, Any] = dict.fromkeys(ACCESS_FIELDS)
    values["time"] = datetime.fromtimestamp(wall, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    values["client"] = client
    if head is not None:
        values["method"] = _text(head.method)
        values["target"] = _text(head.target)
        values["version"] = f"HTTP/{head.version.decode()}"
        values["referer"] = _text(head.fields.get(b"referer"))
        values["user_agent"] = _text(head.fields.get(b"user-agent"))
        values["host"] = _text(head.fields.get(b"host"))
    values["status"] = record.status
    values["bytes_sent"] = record.body_bytes_sent
    values["bytes_received"] = record.body_bytes_received
    values["duration"] = round(record.duration, 6)
    values["upstream"] = None if record.peer is None else str(record.peer.address)
    values["attempts"] = record.attempts
    values["reused"] = record.reused
    values["error"] = None if record.error is None else record.error.etype.value
    for name, seconds in record.durations().items():
        if name in _PHASES:
            values[name] = round(seconds, 6)
    return values


def _text(value: bytes | str | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    """As in Apache's log: what a client chose cannot end a field or a line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value)
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(
        one if one.isprintable() and one not in '"\\' else f"\\{one}" if one in '"\\' else f"\\x{ord(one):02x}"
        for one in text
    )
