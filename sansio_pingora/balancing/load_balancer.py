"""A set of backends, and which of them is next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.balancing.backends import Backends, BackendState
from sansio_pingora.balancing.background import BackgroundWork
from sansio_pingora.balancing.discovery import Discovery, StaticDiscovery
from sansio_pingora.balancing.health import HealthCheck
from sansio_pingora.balancing.outliers import OutlierDetection, verdict
from sansio_pingora.balancing.selection import Below, RoundRobin, Selection, Selector, UniqueIterator
from sansio_pingora.errors import Error
from sansio_pingora.machine import Lane
from sansio_pingora.tls import TlsBackend
from sansio_pingora.upstreams import HttpPeer

__all__ = ["LoadBalancer"]

_STEPS = 256
_EXAMPLES = {"selection": "RoundRobin()", "health_check": "TcpHealthCheck()"}


class LoadBalancer:
    """Chooses a backend for each request.

    It may be asked from any thread, also while another one changes the set: what is under way goes on with the set
    that it began with.
    """

    __slots__ = (
        "_current",
        "_jitter",
        "_random",
        "_selection",
        "_work",
        "backends",
        "discovery",
        "health_check",
        "health_check_frequency",
        "outlier_detection",
        "parallel_health_check",
        "tls",
        "update_frequency",
    )

    def __init__(
        self,
        backends: Iterable[Backend | str] | Discovery = (),
        selection: Selection | None = None,
        *,
        health_check: HealthCheck | None = None,
        health_check_frequency: float | None = None,
        parallel_health_check: int = 1,
        update_frequency: float | None = None,
        outlier_detection: OutlierDetection | None = None,
        jitter: float = 0.0,
        below: Below | None = None,
    ) -> None:
        """Over *backends*, or what a :class:`Discovery` finds, chosen by *selection*, a :class:`RoundRobin` if None.

        What follows is done in the background, which must be started (:meth:`start`). *health_check* is made of every
        backend, *parallel_health_check* at once, and *health_check_frequency* seconds after the last round ended;
        None: once. *update_frequency*: seconds between two discoveries; None: one. *outlier_detection* ejects
        backends whose requests fail. *jitter*: the share of every period, from 0 to 1, by which it is shorter or
        longer, as *below*, a source of random numbers, says.

        :raises ValueError: an argument is out of its range, or not an address.
        :raises TypeError: a selection or a health check that is none.
        """
        for what, made, has in (("selection", selection, "build"), ("health_check", health_check, "threshold")):
            if made is not None and (isinstance(made, type) or not hasattr(made, has)):
                raise TypeError(f"{what} is an object, like {_EXAMPLES[what]}, not {made!r}")
        if parallel_health_check < 1:
            raise ValueError("parallel_health_check is the number of checks at once, 1 or more")
        for name, period in (("health_check", health_check_frequency), ("update", update_frequency)):
            if period is not None and not period > 0:
                raise ValueError(f"{name}_frequency is seconds above 0 between two rounds, or None, not {period!r}")
        if not 0 <= jitter <= 1 or (jitter and below is None):
            raise ValueError("jitter is a share from 0 to 1, and needs below=random.randrange or a like source")
        self.health_check = health_check
        self.health_check_frequency = health_check_frequency
        self.parallel_health_check = parallel_health_check
        self.update_frequency = update_frequency
        self.outlier_detection = outlier_detection
        self.tls: TlsBackend | None = None
        """Makes TLS to backends that are checked over it; ``serve()`` gives its own where there is none."""
        self._jitter = jitter
        self._random = below
        self._work: BackgroundWork | None = None
        self.backends = Backends()
        """The set, and what is known of each in it."""
        self._selection = RoundRobin() if selection is None else selection
        self._current: tuple[Selector, dict[Backend, BackendState]] = self._selected({})
        self.discovery: Discovery
        if isinstance(backends, Iterable):
            self.discovery = static = StaticDiscovery(backends)
            self.update(static.backends)
        else:
            self.discovery = backends

    @classmethod
    def try_from_iter(cls, addresses: Iterable[str], selection: Selection | None = None) -> Self:
        """A balancer over *addresses*, all of the same weight.

        :raises ValueError: one is no address, or is there twice.
        """
        return cls(list(addresses), selection)

    # ── in the background ────────────────────────────────────────────────────────────

    def start(self, lane: Lane, now: float) -> None:
        """Discover and check on *lane* from here on, and nowhere else; ``serve(..., background=balancer)`` calls it."""
        self._work = BackgroundWork(self, lane, now)
        self._work.begin()

    def works(self, work: BackgroundWork) -> bool:
        """Whether *work* is the one that was started last: another one is to end."""
        return work is self._work

    def stop(self, now: float) -> None:
        """Discover and check no more; what is known stays. Harmless again."""
        if self._work is not None:
            work, self._work = self._work, None
            work.stop(now)

    @property
    def discovered(self) -> bool:
        """The first discovery in the background is over, whatever it brought."""
        return self._work is not None and self._work.ready

    def spread(self, period: float) -> float:
        """*period*, with its jitter."""
        if self._random is None or not self._jitter:
            return period
        return period * (1.0 + self._jitter * (self._random(2_001) / 1_000 - 1.0))

    def attempt_ended(self, state: BackendState, error: Error | None, status: int | None, now: float) -> None:
        """An attempt at the backend of *state* is over. From any thread."""
        detection = self.outlier_detection
        if detection is None:
            return
        failed = verdict(error, status, detection.statuses)
        if failed:
            state.failures += 1
            if state.failures >= detection.consecutive_failures and self._work is not None:
                self._work.suspect(state, now)
        elif failed is False:
            state.failures = 0

    def update(self, found: Iterable[Backend], enabled: Mapping[Backend, bool] | None = None) -> bool:
        """The set is *found* from here on; True: it was another one before.

        What was known of those that stay is kept. *enabled* switches those on or off that are in it.

        :raises ValueError: the selection cannot be made of these; the set is what it was.
        """
        states = self.backends.replacement(found)
        if states is not None:
            self._current = self._selected(states)  # selector and states in one step
            self.backends.adopt(states)  # whoever sees them finds them chosen from
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
        self,
        key: bytes = b"",
        *,
        tried: set[Backend] | None = None,
        max_iterations: int = _STEPS,
        make: Callable[[Backend], HttpPeer] | None = None,
        **how: Any,
    ) -> HttpPeer:
        """A peer for one attempt of a proxy: a backend that is ready and not in *tried*, to which it is added.

        What becomes of the attempt is accounted for: the selections by load need that. *make* makes the peer of a
        backend, a new one each time; otherwise *how* are further arguments of :class:`HttpPeer`.

        :raises Error: none is left: 502 where some were tried, 503 where none is ready.
        """
        selector, states = self._current
        for backend in UniqueIterator(selector.iter(key), max_iterations):
            state = states[backend]
            if state.ready and (tried is None or backend not in tried):
                if tried is not None:
                    tried.add(backend)
                peer = HttpPeer(backend.addr, **how) if make is None else make(backend)
                peer.attempt = _Attempt(self, state)
                return peer
        if tried:
            raise Error.http_status(502, f"none of {len(states)} backends is left: {len(tried)} were tried").into_up()
        raise Error.http_status(503, f"none of {len(states)} backends is ready").into_up()


class _Attempt:
    """One attempt of a request, at one backend."""

    __slots__ = ("_balancer", "_state")

    def __init__(self, balancer: LoadBalancer, state: BackendState) -> None:
        self._balancer = balancer
        self._state = state

    def began(self, now: float) -> None:
        self._state.requests.add(self)

    def ended(self, error: Error | None, status: int | None, now: float) -> None:
        self._state.requests.discard(self)
        self._balancer.attempt_ended(self._state, error, status, now)
