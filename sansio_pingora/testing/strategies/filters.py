"""What the filters of a proxy may do."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from sansio_pingora.testing.filter_scripts import (
    FILTER_ACTS,
    Act,
    Awaits,
    Blocks,
    FilterScript,
    Inserts,
    Raises,
    Replaces,
    Responds,
    Retries,
    Sleeps,
)
from sansio_pingora.testing.strategies.http1 import field_values

__all__ = ["filter_scripts"]

_DELAYS = st.sampled_from([0.0, 0.1, 1.0, 30.0])
_SHORT = st.sampled_from([0.0, 0.1, 1.0])  # seconds: none of them runs into a default limit
_ACTS: dict[type[Act], st.SearchStrategy[Act]] = {
    Sleeps: _DELAYS.map(Sleeps),
    Awaits: _DELAYS.map(Awaits),
    Blocks: st.just(Blocks()),
    Raises: st.builds(Raises, st.none() | st.sampled_from([403, 503])),
    Inserts: st.builds(Inserts, st.sampled_from([b"x-inserted", b"server", b"cache-control"]), field_values()),
    Replaces: st.sampled_from([b"", b"x", b"replaced", b"y" * 70_000]).map(Replaces),
    Responds: st.sampled_from([403, 204, 500]).map(Responds),
    Retries: st.just(Retries()),
}
_HARMLESS: dict[type[Act], st.SearchStrategy[Act]] = {
    Sleeps: _SHORT.map(Sleeps),
    Awaits: _SHORT.map(Awaits),
    **{kind: _ACTS[kind] for kind in (Blocks, Inserts, Replaces)},
}


@st.composite
def filter_scripts(
    draw: st.DrawFn, phases: Iterable[str] = tuple(FILTER_ACTS), *, harmless: bool = False
) -> FilterScript:
    """What some of *phases* do. *harmless*: they are late by a second at most, and alter heads and bodies.

    With default limits, and parties that are not late themselves, harmless ones leave each answer its status.

    :raises ValueError: there is no such phase.
    """
    acts: dict[str, Act] = {}
    names = list(phases)
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    for phase in sorted(chosen, key=names.index):
        can = FILTER_ACTS.get(phase, ())
        acting = _HARMLESS if harmless else _ACTS
        options = [acting[kind] for kind in can if kind in acting]
        if not harmless and Sleeps in can:
            options.append(st.just(Sleeps()))
        if options:
            acts[phase] = draw(st.one_of(options))
        elif phase not in FILTER_ACTS:
            raise ValueError(f"{phase!r} is no phase that follows a script: {', '.join(FILTER_ACTS)}")
    return FilterScript(**acts)
