"""The tables of our machines: found where they are, counted while tests run.

A table is a public dict of a module of the core, from ``(state, input)`` or a state to a state or a verdict, all of
them members of enumerations; the one of the states is of the same module. Whoever adds one need not say so here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import sansio_pingora

__all__ = ["Cell", "Table", "count_moves", "moves_taken", "transition_tables"]

Cell = tuple[str, str]
"""A state and an input, by their names."""

_WITHOUT = ("sansio_pingora.testing", "sansio_pingora.cli")


@dataclass(frozen=True, slots=True)
class Table:
    """What each input means in each state; what is absent is illegal."""

    name: str
    """As ``http1.states.MOVES``."""
    about: str
    """What its module says that it is."""
    kind: str
    """Of the states, as ``Half``."""
    states: tuple[str, ...]
    cells: Mapping[Cell, str]
    moves: bool
    """The cells lead to states; otherwise they are verdicts."""

    @property
    def machine(self) -> str:
        """The package that it belongs to."""
        return self.name.partition(".")[0]


def transition_tables() -> list[Table]:
    """Every table of the core, by name."""
    found = {f"{module.__name__}.{name}": _table(module, name, value) for module, name, value in _dicts()}
    return [found[name] for name in sorted(found)]


def _modules() -> list[ModuleType]:
    names = [info.name for info in walk_packages(sansio_pingora.__path__, "sansio_pingora.")]
    return [
        import_module(name)
        for name in names
        if not name.startswith(_WITHOUT) and not name.rpartition(".")[2].startswith("_")
    ]


def _dicts() -> list[tuple[ModuleType, str, dict[Any, Enum]]]:
    return [
        (module, name, value)
        for module in _modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and isinstance(value, dict) and _is_table(module, value)
    ]


def _is_table(module: ModuleType, value: dict[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(_state(key), Enum) and type(_state(key)).__module__ == module.__name__ and isinstance(cell, Enum)
        for key, cell in value.items()
    )


def _state(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) and len(key) == 2 else key


def _table(module: ModuleType, name: str, value: dict[Any, Enum]) -> Table:
    kind: type[Enum] = type(_state(next(iter(value))))
    return Table(
        f"{module.__name__.removeprefix('sansio_pingora.')}.{name}",
        (module.__doc__ or "").partition("\n")[0],
        kind.__name__,
        tuple(state.name for state in kind),
        {_cell(module, name, key): cell.name for key, cell in value.items()},
        all(isinstance(cell, kind) for cell in value.values()),
    )


def _cell(module: ModuleType, table: str, key: Any) -> Cell:
    if not isinstance(key, tuple):
        return key.name, table
    state, given = key
    if isinstance(given, Enum):
        return state.name, given.name
    names = [name for name, value in vars(module).items() if type(value) is int and value == given]
    return state.name, names[0] if names else str(given)


# ── which moves tests take ───────────────────────────────────────────────────────────


class _Counted(dict[Any, Any]):
    """A table that counts what is looked up in it."""

    def __init__(self, module: ModuleType, name: str, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.module, self.name = module, name
        self.taken: Counter[Any] = Counter()

    def __getitem__(self, key: Any) -> Any:
        self.taken[key] += 1
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  # get() is what this is


def count_moves() -> None:
    """From here on every look-up in a table is counted. Before tests are imported: they may hold tables themselves."""
    for module, name, table in _dicts():
        if isinstance(table, _Counted):
            continue
        counted = _Counted(module, name, table)
        for holder in list(sys.modules.values()):
            for known, value in list(getattr(holder, "__dict__", {}).items()):
                if value is table:
                    setattr(holder, known, counted)


def moves_taken() -> dict[str, dict[str, int]]:
    """How often each cell was looked up since :func:`count_moves`: by table, then by ``"STATE INPUT"``."""
    return {
        f"{module.__name__.removeprefix('sansio_pingora.')}.{name}": {
            " ".join(_cell(module, name, key)): times for key, times in table.taken.items() if key in table
        }
        for module, name, table in _dicts()
        if isinstance(table, _Counted)
    }
