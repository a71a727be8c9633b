"""The set of backends under a balancer, and what is known of each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

from sansio_pingora.balancing.backend import Backend

__all__ = ["MAX_BACKENDS", "BackendState", "Backends"]

MAX_BACKENDS = 65_535
"""Pingora's figure."""


class BackendState:
    """What is known of one backend. Others than its owner may read it at any moment, from any thread."""

    __slots__ = (
        "backend",
        "contrary",
        "ejected",
        "ejections",
        "enabled",
        "failures",
        "healthy",
        "out_until",
        "ready",
        "requests",
        "returned",
    )

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.healthy = True
        """What its health check found."""
        self.contrary = 0
        """Observations in a row that contradict ``healthy``."""
        self.enabled = True
        """Neither discovery nor an operator has switched it off."""
        self.ejected = False
        """Too many requests to it failed, and its time out has not ended."""
        self.ejections = 0
        """How often that was, of late."""
        self.failures = 0
        """Attempts in a row that failed. Lanes that count at the same moment may lose one, which matters to nobody."""
        self.out_until = -math.inf
        """When its last ejection ends, in monotonic seconds."""
        self.returned = -math.inf
        """When it was last let in again, in monotonic seconds."""
        self.ready = True
        """All of the above allow it to be used."""
        # A set, since adding to one and taking from it are single steps, which a counter's are not in every Python.
        self.requests: set[object] = set()
        """Those that it has at the moment."""

    def settle(self) -> None:
        """One of the conditions has changed."""
        self.ready = self.healthy and self.enabled and not self.ejected

    def observe(self, healthy: bool, threshold: int) -> bool:
        """A health check found it *healthy* or not; True: that changed its health.

        It takes *threshold* findings in a row that contradict what was known.
        """
        if healthy is self.healthy:
            self.contrary = 0
            return False
        self.contrary += 1
        if self.contrary < threshold:
            return False
        self.healthy = healthy
        self.contrary = 0
        self.settle()
        return True


class Backends:
    """A set of backends with their states.

    What is read here may be read from any thread: a change makes a new set, which appears at once as a whole.
    """

    __slots__ = ("states",)

    def __init__(self) -> None:
        self.states: dict[Backend, BackendState] = {}
        """In the order of the backends. Never changed, but replaced."""

    def replacement(self, found: Iterable[Backend]) -> dict[Backend, BackendState] | None:
        """The states that would stand for *found*, with what is known of those that stay; None: nothing changes.

        :raises ValueError: more than :data:`MAX_BACKENDS`, or two with the same address.
        """
        ordered = sorted(set(found))
        if ordered == list(self.states):
            return None
        if len(ordered) > MAX_BACKENDS:
            raise ValueError(f"{len(ordered)} backends are more than {MAX_BACKENDS}")
        for one, other in pairwise(ordered):  # those of one address stand side by side
            if one.addr == other.addr:
                raise ValueError(f"{one.addr} is there twice, with weights {one.weight} and {other.weight}")
        known = {state.backend.addr: state for state in self.states.values()}
        states: dict[Backend, BackendState] = {}
        for backend in ordered:
            # One that weighs otherwise is the same server: who holds its state, to change it later, changes this one.
            states[backend] = known.get(backend.addr) or BackendState(backend)
        return states

    def adopt(self, states: dict[Backend, BackendState]) -> None:
        """Let *states*, of :meth:`replacement`, be the set."""
        for backend, state in states.items():
            state.backend = backend
        self.states = states

    def switch(self, enabled: Mapping[Backend, bool]) -> None:
        """Enable and disable as *enabled* says; those that are not in it stay as they are."""
        for backend, wanted in enabled.items():
            self.set_enable(backend, wanted)

    # ── by Pingora's names ───────────────────────────────────────────────────────────

    def get_backend(self) -> list[Backend]:
        """The set, in order."""
        return list(self.states)

    def ready(self, backend: Backend) -> bool:
        """Whether *backend* may be used; of one that is not in the set, that nothing speaks against it."""
        state = self.states.get(backend)
        return state is None or state.ready

    def set_enable(self, backend: Backend, enabled: bool) -> None:
        """Switch *backend* on or off, whatever its health is; nothing where it is not in the set."""
        state = self.states.get(backend)
        if state is not None:
            state.enabled = enabled
            state.settle()
