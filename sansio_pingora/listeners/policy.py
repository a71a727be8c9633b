"""When to accept: ceilings on connections, and what follows from a failed accept."""

from __future__ import annotations

import math

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.listeners.log_limit import LogLimit
from sansio_pingora.machine import LogLine

__all__ = ["AcceptPolicy"]

_PAUSE = 0.1
"""Seconds without accepting after a failure that the next accept would meet again.

The client is still in the backlog, so that the listening socket stays readable: without a
pause a loop burns a core and fills the log (uvicorn: 90 % CPU and 13 MB of log in 5 s).
Pingora waits a second for EMFILE and not at all for the others.
"""

_TURN = 0.005
"""Seconds for a process with fewer clients to take the next one.

One that is idle takes it within microseconds; one whose loop is held up for longer than this has to do without, and
the client has waited no longer than that for it.
"""

_OF_ONE_CONNECTION = frozenset(
    {
        "ECONNABORTED",  # gone before we came to it
        "EINTR",
        "EPERM",  # a firewall rule forbids this one
        # Linux reports errors pending on the new socket as errors of accept: accept(2).
        "ENETDOWN",
        "EPROTO",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
    }
)
_HINTS = {
    "EMFILE": "no descriptor is free: raise the limit (ulimit -n) or lower max_connections",
    "ENFILE": "the system has no file left: raise fs.file-max",
    "ENOBUFS": "the kernel has no socket memory left",
    "ENOMEM": "the kernel has no memory left",
}


class AcceptPolicy:
    """Decides for one set of listeners whether to accept now.

    Ask :attr:`accepting` before every accept, report what came of it, and look again at
    :attr:`deadline`. A driver that is told to wait stops watching its listening sockets.
    """

    __slots__ = (
        "_burst",
        "_had_turn",
        "_lines",
        "_max",
        "_paused_until",
        "_rate",
        "_refilled",
        "_slowed_until",
        "_stopped",
        "_tokens",
        "_yielded_until",
        "deadline",
        "open",
    )

    def __init__(self, *, max_connections: int | None = None, accept_rate: float | None = None) -> None:
        if accept_rate is not None and accept_rate <= 0:
            raise ValueError(f"accept_rate must be above 0, not {accept_rate!r}")
        self._max = math.inf if max_connections is None else max_connections
        self._rate = accept_rate
        # One second's worth at once: a smaller bucket would delay a browser's six connections.
        self._burst = max(1.0, accept_rate or 0.0)
        self._tokens = self._burst
        self._refilled = -math.inf
        self._stopped = False
        self._lines = LogLimit()
        self._paused_until = -math.inf  # by a failure
        self._slowed_until = -math.inf  # by the rate
        self._yielded_until = -math.inf  # to others
        self._had_turn = False
        self.deadline = math.inf
        """When the pause in force ends; ``math.inf`` without one."""
        self.open = 0
        """Connections accepted and not closed yet."""

    @property
    def accepting(self) -> bool:
        """Whether to accept one more now."""
        return self.deadline == math.inf and self.open < self._max and not self._stopped

    def give_way(self, least: int | None, now: float) -> None:
        """Before accepting, where others accept at the same sockets: leave the next client to one with *least* open.

        It has one turn; what is there afterwards is taken. None: there is nobody else.
        """
        if self._had_turn:
            self._had_turn = False
        elif least is not None and self.accepting and self.open > least + max(1, least // 8):
            self._yielded_until = now + _TURN
            self._arm()

    def accepted(self, now: float) -> None:
        """One connection was accepted.

        :raises LocalProtocolError: :attr:`accepting` is false.
        """
        if not self.accepting:
            raise LocalProtocolError(
                "accepted a connection though the policy says to wait: ask accepting before each accept"
            )
        self.open += 1
        if self._rate is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate) - 1.0
            self._refilled = now
            if self._tokens < 1.0:
                self._slowed_until = now + (1.0 - self._tokens) / self._rate
                self._arm()

    def closed(self, now: float) -> None:
        """One of the accepted connections is closed, and what it held is free: a pause after a failure ends.

        So a backlog of clients that have long gone is cleared at full speed, not by one batch for each pause.

        :raises LocalProtocolError: none is open.
        """
        if self.open == 0:
            raise LocalProtocolError("closed more connections than were accepted")
        self.open -= 1
        if self._paused_until != -math.inf:
            self._paused_until = -math.inf
            self._arm()

    def failed(self, errno_name: str, now: float) -> LogLine | None:
        """An accept failed with *errno_name*, like ``"EMFILE"``. Returns the line to log, if one is due."""
        alone = errno_name in _OF_ONE_CONNECTION
        if not alone and not self._stopped:
            self._paused_until = now + _PAUSE
            self._arm()
        if not self._lines.passes(now):
            return None
        text = f"accepting a connection failed: {errno_name}"
        if hint := _HINTS.get(errno_name):
            text += f" ({hint})"
        if not alone:
            text += f"; waiting {_PAUSE * 1000:.0f} ms"
        return LogLine("WARNING" if alone else "ERROR", self._lines.complete(text))

    def handle_timeout(self, now: float) -> None:
        """Time has passed: a pause that is over ends. Early or repeated calls are harmless."""
        if now >= self.deadline:
            self._had_turn = self._yielded_until != -math.inf
            self._paused_until = self._slowed_until = self._yielded_until = -math.inf
            self.deadline = math.inf

    def stop(self) -> None:
        """Accept nothing any more."""
        self._stopped = True
        self._arm()

    def _arm(self) -> None:
        until = max(self._paused_until, self._slowed_until, self._yielded_until)
        self.deadline = math.inf if self._stopped or until == -math.inf else until
