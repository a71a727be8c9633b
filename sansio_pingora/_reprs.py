"""How values print: as the call that makes them, without what is as by default."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

__all__ = ["brief"]


def brief(value: Any) -> str:
    """The call that makes the dataclass *value*: its required fields by place, of the others those that differ."""
    said = []
    for spec in fields(value):
        if not (spec.init and spec.repr):
            continue
        default = spec.default if spec.default_factory is MISSING else spec.default_factory()
        held = getattr(value, spec.name)
        if default is MISSING:
            said.append(repr(held))
        elif held != default:
            said.append(f"{spec.name}={held!r}")
    return f"{type(value).__name__}({', '.join(said)})"
