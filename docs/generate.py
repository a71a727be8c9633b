"""Make the pages of the documentation that come from the code: ``python docs/generate.py``."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from sansio_pingora import limits

DOCS = Path(__file__).parent


def limits_page() -> str:
    """The limits table, from the fields of :class:`sansio_pingora.limits.Limits` and the sentences under them."""
    table = next(node for node in ast.parse(inspect.getsource(limits)).body if isinstance(node, ast.ClassDef))
    defaults = limits.Limits()
    lines = [
        "# Limits",
        "",
        "The same names as options of `serve()`, with `-o KEY=VALUE` on the command line, and as fields of `Limits`.",
        "Sizes are bytes, times seconds, rates per second. `none` switches a limit off where its default is none.",
        "",
        "| key | default | what it bounds |",
        "|---|---|---|",
    ]
    for field, text in zip(table.body, table.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            value = getattr(defaults, field.target.id)
            shown = "none" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"
            lines.append(f"| `{field.target.id}` | {shown} | {' '.join(str(text.value.value).split())} |")
    return "\n".join(lines) + "\n"


PAGES = {"limits.md": limits_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
