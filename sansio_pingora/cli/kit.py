"""The commands of the test kit: pictures of the machines."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.testing.diagrams import Taken

__all__ = ["add_kit_commands", "draw_machines"]


def add_kit_commands(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add them to the parser's *commands*."""
    diagram = commands.add_parser("diagram", help="the transition tables of the machines, as text or pictures")
    diagram.add_argument("machines", nargs="*", type=_machine, metavar="MACHINE", help="http1, http2, …; all if none")
    diagram.add_argument("--format", choices=["text", "mermaid", "svg"], default="text")
    diagram.add_argument("--moves", type=_moves, metavar="FILE", help="what `pytest --sansio-moves FILE` has counted")


def draw_machines(arguments: Namespace) -> None:
    """Print the diagrams that *arguments* ask for."""
    from sansio_pingora.testing.diagrams import draw, machines

    print(draw(arguments.machines or list(machines()), arguments.format, arguments.moves), end="")


def _machine(name: str) -> str:
    from sansio_pingora.testing.diagrams import machines

    known = machines()
    if name not in known:
        raise ArgumentTypeError(f"no machine {name!r} has a table: {', '.join(known)}")
    return name


def _moves(path: str) -> Taken:
    try:
        found: Taken = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise ArgumentTypeError(f"{path}: {exc}") from None
    return found
