"""Pingora's command-line options as a value."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

__all__ = ["Opt", "add_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opt:
    """What was typed."""

    upgrade: bool = False
    """Begin with the sockets of a running server, which ends when this one is up."""
    daemon: bool = False
    """Go into the background, whatever the configuration says."""
    test: bool = False
    """Check the configuration and end."""
    conf: str | None = None
    """Path of the configuration."""

    @classmethod
    def parse_args(cls) -> Self:
        """From the command line of this process; what is wrong there ends it, as argparse does."""
        return cls.parse_from_args(None)

    @classmethod
    def parse_from_args(cls, args: Sequence[str] | None) -> Self:
        """From *args*, without the program's name; None is this process's own."""
        parser = ArgumentParser()
        add_options(parser)
        return cls(**vars(parser.parse_args(args)))


def add_options(parser: ArgumentParser, *, required: bool = False) -> None:
    """Pingora's flags, for a parser of one's own; their names are the fields of :class:`Opt`."""
    parser.add_argument("-c", "--conf", metavar="PATH", required=required, help="the configuration, a YAML file")
    parser.add_argument(
        "-u", "--upgrade", action="store_true", help="take over from a running server: send SIGQUIT to that one"
    )
    parser.add_argument("-d", "--daemon", action="store_true", help="go into the background; returns when it is ready")
    parser.add_argument("-t", "--test", action="store_true", help="check the configuration and end")
