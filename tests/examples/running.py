"""Examples as a user runs them, but for where they listen."""

import contextlib
import runpy
from pathlib import Path

import sansio_pingora

EXAMPLES = Path(__file__).parents[2] / "examples"


class _Served(Exception):
    """serve() was called: the example is where a user's would stay."""


def run_example(monkeypatch, name, *argv):
    """Run an example as a script; the application that it serves and its options."""
    seen = {}

    def serve(app, **options):
        seen.update(options, app=app)
        raise _Served

    with monkeypatch.context() as patch, contextlib.suppress(_Served):
        patch.setattr(sansio_pingora, "serve", serve, raising=False)
        patch.setattr("sys.argv", [name, *argv])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return seen.pop("app"), seen


def load_example(name):
    """The names that an example defines."""
    return runpy.run_path(str(EXAMPLES / name), run_name="example")
