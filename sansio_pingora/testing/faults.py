"""Every fault that the simulator can inject, by name; each injection is counted.

A fault that no run ever fired proves nothing, so a report names the missing ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sansio_pingora.testing.prng import Random

__all__ = ["ALL_FAULTS", "PARTS", "Faults", "at_part", "missing"]

PARTS = (
    "idle",  # before the first byte of a message
    "start-line",
    "fields",
    "crlf",  # between CR and LF, anywhere
    "head-end",  # before the last CRLF of a head
    "body",
    "chunk-line",
    "chunk-data",
    "chunk-end",
    "trailers",
)
"""Where in a message something can happen: the classes of bytes, and so the states of a parser."""

_SIDES = ("client", "origin")
_ACTIONS = ("split", "reset", "half-close")
_NAMED = (
    # network
    "connect refused",
    "connect black-holed",
    "connect late",
    "connect no route",
    "connect no name",
    "accept no descriptor",
    "accept delayed",
    "accept aborted",
    "reordered",
    "clock jump",
    "timer early",
    "timer late",
    "before a timer",
    "at a timer",
    "past a timer",
    "short write",
    "short read",
    "slow reader",
    # clients
    "client pipelines",
    "client hostile",
    "client drips",
    "client stalls",
    "client gives up",
    "body limit hit",
    "body over the limit",
    # clients of HTTP/2
    "h2 client resets a stream",
    "h2 client gives credit late",
    "h2 client changes its window",
    "h2 client gives no window",
    "h2 client vanishes",
    # origins of HTTP/2
    "h2 origin resets a stream",
    "h2 origin answers early",
    "h2 origin changes its settings",
    "h2 origin gives credit late",
    "h2 origin gives no window",
    "h2 origin GOAWAY in two steps",
    "h2 origin GOAWAY refuses a stream",
    # conversations behind a handshake
    "ws client pings",
    "ws client fragments",
    "ws client closes",
    "ws client half-closes",
    "ws client breaks the rules",
    "ws server closes",
    "ws server raises",
    "ws link cut",
    "tunnel half-close",
    "tunnel cut",
    # TLS
    *(
        f"tls {side} {fault}"
        for side in ("client", "origin")
        for fault in (
            "stalls",
            "sends garbage",
            "speaks plain text",
            "leaves amid the handshake",
            "ends without close_notify",
            "record is damaged",
        )
    ),
    "tls client ALPN disagreement",
    "tls origin agrees on nothing",
    "tls origin shows a wrong name",
    "tls origin shows an unknown authority",
    # origins
    "origin extra bytes",
    "origin unsolicited bytes",
    "origin 1xx burst",
    "origin truncates",
    "origin lies",
    "origin stalls",
    "origin answers early",
    "origin closes idle",
    "origin switches unasked",
    # the application
    "filter late",
    "filter out of order",
    "filter error",
    "filter raises",
    "filter cancelled",
    "filter never",
    "filter stale",
    "pool full",
    "drain",
    "hand-over",
    "drain amid a hand-over",
    # the life of a server
    "signal SIGTERM",
    "signal SIGINT",
    "signal SIGQUIT",
    "signal SIGTERM amid a hand-over",
    "signal SIGINT amid a hand-over",
    "service fails to start",
    "server killed",
    "hand-over goes well",
    "hand-over dies",
    "hand-over never acknowledged",
    "hand-over is up late",
    "hand-over is told to end",
    "hand-over twice",
    "hand-over fails",
    "hand-over withdrawn",
    "hand-over withdrawn before it was up",
    "hand-over acknowledged too late",
)

_HOOKS = (
    "early_request_filter",
    "request_filter",
    "proxy_upstream_filter",
    "request_body_filter",
    "upstream_peer",
    "connected_to_upstream",
    "fail_to_connect",
    "upstream_request_filter",
    "upstream_response_filter",
    "upstream_response_body_filter",
    "upstream_response_trailer_filter",
    "response_filter",
    "response_body_filter",
    "response_trailer_filter",
    "error_while_proxy",
    "fail_to_proxy",
    "logging",
)


def at_part(action: str, side: str, part: str) -> str:
    """The name of the fault *action* (split, reset, half-close) of *side* in *part* of a message."""
    return f"{side} {action} in {part}"


ALL_FAULTS: tuple[str, ...] = (
    *_NAMED,
    *(
        at_part(action, side, part)
        for action in _ACTIONS
        for side in _SIDES
        for part in PARTS
        if (action, part) != ("split", "idle")
    ),
    *(f"exception in {hook}" for hook in _HOOKS),
    *(f"h2 origin GOAWAY at {state}" for state in ("start", "head", "body", "answer", "idle")),
    *(f"h2 origin resets in {state}" for state in ("head", "body", "answer", "end")),
)
"""Every fault that there is."""

_KNOWN = frozenset(ALL_FAULTS)


class Faults:
    """Decides whether a fault fires, and counts those that did."""

    __slots__ = ("_chances", "_rng", "counts")

    def __init__(self, rng: Random, chances: dict[str, float] | None = None) -> None:
        self._rng = rng
        self._chances = chances or {}
        self.counts: Counter[str] = Counter()

    def fires(self, name: str) -> bool:
        """Whether *name* happens now; without a chance of its own it never does."""
        chance = self._chances.get(name, 0.0)
        if chance and self._rng.chance(chance):
            self.counts[name] += 1
            return True
        return False

    def first_of(self, names: Iterable[str]) -> str:
        """The first of *names* that happens now; empty when none of them does."""
        for name in names:
            chance = self._chances.get(name, 0.0)
            if chance and self._rng.chance(chance):
                self.counts[name] += 1
                return name
        return ""

    def enabled(self, name: str) -> bool:
        """Whether *name* can happen at all."""
        return name in self._chances

    def count(self, name: str) -> None:
        """*name* was injected by somebody else's decision."""
        assert name in _KNOWN, name
        self.counts[name] += 1


def missing(counts: Counter[str], expected: Iterable[str] = ALL_FAULTS) -> list[str]:
    """The faults of *expected* that never fired."""
    return [name for name in expected if not counts[name]]
