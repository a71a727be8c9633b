"""A set of backends, and which of them is next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.balancing.backends import Backends, BackendState
from sansio_pingora.balancing.selection import RoundRobin, Selection, Selector, UniqueIterator
from sansio_pingora.errors import Error
from sansio_pingora.upstreams import HttpPeer

__all__ = ["LoadBalancer"]

_STEPS = 256


class LoadBalancer:
    """Chooses a backend for each request.

    It may be asked from any thread, also while another one changes the set: what is under way goes on with the set
    that it began with.
    """

    __slots__ = ("_current", "_selection", "backends")

    def __init__(self, backends: Iterable[Backend | str] = (), selection: Selection | None = None) -> None:
        self.backends = Backends()
        """The set, and what is known of each in it."""
        self._selection = RoundRobin() if selection is None else selection
        self._current: tuple[Selector, dict[Backend, BackendState]] = self._selected({})
        self.update(Backend(one) if isinstance(one, str) else one for one in backends)

    @classmethod
    def try_from_iter(cls, addresses: Iterable[str], selection: Selection | None = None) -> Self:
        """A balancer over *addresses*, all of the same weight.

        :raises ValueError: one is no address, or is there twice.
        """
        return cls([Backend(address) for address in addresses], selection)

    def update(self, found: Iterable[Backend], enabled: Mapping[Backend, bool] | None = None) -> bool:
        """The set is *found* from here on; True: it was another one before.

        What was known of those that stay is kept. *enabled* switches those on or off that are in it.

        :raises ValueError: the selection cannot be made of these; the set is what it was.
        """
        states = self.backends.replacement(found)
        if states is not None:
            self._current = self._selected(states)  # selector and states in one step
            self.backends.states = states  # whoever sees them finds them chosen from
        if enabled:
            self.backends.switch(enabled)
        return states is not None

    def _selected(self, states: dict[Backend, BackendState]) -> tuple[Selector, dict[Backend, BackendState]]:
        def load(backend: Backend) -> int:
            return len(states[backend].requests)

        return self._selection.build(list(states), load), states

    # ── choosing ─────────────────────────────────────────────────────────────────────

    def select(self, key: bytes = b"", max_iterations: int = _STEPS) -> Backend | None:
        """The first backend for *key* that is ready, of *max_iterations* steps; None where none is."""
        selector, states = self._current
        for backend in UniqueIterator(selector.iter(key), max_iterations):
            if states[backend].ready:
                return backend
        return None

    def select_with(self, key: bytes, max_iterations: int, accept: Callable[[Backend, bool], bool]) -> Backend | None:
        """The first backend for *key* that *accept* takes; it is told whether the backend is ready."""
        selector, states = self._current
        for backend in UniqueIterator(selector.iter(key), max_iterations):
            if accept(backend, states[backend].ready):
                return backend
        return None

    def peer(
        self, key: bytes = b"", *, tried: set[Backend] | None = None, max_iterations: int = _STEPS, **how: Any
    ) -> HttpPeer:
        """A peer for one attempt of a proxy: a backend that is ready and not in *tried*, to which it is added.

        What becomes of the attempt is accounted for: the selections by load need that. *how* are further arguments of
        :class:`HttpPeer`.

        :raises Error: none is left: 502 where some were tried, 503 where none is ready.
        """
        selector, states = self._current
        for backend in UniqueIterator(selector.iter(key), max_iterations):
            state = states[backend]
            if state.ready and (tried is None or backend not in tried):
                if tried is not None:
                    tried.add(backend)
                peer = HttpPeer(backend.addr, **how)
                peer.attempt = _Attempt(state)
                return peer
        if tried:
            raise Error.http_status(502, f"none of {len(states)} backends is left: {len(tried)} were tried").into_up()
        raise Error.http_status(503, f"none of {len(states)} backends is ready").into_up()


class _Attempt:
    """One attempt of a request, at one backend."""

    __slots__ = ("_state",)

    def __init__(self, state: BackendState) -> None:
        self._state = state

    def began(self, now: float) -> None:
        self._state.requests.add(self)

    def ended(self, error: Error | None, status: int | None, now: float) -> None:
        self._state.requests.discard(self)
