"""Both engines run the behaviour suite; what the reference engine does otherwise is in the table of differences."""

from __future__ import annotations

import pytest

from tests.http1.differences import DIFFERENCES
from tests.http1.runs import ENGINES


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ENGINES)


def pytest_collection_modifyitems(items):
    """A listed difference must exist: one that has gone fails the run until its row is taken out."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("engine") != "hyper":
            continue
        name = item.name.replace("hyper-", "").replace("-hyper", "").replace("[hyper]", "")
        if (reason := DIFFERENCES.get(name)) is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
