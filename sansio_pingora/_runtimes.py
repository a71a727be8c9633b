"""Which runtimes there are, and how one is found by its name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

__all__ = ["load_runtime", "runtime_names", "runtimes"]

_GROUP = "sansio_pingora.runtimes"
# Ours, for a source tree on the path, which has no entry points; and what each needs beside this distribution.
_OWN = {"asyncio": "sansio_pingora_asyncio", "gevent": "sansio_pingora_gevent", "threads": "sansio_pingora_threads"}
_NEEDS = {"asyncio": "anyio", "gevent": "gevent"}


def runtimes() -> list[str]:
    """The names of the runtimes that are installed, ours first."""
    return [name for name in runtime_names() if name not in _NEEDS or find_spec(_NEEDS[name]) is not None]


def runtime_names() -> list[str]:
    """The names of the runtimes that are known, installed or not, ours first."""
    return [*_OWN, *sorted({point.name for point in entry_points(group=_GROUP)} - _OWN.keys())]


def load_runtime(runtime: str) -> Any:
    """The module of *runtime*.

    :raises ValueError: there is no such runtime.
    :raises ImportError: it cannot be loaded; the text says what to install.
    """
    found = entry_points(group=_GROUP, name=runtime)
    if not found and runtime not in _OWN:
        names = runtimes()
        close = get_close_matches(runtime, names, n=1)
        raise ValueError(
            f"unknown runtime {runtime!r}" + (f" (did you mean {close[0]!r}?)" if close else f": {', '.join(names)}")
        )
    try:
        return next(iter(found)).load() if found else import_module(_OWN[runtime])
    except ModuleNotFoundError as exc:
        if runtime not in _OWN or exc.name is None or exc.name.partition(".")[0] not in _NEEDS.values():
            raise
        raise ImportError(
            f"runtime {runtime!r} needs {exc.name}: pip install 'sansio-pingora[{runtime}]'", name=exc.name
        ) from exc
