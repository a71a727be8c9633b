"""The pages of docs/, and the code on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["blocks", "page", "run_blocks"]

_DOCS = Path(__file__).parents[1] / "docs"


def page(name: str) -> str:
    """The text of a page."""
    return (_DOCS / name).read_text("utf-8")


def blocks(text: str, language: str = "python") -> list[str]:
    """The blocks of code in *language*, in order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_blocks(name: str, code: Iterable[str]) -> dict[str, Any]:
    """What blocks of the page *name* define, the later ones seeing the earlier."""
    found: dict[str, Any] = {"__name__": name.partition(".")[0]}
    for block in code:
        exec(compile(block, f"<{name}>", "exec"), found)
    return found
