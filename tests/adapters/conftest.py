"""The one suite runs on every runtime."""

from __future__ import annotations

import importlib.util

import pytest

from tests.adapters.harness import RUNTIMES

_NEEDS = {"asyncio": "anyio", "uvloop": "uvloop", "gevent": "gevent"}


@pytest.fixture(params=list(RUNTIMES))
def runtime(request):
    """The name of a runtime that is installed."""
    needed = _NEEDS.get(request.param)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return request.param
