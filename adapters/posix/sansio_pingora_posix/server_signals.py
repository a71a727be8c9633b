"""The signals of a server."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

__all__ = ["handle_signals"]


@contextlib.contextmanager
def handle_signals(actions: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Have *actions* called, which must be safe in a signal handler; what was before comes back at the end.

    Nothing is done outside the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def act(signum: int, _frame: FrameType | None) -> None:
        actions[signal.Signals(signum)]()

    before = {signum: signal.signal(signum, act) for signum in actions}
    try:
        yield
    finally:
        for signum, handler in before.items():
            # None: a handler that was not set from Python, which cannot be put back.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
