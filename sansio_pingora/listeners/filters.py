"""Who may connect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Protocol

from sansio_pingora.errors import Error
from sansio_pingora.machine import Admit, Lane, LogLine
from sansio_pingora.session import Form, Routine, Routines, Sleep, check_form, form_of
from sansio_pingora.transport import SocketAddr

__all__ = ["AcceptAll", "Admission", "ConnectionFilter", "ConnectionGate"]


class ConnectionFilter(Protocol):
    """Decides over each accepted transport before anything is spent on it.

    A callback of any form: plain, ``@blocking``, ``async def`` on asyncio, a generator of effects.
    While one that waits decides, others are accepted. One that fails refuses.
    """

    def should_accept(self, peer: SocketAddr | None) -> bool | Awaitable[bool] | Generator[Any, Any, bool]:
        """False closes the transport without a word. *peer* is None for a Unix client."""


class AcceptAll:
    """Let everybody in."""

    __slots__ = ()

    def should_accept(self, peer: SocketAddr | None) -> bool:
        """Always true."""
        return True


class Admission:
    """A connection filter and the way in which it is run.

    :raises TypeError: its form is none that *runtime* can run.
    """

    __slots__ = ("_ask", "_form")

    def __init__(self, connection_filter: ConnectionFilter, runtime: str, *, can_await: bool) -> None:
        self._ask: Callable[[SocketAddr | None], Any] = connection_filter.should_accept
        self._form = form_of(connection_filter.should_accept, connection_filter)
        check_form(f"{type(connection_filter).__name__}.should_accept", self._form, runtime, can_await=can_await)

    @classmethod
    def of(cls, connection_filter: ConnectionFilter | None, runtime: str, *, can_await: bool) -> Admission | None:
        """By *connection_filter*, if there is one.

        :raises TypeError: as above.
        """
        return None if connection_filter is None else cls(connection_filter, runtime, can_await=can_await)

    @property
    def at_once(self) -> Callable[[SocketAddr | None], bool] | None:
        """What to ask in the accept loop; None where the answer has to be waited for."""
        return self._ask if self._form is Form.PLAIN else None

    def gate(self, lane: Lane, patience: float) -> ConnectionGate | None:
        """Where those wait for the answer that *lane* has accepted; None where nobody has to.

        *patience*: seconds that the filter has.
        """
        return None if self._form is Form.PLAIN else ConnectionGate(lane, self._ask, self._form, patience)


class ConnectionGate:
    """The transports of one lane over which a filter that waits has not decided yet."""

    __slots__ = ("_ask", "_form", "_lane", "_patience", "_waiting")

    def __init__(self, lane: Lane, ask: Callable[[SocketAddr | None], Any], form: Form, patience: float) -> None:
        self._lane = lane
        self._ask = ask
        self._form = form
        self._patience = patience
        self._waiting: dict[_Question, None] = {}

    def ask(self, peer: SocketAddr | None, transport: Any, now: float) -> None:
        """Ask the filter about *peer*; what follows for *transport* is a command, :class:`Admit`."""
        question = _Question(self._lane, peer, transport, self._waiting, now)
        self._waiting[question] = None
        question.begin(self._form, partial(self._ask, peer), self._patience)

    def close(self) -> None:
        """Refuse who waits."""
        for question in list(self._waiting):
            question.decide(False)

    def __len__(self) -> int:
        return len(self._waiting)


class _Question(Routines):
    """One call of the filter."""

    __slots__ = ("_peer", "_transport", "_undecided")

    def __init__(
        self,
        lane: Lane,
        peer: SocketAddr | None,
        transport: Any,
        undecided: dict[_Question, None],
        now: float,
    ) -> None:
        super().__init__(lane, now)
        self._peer = peer
        self._transport = transport
        self._undecided = undecided

    def begin(self, form: Form, ask: Callable[[], Any], patience: float) -> None:
        self.start(self._clock(patience))
        self.start(self.run_form(form, ask), self._answered)

    def decide(self, admitted: bool) -> None:
        if self in self._undecided:
            del self._undecided[self]
            self.stop_routines()
            self.give(Admit(self._transport, admitted))

    def _clock(self, patience: float) -> Routine:
        yield Sleep(patience)
        self._complain(f"has not decided within {patience:g} s")
        self.decide(False)

    def _answered(self, verdict: Any, error: Error | None) -> None:
        if error is not None:
            self._complain(f"failed: {error}")
        self.decide(error is None and bool(verdict))

    def _complain(self, text: str) -> None:
        self.give(LogLine("ERROR", f"the connection filter {text}; {self._peer or 'a Unix client'} is refused"))
