"""Remote parties for a simulated network, and the network that they meet on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from sansio_pingora.testing.link import LinkProfile
from sansio_pingora.testing.parties import STOPS, Answers, Asks, ClientScript, OriginScript
from sansio_pingora.testing.planned import FAULT_KINDS, Fault
from sansio_pingora.testing.strategies.http1 import almost_valid_requests, http1_requests, http1_responses
from sansio_pingora.testing.weather import Weather

__all__ = ["CLIENT_MANNERS", "ORIGIN_MANNERS", "clients", "fault_plans", "link_profiles", "origins", "weathers"]

CLIENT_MANNERS = ("polite", "pipelining", "slow", "dripping", "stopping", "leaving", "hostile")
"""How a client can be: it reads slowly, drips what it sends, stops amid it, leaves early, or says what is not legal."""
ORIGIN_MANNERS = ("polite", "slow", "dripping", "early", "stopping", "silent", "talkative", "garbage")
"""How an origin can be: it takes its time, drips, answers before it has the body, stops amid an answer, never answers,
says more than it was asked, or says what is no HTTP."""

_GARBAGE = (
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
)


def _seconds(most: float) -> st.SearchStrategy[float]:
    """Few of them, and round: they are read by people."""
    return st.integers(1, round(most * 10)).map(lambda tenths: tenths / 10)


def _pauses(size: int) -> st.SearchStrategy[tuple[tuple[int, float], ...]]:
    return st.lists(st.tuples(st.integers(0, size), _seconds(4.0)), min_size=1, max_size=4).map(tuple)


def _known(manners: Sequence[str], every: Sequence[str]) -> Sequence[str]:
    unknown = [manner for manner in manners if manner not in every]
    if unknown or not manners:
        raise ValueError(f"manners {unknown!r}: they are one or more of {', '.join(every)}")
    return manners


@st.composite
def clients(
    draw: st.DrawFn,
    requests: st.SearchStrategy[bytes] | None = None,
    *,
    manners: Sequence[str] = CLIENT_MANNERS,
    most: int = 3,
) -> ClientScript:
    """A client that asks up to *most* of *requests*, by default any legal ones, in one of *manners*.

    :raises ValueError: a manner is none of :data:`CLIENT_MANNERS`.
    """
    manner = draw(st.sampled_from(_known(manners, CLIENT_MANNERS)))
    legal = http1_requests(keep_alive=True) if requests is None else requests
    raws = draw(st.lists(legal, min_size=1, max_size=most))
    asks = [Asks(raw) for raw in raws]
    which = draw(st.integers(0, len(raws) - 1))
    size = len(raws[which])
    if manner == "dripping":
        asks[which] = Asks(raws[which], draw(_pauses(size)))
    elif manner == "stopping":
        asks[which] = Asks(raws[which], stop=(draw(st.integers(0, size)), draw(st.sampled_from(STOPS))))
    elif manner == "hostile":
        asks[which] = Asks(draw(almost_valid_requests()))
    return ClientScript(
        tuple(asks),
        pipelined=manner == "pipelining",
        slow_read=draw(_seconds(1.5)) if manner == "slow" else 0.0,
        gives_up=draw(_seconds(6.0)) if manner == "leaving" else math.inf,
    )


def _until_close(raw: bytes) -> bool:
    """Whether the end of the last of these responses is the end of the connection."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 1"):
        return _until_close(rest)
    if head[9:12] in (b"204", b"304"):
        return False
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")]
    return b"content-length" not in names and b"transfer-encoding" not in names


def _answer(draw: st.DrawFn, raw: bytes, manner: str) -> Answers:
    size = len(raw)
    if manner == "garbage":
        return Answers(draw(st.sampled_from(_GARBAGE)), closes=True)
    if manner == "silent":
        return Answers(b"", silent=True)
    return Answers(
        raw,
        pauses=draw(_pauses(size)) if manner == "dripping" else (),
        stop=(draw(st.integers(0, size)), draw(st.sampled_from(STOPS))) if manner == "stopping" else None,
        delay=draw(_seconds(10.0)) if manner == "slow" else 0.0,
        early=manner == "early",
        closes=_until_close(raw),
        later=(draw(_seconds(1.0)), draw(st.sampled_from([b"", b"junk", raw]))) if manner == "talkative" else None,
    )


@st.composite
def origins(
    draw: st.DrawFn,
    responses: st.SearchStrategy[bytes] | None = None,
    *,
    manners: Sequence[str] = ORIGIN_MANNERS,
    most: int = 3,
) -> OriginScript:
    """An origin with up to *most* answers in turn, of *responses*, by default any legal ones; one in one of *manners*.

    :raises ValueError: a manner is none of :data:`ORIGIN_MANNERS`.
    """
    manner = draw(st.sampled_from(_known(manners, ORIGIN_MANNERS)))
    legal = http1_responses() if responses is None else responses
    raws = draw(st.lists(legal, min_size=1, max_size=most))
    which = draw(st.integers(0, len(raws) - 1))
    return OriginScript(tuple(_answer(draw, raw, manner if at == which else "polite") for at, raw in enumerate(raws)))


def link_profiles() -> st.SearchStrategy[LinkProfile]:
    """Links: quick ones, far and narrow ones, small buffers, bytes in small pieces."""

    @st.composite
    def profile(draw: st.DrawFn) -> LinkProfile:
        high = draw(st.sampled_from([65_536, 4_096, 0]))
        return LinkProfile(
            latency=draw(st.sampled_from([0.001, 0.0, 0.01, 0.2])),
            jitter=draw(st.sampled_from([0.0, 0.001, 0.02])),
            bandwidth=draw(st.sampled_from([1e9, 1e7, 200_000.0])),
            segment=draw(st.sampled_from([65_536, 1_460, 536, 7])),
            cuts=draw(st.sampled_from([0, 5, 40])),
            read_size=draw(st.sampled_from([65_536, 1_000])),
            send_buffer=draw(st.sampled_from([65_536, 2_000, 1])),
            receive_buffer=draw(st.sampled_from([65_536, 4_096, 500])),
            high=high,
            low=high // 4,
        )

    return profile()


@st.composite
def fault_plans(draw: st.DrawFn, *, connects: int = 3, most: int = 3) -> tuple[Fault, ...]:
    """Up to *most* faults among the first *connects* connects of a world: when, where and what."""

    def fault() -> Fault:
        what = draw(st.sampled_from(FAULT_KINDS))
        connect = draw(st.integers(1, connects))
        if what == "refuse":
            return Fault(what, connect)
        if what == "late":
            return Fault(what, connect, seconds=draw(_seconds(20.0)))
        return Fault(
            what,
            connect,
            draw(st.sampled_from(["client", "server"])),
            draw(st.integers(0, 300) | st.integers(0, 70_000)),
            draw(st.just(0.0) | _seconds(5.0)),
            draw(_seconds(20.0) | st.just(math.inf)) if what == "stall" else math.inf,
        )

    return tuple(fault() for _ in range(draw(st.integers(0, most))))


def weathers(*, connects: int = 3, most: int = 3) -> st.SearchStrategy[Weather]:
    """A network: one or two kinds of links, and a plan of faults as of :func:`fault_plans`."""
    profiles = st.lists(link_profiles(), min_size=1, max_size=2).map(tuple)
    return st.builds(Weather, profiles, plan=fault_plans(connects=connects, most=most))
