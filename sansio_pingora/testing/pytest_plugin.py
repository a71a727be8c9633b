"""A plugin of pytest: the fixture ``serve_app`` serves an application on a runtime, for the time of a test.

It is there as soon as the package is installed; what it needs is loaded when a test asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sansio_pingora._serve import ServeControl

__all__ = ["serve_app", "serving"]

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
