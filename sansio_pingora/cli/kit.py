"""The commands of the test kit: pictures of the machines, and transcripts of connections."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error, ErrorType

if TYPE_CHECKING:
    from sansio_pingora.testing.diagrams import Taken
    from sansio_pingora.testing.transcripts import Transcript

__all__ = ["add_kit_commands", "draw_machines", "replay_transcript"]


def add_kit_commands(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add them to the parser's *commands*."""
    diagram = commands.add_parser("diagram", help="the transition tables of the machines, as text or pictures")
    diagram.add_argument("machines", nargs="*", type=_machine, metavar="MACHINE", help="http1, http2, …; all if none")
    diagram.add_argument("--format", choices=["text", "mermaid", "svg"], default="text")
    diagram.add_argument("--moves", type=_moves, metavar="FILE", help="what `pytest --sansio-moves FILE` has counted")
    replay = commands.add_parser("replay", help="whether a connection that --record has kept goes the same way again")
    replay.add_argument("transcript", type=_transcript, metavar="FILE", help="a transcript")
    replay.add_argument("--shrink", action="store_true", help="when it does not: the fewest calls that show it")
    replay.add_argument("--test", action="store_true", help="print it as a test to paste, with the results of now")


def draw_machines(arguments: Namespace) -> None:
    """Print the diagrams that *arguments* ask for."""
    from sansio_pingora.testing.diagrams import draw, machines

    print(draw(arguments.machines or list(machines()), arguments.format, arguments.moves), end="")


def replay_transcript(arguments: Namespace) -> bool:
    """Whether the transcript of *arguments* replays alike; prints what they ask for.

    :raises Error: it is of a machine that cannot be made again.
    """
    from sansio_pingora.testing.replaying import Unplayable, as_test, replay, results, shrink

    transcript: Transcript = arguments.transcript
    try:
        difference = replay(transcript)
    except Unplayable as exc:
        for step in transcript.steps:
            print(step)
        raise Error(ErrorType.INTERNAL_ERROR, str(exc)) from None
    shown = transcript
    if difference is None:
        print(f"# {len(transcript.steps)} calls, all as they were recorded")
    else:
        print("\n".join(f"# {line}" for line in str(difference).splitlines()))
        if arguments.shrink:
            shown = shrink(difference)
            print(f"# {len(shown.steps)} of {len(transcript.steps)} calls lead there")
    if arguments.test:
        print(as_test(results(shown)), end="")
    elif arguments.shrink and difference is not None:
        for step in shown.steps:
            print(step)
    return difference is None


def _transcript(path: str) -> Transcript:
    from sansio_pingora.testing.transcripts import read_transcript

    try:
        with Path(path).open(encoding="utf-8") as lines:
            return read_transcript(lines)
    except (OSError, ValueError) as exc:
        raise ArgumentTypeError(f"{path}: {exc}") from None


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
