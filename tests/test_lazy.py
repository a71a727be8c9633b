"""Names that are loaded when they are first used."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from sansio_pingora.lazy import lazy_names


def test_a_name_is_loaded_once(monkeypatch):
    package, home = ModuleType("pack"), ModuleType("pack.home")
    home.answer = 42
    monkeypatch.setitem(sys.modules, "pack", package)
    monkeypatch.setitem(sys.modules, "pack.home", home)
    load = lazy_names("pack", {"home": ("answer",)})

    assert load("answer") == 42
    assert package.answer == 42
    with pytest.raises(AttributeError, match="module 'pack' has no attribute 'anwser'"):
        load("anwser")
