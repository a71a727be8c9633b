"""Make the pages of the documentation that come from the code: ``python docs/generate.py``."""

from __future__ import annotations

import ast
import inspect
from functools import partial
from pathlib import Path
from types import ModuleType

from sansio_pingora import limits
from sansio_pingora.server import KEYS, Refused, ServerConf, conf
from sansio_pingora.testing.diagrams import draw, machines

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


def configuration_page() -> str:
    """The keys of a configuration, from the table that reads them and the sentences in ServerConf."""
    lines = [(DOCS / "configuration.head.md").read_text().rstrip(), "", "## Every key", ""]
    lines += ["| key | default | what it does |", "|---|---|---|"]
    texts = _sentences(conf, "ServerConf")
    defaults = ServerConf()
    for key, kind in KEYS.items():
        if not isinstance(kind, Refused):
            value = getattr(defaults, key)
            shown = "none" if value in (None, (), {}) else str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"| `{key}` | {shown} | {texts[key]} |")
    lines += ["", "## Pingora's keys that are refused", "", "| key | why |", "|---|---|"]
    lines += [f"| `{key}` | {kind.reason} |" for key, kind in KEYS.items() if isinstance(kind, Refused)]
    return "\n".join(lines) + "\n"


def _sentences(module: ModuleType, name: str) -> dict[str, str]:
    """What is said under each field of the class *name*."""
    body = next(
        node.body
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    found = {}
    for field, text in zip(body, body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def machines_page() -> str:
    """Every table of transitions, as pictures and as text."""
    lines = [
        "# Machines",
        "",
        "What each machine may do in each state, drawn from the tables that they look it up in: what is absent is",
        "illegal. `sansio-pingora diagram [MACHINE…] [--format text|mermaid|svg]` prints the same; after",
        "`pytest --sansio-moves FILE`, `--moves FILE` says and colours which moves the tests took, and how often.",
        "",
    ]
    for name in machines():
        lines += [f"## {name}", "", f"![The tables of {name}](machines/{name}.svg)", "", "```", draw([name]).rstrip()]
        lines += ["```", ""]
    return "\n".join(lines)


PAGES = {"configuration.md": configuration_page, "limits.md": limits_page, "machines.md": machines_page}
PAGES |= {f"machines/{name}.svg": partial(draw, [name], "svg") for name in machines()}

if __name__ == "__main__":
    (DOCS / "machines").mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
