"""Every test of the adapter runs on both loops, and on asyncio's in its debug mode."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "asyncio-debug", "uvloop"])
def uv(request, monkeypatch):
    """The ``uvloop`` option of the run."""
    if request.param == "asyncio-debug":
        monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param == "uvloop"
