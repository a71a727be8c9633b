"""Which lines and branches of the packages an input reaches: a feature is a place, or a step from one to another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["Coverage", "Feature"]

_ROOT = str(Path(__file__).parent.parent)
_OURS = f"{_ROOT}/sansio_pingora/"
_NOT_OURS = f"{_ROOT}/sansio_pingora/testing/"

Feature = tuple[str, int, int]
"""File, and two places in it: lines for a tracer, offsets of a branch for a monitor."""


def _is_ours(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith(_OURS) and not name.startswith(_NOT_OURS)


class _Tracer:
    """Python 3.11: every line is traced, so that the packages run at a tenth of their speed."""

    def __init__(self) -> None:
        self.found: set[Feature] = set()
        self._ours: dict[CodeType, bool] = {}

    def collect(self, call: Callable[[], object], *, all_of_it: bool) -> set[Feature]:
        self.found = set()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(None)
        return self.found

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = _is_ours(code)
        if not ours:
            return None
        name, add, last = code.co_filename, self.found.add, 0

        def line(frame: FrameType, event: str, _arg: Any) -> Any:
            nonlocal last
            if event == "line":
                at = frame.f_lineno
                add((name, last, at))
                last = at
            return line

        return line


class _Monitor:
    """From Python 3.12: a place is told once, so that what is known costs nothing."""

    def __init__(self) -> None:
        self.found: set[Feature] = set()
        self._ways: dict[tuple[CodeType, int], int] = {}
        self._begun = False
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the caller has looked
        self._monitoring = monitoring

    def collect(self, call: Callable[[], object], *, all_of_it: bool) -> set[Feature]:
        monitoring = self._monitoring
        self.found = set()
        if all_of_it or not self._begun:  # another one may have had its fill of places before
            self._begun = True
            self._ways.clear()
            monitoring.restart_events()
        events, tool = monitoring.events, monitoring.DEBUGGER_ID
        monitoring.use_tool_id(tool, "fuzz")
        monitoring.register_callback(tool, events.LINE, self._line)
        monitoring.register_callback(tool, events.BRANCH, self._branch)
        monitoring.set_events(tool, events.LINE | events.BRANCH)
        try:
            call()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
        return self.found

    def _line(self, code: CodeType, line: int) -> Any:
        if _is_ours(code):
            self.found.add((code.co_filename, line, 0))
        return self._monitoring.DISABLE

    def _branch(self, code: CodeType, at: int, to: int) -> Any:
        if not _is_ours(code):
            return self._monitoring.DISABLE
        first = self._ways.setdefault((code, at), to)
        self.found.add((code.co_filename, -(code.co_firstlineno * 100_000 + at), to))
        return None if first == to else self._monitoring.DISABLE


class Coverage:
    """What was reached so far, and what a call adds to it."""

    def __init__(self) -> None:
        self.known: set[Feature] = set()
        self._probe = _Monitor() if hasattr(sys, "monitoring") else _Tracer()

    def fresh(self, call: Callable[[], object]) -> set[Feature]:
        """The features that *call* reaches first; they are known from now on, also when it raises."""
        try:
            self._probe.collect(call, all_of_it=False)
        finally:
            new = self._probe.found - self.known
            self.known |= new
        return new

    def whole(self, call: Callable[[], object]) -> set[Feature]:
        """All features of *call*."""
        return self._probe.collect(call, all_of_it=True)
