"""The suite under ``python -O`` is worth its time only if failing tests fail there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from tests.architecture.tree import CORE, parsed

FAILING = """
import shared

def test_optimised():
    assert not __debug__

def test_wrong():
    assert shared.one() == 2

def test_helper():
    shared.check()
"""
SHARED = """
def one():
    return 1

def check():
    assert one() == 2
"""
CONFTEST = """
import pytest

pytest.register_assert_rewrite("shared")
"""


def test_asserts_of_tests_bite_without_debug(tmp_path):
    (tmp_path / "test_failing.py").write_text(FAILING)
    (tmp_path / "shared.py").write_text(SHARED)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONOPTIMIZE": "1"},
    )

    assert run.returncode == 1, run.stdout + run.stderr
    assert "2 failed, 1 passed" in run.stdout, run.stdout


@pytest.mark.parametrize("path", sorted((CORE / "testing").rglob("*oracles*.py")), ids=lambda path: path.stem)
def test_no_oracle_rests_on_assert(path):
    """An oracle that vanishes with ``-O`` is none: it raises AssertionError itself."""
    lines = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.Assert)]

    assert lines == []
