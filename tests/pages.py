"""The pages of docs/, and the code on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "blocks", "execute", "page", "run_blocks"]

DOCS = Path(__file__).parents[1] / "docs"


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text("utf-8")


def blocks(text: str, language: str = "python") -> list[str]:
    """The blocks of code in *language*, in order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def execute(source: str, names: dict[str, Any], name: str = "<page>") -> None:
    """Run *source* as a test is run: its assertions hold, whatever Python was told of assertions."""
    exec(compile(source, name, "exec", optimize=0), names)


def run_blocks(name: str, code: Iterable[str]) -> dict[str, Any]:
    """What blocks of the page *name* define, the later ones seeing the earlier."""
    found: dict[str, Any] = {"__name__": name.partition(".")[0]}
    for block in code:
        execute(block, found, f"<{name}>")
    return found
