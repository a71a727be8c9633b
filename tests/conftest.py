"""Profiles for hypothesis, and asserts that bite with ``-O`` too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The plugin that we ship; an installation loads it by itself.
pytest_plugins = ["sansio_pingora.testing.pytest_plugin"]

# pytest rewrites the asserts of test modules by itself; what they share needs this.
pytest.register_assert_rewrite(*(f"tests.{path.name}" for path in Path(__file__).parent.iterdir() if path.is_dir()))

# No deadline per example anywhere: a busy machine is not a bug.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=1_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
