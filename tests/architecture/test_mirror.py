"""The tests mirror the packages: for each there is a place to look."""

from __future__ import annotations

import pytest

from tests.architecture.tree import CORE, ROOT

TESTS = ROOT / "tests"
PACKAGES = sorted(path.name for path in CORE.iterdir() if path.is_dir() and any(path.glob("*.py")))
TOP_LEVEL = sorted(path.stem.lstrip("_") for path in CORE.glob("*.py") if path.stem not in {"__init__", "__main__"})


@pytest.mark.parametrize("name", PACKAGES)
def test_package_has_tests(name):
    assert list((TESTS / name).rglob("test_*.py")), f"tests/{name}/ has no test"


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_module_has_tests(name):
    assert (TESTS / f"test_{name}.py").exists() or list((TESTS / name).glob("test_*.py"))
