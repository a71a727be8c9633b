"""A plugin of pytest: a fixture that serves an application, and an option that counts the moves of our machines.

``serve_app`` serves an application on a runtime, for the time of a test. ``--sansio-moves FILE`` writes which moves
of which tables were taken, for ``sansio-pingora diagram --moves FILE``. It is there as soon as the package is
installed; what it needs is loaded when it is asked for.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sansio_pingora._serve import ServeControl

__all__ = ["pytest_addoption", "pytest_configure", "serve_app", "serving"]

PATIENCE = 20.0
"""Seconds until a server that does not begin or end fails the test; never waited out by one that passes."""


@contextmanager
def serving(
    app: Any, runtime: str = "threads", *, listen: str = "127.0.0.1:0", **options: Any
) -> Iterator[ServeControl]:
    """The control of a server of *app* in a thread of its own, stopped at the end; what it raised is raised there.

    Its ``addresses`` say where it listens. *options* are those of :func:`sansio_pingora.serve`.
    """
    from sansio_pingora._serve import new_control, serve  # deferred: the plugin is loaded with every pytest

    control = new_control()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            serve(app, listen=listen, runtime=runtime, control=control, **options)
        except BaseException as exc:
            failures.append(exc)
            control.ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert control.ready.wait(PATIENCE), "the server does not begin"
        if not failures:
            yield control
    finally:
        control.stop(graceful=False)
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server does not end"
    if failures:
        raise failures[0]


@pytest.fixture
def serve_app() -> Iterator[Callable[..., str]]:
    """Call it with an application, a runtime and options of ``serve()``; it returns the address, ``host:port``."""
    with ExitStack() as stack:

        def begin(app: Any, runtime: str = "threads", **options: Any) -> str:
            return stack.enter_context(serving(app, runtime, **options)).addresses[0]

        yield begin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our option."""
    parser.getgroup("sansio-pingora").addoption(
        "--sansio-moves", metavar="FILE", help="count the moves of sansio-pingora's machines, and write them to FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Count from the start: tests hold tables as soon as they are imported."""
    if path := config.getoption("--sansio-moves"):
        config.pluginmanager.register(_Moves(Path(path)), "sansio-moves")


class _Moves:
    """Counts in every process of the run, and adds it up in the one that the others work for."""

    def __init__(self, path: Path) -> None:
        from sansio_pingora.testing.tables import count_moves  # deferred: the plugin is loaded with every pytest

        count_moves()
        self._path = path
        self._total: dict[str, Counter[str]] = {}

    def _add(self, counted: dict[str, dict[str, int]]) -> None:
        for table, taken in counted.items():
            self._total.setdefault(table, Counter()).update(taken)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        self._add(getattr(node, "workeroutput", {}).get("sansio-moves", {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what was counted, or write it."""
        from sansio_pingora.testing.tables import moves_taken

        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["sansio-moves"] = moves_taken()
            return
        self._add(moves_taken())
        self._path.write_text(json.dumps(self._total, indent=1, sort_keys=True) + "\n", "utf-8")
