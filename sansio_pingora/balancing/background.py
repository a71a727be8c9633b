"""What a load balancer does beside the requests: find backends, check them, let ejected ones in again."""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from sansio_pingora.balancing.backends import BackendState
from sansio_pingora.balancing.probe import Probe
from sansio_pingora.connectors import Connector, HttpClients
from sansio_pingora.errors import Error
from sansio_pingora.layers import upstream_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Lane, LogLine
from sansio_pingora.session import Await, Routines, Sleep, as_error

if TYPE_CHECKING:
    from sansio_pingora.balancing.load_balancer import LoadBalancer

__all__ = ["BackgroundWork"]


class BackgroundWork(Routines):
    """The work of *balancer* on one lane, from :meth:`begin` to :meth:`stop`."""

    __slots__ = ("_balancer", "_connector", "_pass", "_probes", "ready")

    def __init__(self, balancer: LoadBalancer, lane: Lane, now: float) -> None:
        super().__init__(lane, now)
        self._balancer = balancer
        limits = Limits()
        from sansio_pingora.tls import upstream_tls  # the library of TLS, when there is something to be checked

        layers = partial(upstream_layers, tls=upstream_tls(balancer.tls, limits))
        self._connector = Connector(lane, limits, HttpClients(limits), layers)
        self._probes: set[Probe] = set()
        self._pass: tuple[int, list[BackendState]] = 0, []
        self.ready = False
        """The first discovery is over, whatever it brought."""

    def begin(self) -> None:
        """Discover and check for the first time, then as often as the balancer says."""
        self.start(self._story(), self._broke_down)
        for state in self._balancer.backends.states.values():
            if state.ejected:  # when this work was stopped the last time
                self.start(self._return_of(state))

    def stop(self, now: float) -> None:
        """Give up what is under way."""
        self.now = now
        for probe in list(self._probes):
            probe.cancel(now)
        self._probes.clear()
        self._connector.drain(now)
        self.stop_routines()

    def _broke_down(self, _: Any, error: Error | None) -> None:
        if error is not None:
            self.give(LogLine("ERROR", f"a load balancer's background work has ended: {error}"))

    def _story(self) -> Generator[Any, Any, None]:
        balancer = self._balancer
        update_at = check_at = self.now
        while balancer.works(self):
            if self.now >= update_at:
                yield from self._update()
                update_at = self._after(balancer.update_frequency)
                self.ready = True
            if self.now >= check_at:
                if balancer.health_check is not None:
                    yield from self._check_all()
                check_at = self._after(balancer.health_check_frequency)
            following = min(update_at, check_at)
            if following == math.inf:
                return
            if following > self.now:
                yield Sleep(following - self.now)

    def _after(self, period: float | None) -> float:
        return math.inf if period is None else self.now + self._balancer.spread(period)

    def _update(self) -> Generator[Any, Any, None]:
        balancer = self._balancer
        discovery = None
        while discovery is not balancer.discovery:
            discovery = balancer.discovery
            try:
                found, enabled = yield from discovery.discover()
                if discovery is balancer.discovery:  # or a reload has replaced it meanwhile, and those that it found
                    balancer.update(found, enabled)
            except Exception as exc:
                self.give(LogLine("WARNING", f"backends were not updated: {as_error(exc, 'discovery')}"))

    # ── checks ───────────────────────────────────────────────────────────────────────

    def _check_all(self) -> Generator[Any, Any, None]:
        """Check each backend, as many at once as the balancer says."""
        token = self.new_token()
        self._pass = token, list(self._balancer.backends.states.values())[::-1]
        for _ in range(self._balancer.parallel_health_check):
            self._next_probe()
        if self._probes:
            yield Await(token)

    def _next_probe(self) -> None:
        token, left = self._pass
        check = self._balancer.health_check
        states = self._balancer.backends.states
        while left and states.get(left[-1].backend) is not left[-1]:
            left.pop()  # it has gone since the pass began
        if left and check is not None:
            state = left.pop()
            probe: Probe

            def found(error: Error | None, now: float) -> None:
                self._probes.discard(probe)
                self._found(state, error, now)

            probe = Probe(self.lane, self._connector, check, state.backend, found, self.now)
            self._probes.add(probe)
            probe.begin()
        elif not self._probes and not left:
            self.resume(token, None, self.now)

    def _found(self, state: BackendState, error: Error | None, now: float) -> None:
        self.now = now
        check = self._balancer.health_check
        healthy = error is None
        if check is not None and state.observe(healthy, check.threshold(healthy)):
            backend = state.backend
            if error is None:
                self.give(LogLine("INFO", f"{backend} is healthy"))
            else:
                self.give(LogLine("WARNING", f"{backend} is unhealthy: {error}"))
            if check.health_changed is not None:
                self._tell(check.health_changed, state, healthy)
        self._next_probe()

    def _tell(self, callback: Any, state: BackendState, value: bool) -> None:
        try:
            callback(state.backend, value)
        except Exception as exc:
            self.give(LogLine("ERROR", f"a callback of a load balancer raised: {as_error(exc, 'in it')}"))

    # ── ejections ────────────────────────────────────────────────────────────────────

    def suspect(self, state: BackendState, now: float) -> None:
        """Too many attempts at *state* have failed. From any thread."""
        self.lane.post(partial(self._eject, state, now))

    def _eject(self, state: BackendState, now: float) -> None:
        balancer = self._balancer
        detection = balancer.outlier_detection
        if detection is None or state.ejected or state.failures < detection.consecutive_failures:
            return
        if not detection.may_eject(balancer.backends.states.values()):
            return
        if now > self.now:
            self.now = now
        detection.eject(state, now)
        self.give(LogLine("WARNING", f"{state.backend} is ejected for {state.out_until - now:g} s"))
        self.start(self._return_of(state))
        if detection.ejection_changed is not None:
            self._tell(detection.ejection_changed, state, True)

    def _return_of(self, state: BackendState) -> Generator[Any, Any, None]:
        yield Sleep(max(0.0, state.out_until - self.now))
        detection = self._balancer.outlier_detection
        # The work on another lane may have let it in, and it may be out again.
        if detection is not None and state.ejected and self.now >= state.out_until:
            detection.readmit(state, self.now)
            if detection.ejection_changed is not None:
                self._tell(detection.ejection_changed, state, False)
