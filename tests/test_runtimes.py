"""Which runtimes there are: ours, and those that others have installed."""

from __future__ import annotations

import importlib.metadata

import pytest

from sansio_pingora._runtimes import load_runtime, runtime_names, runtimes


def test_which_runtimes_there_are(monkeypatch):
    assert runtimes() == ["asyncio", "gevent", "threads"]
    other = importlib.metadata.EntryPoint("other", "nowhere", "sansio_pingora.runtimes")
    monkeypatch.setattr(
        "sansio_pingora._runtimes.entry_points",
        lambda group, name="other": importlib.metadata.EntryPoints([other] if name == "other" else []),
    )
    monkeypatch.setattr("sansio_pingora._runtimes.find_spec", lambda name: None)
    assert runtime_names() == ["asyncio", "gevent", "threads", "other"]
    assert runtimes() == ["threads", "other"]
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        load_runtime("other")
