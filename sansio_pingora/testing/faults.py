"""Every fault that can happen in a simulated world, by name; each that happens is counted.

Some are decided by chance, and so in any world (:data:`BY_CHANCE`); some follow from the links or from what a scripted
party does (:data:`COUNTED`); the others are those of the worlds that ``simulate`` builds. A fault that no run ever
fired proves nothing, so a report names the missing ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from sansio_pingora.testing.prng import Random

__all__ = [
    "ALL_FAULTS",
    "BY_CHANCE",
    "COUNTED",
    "LINK_FAULTS",
    "NETWORK_FAULTS",
    "PARTS",
    "SIMULATED_FAULTS",
    "Faults",
    "at_part",
    "check_chances",
    "missing",
]

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

NETWORK_FAULTS = (
    "connect refused",
    "connect black-holed",
    "connect late",
    "connect no route",
    "connect no name",
    "accept no descriptor",
    "accept delayed",
    "accept aborted",
)
"""Those of connecting and accepting."""
_SIDES = ("client", "origin")
_ACTIONS = ("split", "reset", "half-close")
_NAMED = (
    # network
    *NETWORK_FAULTS,
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


SIMULATED_FAULTS: tuple[str, ...] = (
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
"""Those that happen in the worlds of ``simulate``."""

LINK_FAULTS = ("link stall", "link half-close", "link reset")
"""Those of a link that was made, by chance or by a :class:`.planned.Fault`. In ``simulate`` parties do as much."""

ALL_FAULTS: tuple[str, ...] = (*SIMULATED_FAULTS, *LINK_FAULTS)
"""Every fault that there is."""

BY_CHANCE: dict[str, tuple[str, ...]] = {
    "every world": (
        *NETWORK_FAULTS,
        *LINK_FAULTS,
        "clock jump",
    ),
    "one with an application of ours, which has timers": ("timer early", "timer late"),
    "the same, on links with jitter": ("before a timer", "at a timer", "past a timer"),
    "one whose application has callbacks that wait": (
        "filter late",
        "filter out of order",
        "filter error",
        "filter cancelled",
        "filter never",
        "filter raises",
    ),
    "those of `simulate` alone; a `FilterScript` does as much elsewhere": tuple(
        f"exception in {hook}" for hook in _HOOKS
    ),
}
"""What the chances of a :class:`.world.Weather` may name, by the worlds in which it can happen."""

_OF_SCRIPTS = tuple(  # they know no chunks: what lies behind a head is all body
    (action, part)
    for action in _ACTIONS
    for part in ("idle", "start-line", "fields", "crlf", "head-end", "body")
    if (action, part) != ("split", "idle")
)

COUNTED: dict[str, tuple[str, ...]] = {
    "`LinkProfile`": ("reordered", "short read", "short write"),
    "`ClientScript`": (
        *(at_part(action, "client", part) for action, part in _OF_SCRIPTS),
        "client stalls",
        "client gives up",
        "slow reader",
    ),
    "`OriginScript`": (
        *(at_part(action, "origin", part) for action, part in _OF_SCRIPTS),
        "origin stalls",
        "origin answers early",
        "origin closes idle",
        "origin unsolicited bytes",
    ),
}
"""What is counted where a link or a party is like that, by what makes it so."""

_KNOWN = frozenset(ALL_FAULTS)
_CHANCES = frozenset(name for names in BY_CHANCE.values() for name in names)


def check_chances(chances: Mapping[str, float]) -> None:
    """*chances* are probabilities of faults that happen by chance.

    :raises ValueError: they are not.
    """
    for name, chance in chances.items():
        if name not in _KNOWN:
            near = get_close_matches(name, _CHANCES, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"{name!r} is no fault{hint}: testing.faults.BY_CHANCE has those that have a chance")
        if name not in _CHANCES:
            raise ValueError(
                f"{name!r} does not happen by chance, but by what a party or a link does: a ClientScript, an "
                f"OriginScript, a LinkProfile, or a Fault in the plan"
            )
        if not 0 <= chance <= 1:
            raise ValueError(f"the chance of {name!r} is {chance!r}: it is a probability, from 0 to 1")


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

    def planned(self, name: str) -> Random | None:
        """What to plan *name* with where it is to happen later, if ever; it is counted then."""
        chance = self._chances.get(name, 0.0)
        return self._rng if chance and self._rng.chance(chance) else None

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


def missing(counts: Counter[str], expected: Iterable[str] = SIMULATED_FAULTS) -> list[str]:
    """The faults of *expected* that never fired."""
    return [name for name in expected if not counts[name]]
