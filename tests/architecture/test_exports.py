"""Each public name has one home; the package root alone gives some of them a second one, lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.architecture.tree import CORE, CORE_MODULES, ROOT, exported

HOMES = [module for module in CORE_MODULES if module.public and module.name != "sansio_pingora"]
PACKAGES = [module for module in HOMES if module.is_package]
TOP_LEVEL = [module for module in HOMES if not module.is_package and module.name.count(".") == 1]


def test_no_name_has_two_homes():
    homes = defaultdict(list)
    for module in PACKAGES + TOP_LEVEL:
        for name in exported(module):
            homes[name].append(module.name)

    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_exports_only_what_it_has(package):
    bound = set()
    for node in ast.walk(package.tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            bound.add(node.target.id)

    assert set(exported(package)) <= bound


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_exports_nothing_of_another(package):
    """What a package takes from elsewhere it uses; it does not pass it on under its own name."""
    names = set(exported(package))
    foreign = [
        f"{alias.name} of {node.module}"
        for node in package.tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) in names and not (node.module or "").startswith(package.name + ".")
    ]

    assert foreign == []


def test_the_root_imports_nothing_of_its_own_until_asked():
    root = next((module for module in CORE_MODULES if module.name == "sansio_pingora"), None)
    assert root is not None, f"{CORE} has no __init__.py"
    eager = [
        ast.unparse(node)
        for node in root.tree.body
        if isinstance(node, ast.ImportFrom | ast.Import) and "sansio_pingora" in ast.unparse(node)
    ]

    assert eager == []


HEAVY = ("anyio", "asyncio", "gevent", "hypothesis", "logging", "selectors", "ssl", "threading", "uvloop", "yaml")


def test_importing_the_root_is_light():
    program = (
        f"import sys; old = set(sys.modules); import sansio_pingora; print(*(set(sys.modules) - old) & {set(HEAVY)!r})"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert run.stdout.split() == []


def test_every_name_of_the_root_can_be_had():
    import sansio_pingora

    missing = [name for name in sansio_pingora.__all__ if not hasattr(sansio_pingora, name)]

    assert missing == []
    assert set(sansio_pingora.__all__) <= set(dir(sansio_pingora))
