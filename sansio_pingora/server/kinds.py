"""What may stand behind a key of the configuration: read with places, and told to editors as JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

import yaml

from sansio_pingora.server.yaml_nodes import place_of, scalar_value

__all__ = [
    "Choice",
    "Flag",
    "Kind",
    "ListOf",
    "MapOf",
    "Number",
    "Reading",
    "Record",
    "Refused",
    "Text",
    "Whole",
    "suggestion",
]


class Reading:
    """The reading of one file: what was wrong in it, and where each value stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.places: dict[str, str] = {}
        """Where the value of each key stands, by its path: ``services[0].listeners[1].tcp``."""

    def wrong(self, node: yaml.Node, text: str) -> None:
        """Something at *node* is wrong; *text* says what, and what to do."""
        self.problems.append(f"{place_of(node, self.name)} {text}")

    def wrong_at(self, path: str, text: str) -> None:
        """The same of the value at *path*, which was read."""
        self.problems.append(f"{self.places[path]} {text}")

    def warn(self, node: yaml.Node, text: str) -> None:
        """Something at *node* is odd."""
        self.warnings.append(f"{place_of(node, self.name)} {text}")


class Kind(Protocol):
    """What a key takes."""

    def read(self, node: yaml.Node, path: str, reading: Reading) -> Any:
        """The value at *node*. Once a problem was reported: what could be made of the rest, or None."""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""


def suggestion(name: str, known: list[str]) -> str:
    """Which of *known* was perhaps meant by *name*."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else f"; known are {', '.join(sorted(known))}"


class _Scalar:
    """One value, checked by a function of a subclass."""

    wanted = ""

    def read(self, node: yaml.Node, path: str, reading: Reading) -> Any:
        """See :class:`Kind`."""
        reading.places[path] = place_of(node, reading.name)
        key = path.rpartition(".")[2]
        try:
            value = scalar_value(node)
        except ValueError as exc:
            reading.wrong(node, f"{key}: {exc}")
            return None
        try:
            return self.check(value)
        except ValueError as exc:
            hint = str(exc) or self.hint(value)
            reading.wrong(node, f"{key} takes {self.wanted}, not {value!r}{hint and ': '}{hint}")
            return None

    def check(self, value: Any) -> Any:
        """*value* as the program has it.

        :raises ValueError: it is none of these; the message may hint at what to do.
        """
        raise NotImplementedError

    def hint(self, value: Any) -> str:
        """What to write instead of *value*, where check had no better idea."""
        return ""


@dataclass(frozen=True, slots=True)
class Flag(_Scalar):
    """True or false."""

    wanted = "true or false"

    def check(self, value: Any) -> bool:
        """See above."""
        if not isinstance(value, bool):
            raise ValueError
        return value

    def hint(self, value: Any) -> str:
        """See above."""
        return "in YAML 1.2 that is text" if str(value).lower() in ("yes", "no", "on", "off") else ""

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole(_Scalar):
    """A whole number from *low* to *high*."""

    low: int = 0
    high: int | None = None
    optional: bool = False

    @property
    def wanted(self) -> str:  # type: ignore[override]  # it depends on the bounds
        """What people are told."""
        bounds = f"of {self.low} or more" if self.high is None else f"from {self.low} to {self.high}"
        return f"a whole number {bounds}{' or null' if self.optional else ''}"

    def check(self, value: Any) -> int | None:
        """See above."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        if value < self.low or (self.high is not None and value > self.high):
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {"type": ["integer", "null"] if self.optional else "integer", "minimum": self.low}
        return schema if self.high is None else {**schema, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Number(_Scalar):
    """A number, whole or not."""

    low: float = 0.0
    optional: bool = False

    @property
    def wanted(self) -> str:  # type: ignore[override]  # it depends on the bounds
        """What people are told."""
        return f"a number of {self.low:g} or more{' or null' if self.optional else ''}"

    def check(self, value: Any) -> float | None:
        """See above."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not math.isfinite(value) or value < self.low:
            raise ValueError
        return float(value)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": ["number", "null"] if self.optional else "number", "minimum": self.low}


@dataclass(frozen=True, slots=True)
class Text(_Scalar):
    """Text that is not empty; *parse* raises ValueError for what it cannot be, and says what to do."""

    parse: Callable[[str], Any] | None = None
    what: str = "text"

    @property
    def wanted(self) -> str:  # type: ignore[override]  # it depends on what it is
        """What people are told."""
        return self.what

    def check(self, value: Any) -> Any:
        """See above."""
        if not isinstance(value, str):
            raise ValueError("quote it" if value is not None else "write one, or leave the key out")
        if not value or "\0" in value:
            raise ValueError("write one, or leave the key out")
        return value if self.parse is None else self.parse(value)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Choice(_Scalar):
    """One of several words."""

    words: tuple[str, ...]

    @property
    def wanted(self) -> str:  # type: ignore[override]  # it depends on the words
        """What people are told."""
        return f"one of {', '.join(self.words)}"

    def check(self, value: Any) -> str:
        """See above."""
        if value not in self.words:
            close = get_close_matches(str(value), self.words, n=1)
            raise ValueError(f"did you mean {close[0]!r}?" if close else "")
        return str(value)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Refused:
    """A key of Pingora's that cannot be in force here; *reason* says why, and what to do."""

    reason: str

    def read(self, node: yaml.Node, path: str, reading: Reading) -> None:
        """See :class:`Kind`."""
        reading.wrong(node, f"{path.rpartition('.')[2]} cannot be set: {self.reason}")

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"not": {}, "description": self.reason}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, as a tuple."""

    item: Kind
    at_least: int = 0

    def read(self, node: yaml.Node, path: str, reading: Reading) -> tuple[Any, ...]:
        """See :class:`Kind`."""
        reading.places[path] = place_of(node, reading.name)
        key = path.rpartition(".")[2]
        if not isinstance(node, yaml.SequenceNode):
            reading.wrong(node, f"{key} takes a list: write [one, two], or a line with '- ' for each")
            return ()
        if len(node.value) < self.at_least:
            reading.wrong(node, f"{key} is empty: it needs {self.at_least} or more")
        found: list[Any] = []
        places = reading.places
        for number, item in enumerate(node.value):
            reading.places, written = {}, f"{path}[{number}]"
            value = self.item.read(item, written, reading)
            if value is not None:  # else the next one takes its place
                kept = f"{path}[{len(found)}]"
                places |= {f"{kept}{inner.removeprefix(written)}": at for inner, at in reading.places.items()}
                found.append(value)
        reading.places = places
        return tuple(found)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "array", "items": self.item.schema(), "minItems": self.at_least}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map whose keys are the user's own, each *what*."""

    item: Kind
    what: str

    def read(self, node: yaml.Node, path: str, reading: Reading) -> dict[str, Any]:
        """See :class:`Kind`."""
        reading.places[path] = place_of(node, reading.name)
        if not isinstance(node, yaml.MappingNode):
            key = path.rpartition(".")[2]
            reading.wrong(node, f"{key} takes a {self.what} and what belongs to it: write '{self.what}: …'")
            return {}
        read = {name: self.item.read(value, f"{path}.{name}", reading) for name, _, value in _entries(node, reading)}
        return {name: value for name, value in read.items() if value is not None}

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "object", "additionalProperties": self.item.schema()}


def _entries(node: yaml.MappingNode, reading: Reading) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """The keys of a map, with their nodes and those behind them. What is no key, or there again, is a problem."""
    seen: dict[str, yaml.Node] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            reading.wrong(key_node, "a key is a single word")
            continue
        name = key_node.value
        if name in seen:
            first = seen[name].start_mark.line + 1
            reading.wrong(key_node, f"key {name!r} is there twice, first in line {first}: remove one")
            continue
        seen[name] = key_node
        yield name, key_node, value_node


@dataclass(frozen=True, slots=True)
class Record:
    """A map with known keys. *make* gets what was given, by name; a ValueError of it is a problem of the whole."""

    keys: Mapping[str, Kind]
    make: Callable[..., Any]
    required: tuple[str, ...] = ()
    open: bool = False
    """Unknown keys are somebody else's: no more than a warning."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Argument of *make*, where it is called otherwise than the key."""
    check: Callable[[Mapping[str, Any], Collection[str]], Iterable[tuple[str, str]]] | None = None
    """What does not go together: the key, with an index perhaps, or nothing for the whole, and what is wrong. It gets
    the values that are sound, by name, and the names of all that are there."""

    def read(self, node: yaml.Node, path: str, reading: Reading) -> Any:
        """See :class:`Kind`."""
        reading.places[path] = place_of(node, reading.name)
        if not isinstance(node, yaml.MappingNode):
            reading.wrong(node, f"{path.rpartition('.')[2] or 'the file'} takes keys and values: write 'key: value'")
            return None
        before = len(reading.problems)
        given, present = self._given(node, path, reading)
        for name in self.required:
            if name not in present:
                reading.wrong(node, f"{path.rpartition('.')[2]} lacks {name!r}: add it")
        for key, text in () if self.check is None else self.check(given, present):
            if key:
                reading.wrong_at(f"{path}.{key}" if path else key, text)
            else:
                reading.wrong(node, text)
        if any(name not in given for name in self.required):
            return None
        try:
            return self.make(**{self.rename.get(name, name): value for name, value in given.items()})
        except ValueError as exc:
            if len(reading.problems) == before:  # else it may follow from what was said already
                reading.wrong(node, str(exc))
            return None

    def _given(self, node: yaml.MappingNode, path: str, reading: Reading) -> tuple[dict[str, Any], set[str]]:
        given: dict[str, Any] = {}
        present: set[str] = set()
        for name, key_node, value_node in _entries(node, reading):
            kind = self.keys.get(name)
            if kind is None:
                text = f"unknown key {name!r}{suggestion(name, list(self.keys))}"
                if self.open:
                    reading.warn(key_node, text.partition(";")[0])
                else:
                    reading.wrong(key_node, text)
                continue
            present.add(name)
            before = len(reading.problems)
            value = kind.read(value_node, f"{path}.{name}" if path else name, reading)
            if value is not None or len(reading.problems) == before:
                given[name] = value
        return given, present

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: kind.schema() for name, kind in self.keys.items()},
            "additionalProperties": self.open,
        }
        return {**schema, "required": list(self.required)} if self.required else schema
