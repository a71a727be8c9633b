"""What services count: each lane in lists of its own, added up when somebody asks.

Counting takes no lock and makes no object; whoever asks from another thread may see a request in one figure and not yet
in the next.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.session import Dispatcher, ServerSession

if TYPE_CHECKING:
    from sansio_pingora.machine import Lane

__all__ = ["BUCKETS", "PHASES", "Family", "LaneMeter", "Metrics", "Sample", "ServiceMetrics"]

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the duration histogram, seconds."""
PHASES = ("filters", "connect", "request", "wait", "response")
"""The stretches of an exchange through a proxy: until its last upstream was chosen, connected, asked, answered."""

_INSTANTS = ("chosen_at", "connected_at", "sent_at", "responded_at")
_VERSIONS = {b"1.0": "1.0", b"1.1": "1.1", b"2": "2", b"": "other"}
_CLASSES = {"none": 0, "1xx": 100, "2xx": 200, "3xx": 300, "4xx": 400, "5xx": 500}
_LEAST = BUCKETS[0]

Sample = tuple[str, tuple[tuple[str, str], ...], float]
"""Suffix of the name, labels, value."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples; ``kind`` is ``counter``, ``gauge``, ``histogram``, ``summary`` or ``info``."""

    name: str
    """Without the suffix ``_total`` or ``_info``."""
    kind: str
    text: str
    samples: list[Sample]


class LaneMeter:
    """The counters of one service on one lane."""

    __slots__ = (
        "accepted",
        "attempts",
        "buckets",
        "connector",
        "faults",
        "lane",
        "phase_counts",
        "phase_sums",
        "received",
        "refusals",
        "requests",
        "retries",
        "seconds",
        "sent",
    )

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.accepted = 0
        self.requests: dict[bytes, list[int]] = {version: [0] * 1_000 for version in (b"1.0", b"1.1", b"2", b"")}
        """By version, then by status; 0 where there was none."""
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.received = 0
        self.sent = 0
        self.refusals: dict[int, int] = {}
        self.faults: dict[tuple[str, str], int] = {}
        self.attempts = 0
        self.retries = 0
        self.phase_sums = [0.0] * len(PHASES)
        self.phase_counts = [0] * len(PHASES)
        self.connector: Any = None
        """Of a proxy: its state is looked at when somebody asks."""

    def finished(self, session: ServerSession) -> None:
        """See :class:`sansio_pingora.session.Meter`."""
        head = session.response_written
        request = session.req_header
        counts = self.requests.get(b"" if request is None else request.version) or self.requests[b""]
        counts[0 if head is None else head.status] += 1
        seconds = session.now - session.began
        self.seconds += seconds
        self.buckets[0 if seconds <= _LEAST else bisect_left(BUCKETS, seconds)] += 1
        if session.body_bytes_read:
            self.received += session.body_bytes_read
        self.sent += session.body_bytes_sent

    def refused(self, session: ServerSession, error: Error) -> None:
        """See :class:`sansio_pingora.session.Meter`."""
        status = error.status or 0
        self.refusals[status] = self.refusals.get(status, 0) + 1

    def broke(self, scope: str, error: Error) -> None:
        """See :class:`sansio_pingora.session.Meter`."""
        fault = scope, error.name if error.etype is ErrorType.INVALID_H2 and error.name else error.etype.value
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def proxied(self, exchange: Any, now: float) -> None:
        """An exchange through a proxy is over."""
        attempts = exchange.attempts
        self.attempts += attempts
        if attempts > 1:
            self.retries += attempts - 1
        since = exchange.received_at
        sums, counts = self.phase_sums, self.phase_counts
        at = 0
        for name in _INSTANTS:
            until = getattr(exchange, name, None)
            if until is None:
                return  # it failed in this stretch
            if until >= since:
                sums[at] += until - since
                counts[at] += 1
                since = until
            at += 1
        sums[at] += now - since
        counts[at] += 1


class ServiceMetrics:
    """What one service counts: an option of ``serve()``, made by :meth:`Metrics.service`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.meters: list[LaneMeter] = []

    def open(self, lane: Lane) -> LaneMeter:
        """The meter of one more lane."""
        meter = LaneMeter(lane)
        self.meters.append(meter)
        return meter


class Metrics:
    """All that is counted in a process, by service."""

    def __init__(self) -> None:
        self._services: dict[str, ServiceMetrics] = {}
        self._collectors: list[Callable[[], Iterable[Family]]] = []

    def service(self, name: str) -> ServiceMetrics:
        """What the service *name* counts: give it to ``serve(app, metrics=...)``. The same for the same name."""
        found = self._services.get(name)
        if found is None:
            found = self._services[name] = ServiceMetrics(name)
        return found

    def register(self, collector: Callable[[], Iterable[Family]]) -> None:
        """Have *collector* asked for metrics of one's own; it may be called from any thread, and must not block."""
        self._collectors.append(collector)

    def collect(self) -> list[Family]:
        """Every metric, as it is now."""
        services = list(self._services.values())
        found = [_build_info(), *(make(services) for make in _FAMILIES)]
        for collector in self._collectors:
            found.extend(collector())
        return found


def _build_info() -> Family:
    root = sys.modules[__name__.partition(".")[0]]  # it is loaded already, and stands above this package
    labels = (("version", str(root.__version__)), ("python", "{}.{}".format(*sys.version_info[:2])))
    sample: Sample = ("_info", labels, 1)
    return Family("sansio_pingora_build", "info", "The version that runs.", [sample])


def _sum(kind: str, name: str, text: str, value: Callable[[LaneMeter], float]) -> Callable[..., Family]:
    suffix = "_total" if kind == "counter" else ""

    def make(services: list[ServiceMetrics]) -> Family:
        samples: list[Sample] = [(suffix, (("service", each.name),), sum(map(value, each.meters))) for each in services]
        return Family(f"sansio_pingora_{name}", kind, text, samples)

    return make


def _requests(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        for version, name in _VERSIONS.items():
            rows = [meter.requests[version] for meter in service.meters]
            for status, first in _CLASSES.items():
                count = sum(sum(row[first : first + (100 if first else 1)]) for row in rows)
                if count:
                    labels = (("service", service.name), ("status", status), ("version", name))
                    samples.append(("_total", labels, count))
    text = "Requests that are over, by class of status (none: the client left first) and version of HTTP."
    return Family("sansio_pingora_http_requests", "counter", text, samples)


def _refused(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        counted: dict[int, int] = {}
        for meter in service.meters:
            for status, count in list(meter.refusals.items()):
                counted[status] = counted.get(status, 0) + count
        for status, count in sorted(counted.items()):
            samples.append(("_total", (("service", service.name), ("status", str(status))), count))
    text = "Requests whose head broke a rule or a limit, by the status that they were answered with."
    return Family("sansio_pingora_http_requests_refused", "counter", text, samples)


def _faults(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        counted: dict[tuple[str, str], int] = {}
        for meter in service.meters:
            for fault, count in list(meter.faults.items()):
                counted[fault] = counted.get(fault, 0) + count
        for (scope, name), count in sorted(counted.items()):
            samples.append(("_total", (("service", service.name), ("scope", scope), ("fault", name)), count))
    text = "What ended requests and connections of clients before their time: time-outs, floods, breaches, departures."
    return Family("sansio_pingora_client_faults", "counter", text, samples)


def _durations(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        label = ("service", service.name)
        counts = [sum(values) for values in zip(*(meter.buckets for meter in service.meters), strict=True)]
        ends = [*(f"{end:g}" if end % 1 else f"{end:.1f}" for end in BUCKETS), "+Inf"]
        total = 0
        for end, total in zip(ends, accumulate(counts or [0] * len(ends)), strict=True):  # the last one
            samples.append(("_bucket", (label, ("le", end)), total))
        samples.append(("_count", (label,), total))
        samples.append(("_sum", (label,), sum(meter.seconds for meter in service.meters)))
    text = "From a request's head to the end of its exchange."
    return Family("sansio_pingora_http_request_duration_seconds", "histogram", text, samples)


def _phases(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        meters = [meter for meter in service.meters if meter.connector is not None]
        for at, phase in enumerate(PHASES):
            count = sum(meter.phase_counts[at] for meter in meters)
            if count:
                labels = (("service", service.name), ("phase", phase))
                samples.append(("_count", labels, count))
                samples.append(("_sum", labels, sum(meter.phase_sums[at] for meter in meters)))
    text = "Stretches of exchanges through a proxy: filters, connect, request, wait for the answer, response."
    return Family("sansio_pingora_proxy_phase_seconds", "summary", text, samples)


def _pool(services: list[ServiceMetrics]) -> Family:
    samples: list[Sample] = []
    for service in services:
        connectors = [meter.connector for meter in service.meters if meter.connector is not None]
        if connectors:
            for state in ("idle", "dialling", "waiting"):
                labels = (("service", service.name), ("state", state))
                samples.append(("", labels, sum(getattr(connector, state) for connector in connectors)))
    text = "Upstream connections that are idle or being made, and exchanges that wait for one."
    return Family("sansio_pingora_upstream_pool", "gauge", text, samples)


def _dispatchers(meter: LaneMeter) -> list[Dispatcher]:
    # A copy is one step: the lane's own thread goes on meanwhile.
    receivers = (endpoint.receiver for endpoint in list(meter.lane.endpoints))
    return [receiver for receiver in receivers if isinstance(receiver, Dispatcher)]


_FAMILIES: tuple[Callable[[list[ServiceMetrics]], Family], ...] = (
    _sum("counter", "connections_accepted", "Connections of clients.", lambda meter: meter.accepted),
    _sum("gauge", "connections_open", "Connections of clients that are open.", lambda meter: len(_dispatchers(meter))),
    _requests,
    _sum(
        "gauge",
        "http_requests_in_flight",
        "Requests that are under way.",
        lambda meter: sum(dispatcher.under_way for dispatcher in _dispatchers(meter)),
    ),
    _refused,
    _faults,
    _durations,
    _sum("counter", "http_request_body_bytes", "Body bytes from clients.", lambda meter: meter.received),
    _sum("counter", "http_response_body_bytes", "Body bytes to clients.", lambda meter: meter.sent),
    _phases,
    _sum("counter", "upstream_attempts", "Upstreams chosen by proxies.", lambda meter: meter.attempts),
    _sum("counter", "upstream_retries", "Attempts beyond the first of a request.", lambda meter: meter.retries),
    _pool,
)
