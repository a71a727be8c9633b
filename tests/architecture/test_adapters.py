"""Adapters are third parties: what they use of the core is public."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.tree import ADAPTER_MODULES, ADAPTER_PACKAGES, ADAPTERS, CORE_MODULES, Module

RUNTIMES = [path for path in ADAPTER_PACKAGES if path.parent.name != "posix"]
FACE = {"connect", "run", "serve"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sansio_pingora"):
            own_path = node.module.split(".")
            found += [
                f"{node.module}.{alias.name}" for alias in node.names if any(map(is_private, [*own_path, alias.name]))
            ]
        elif isinstance(node, ast.Import):
            found += [
                alias.name
                for alias in node.names
                if alias.name.startswith("sansio_pingora") and any(map(is_private, alias.name.split(".")))
            ]
    return found


def private_attributes(tree: ast.Module) -> set[str]:
    """Private attributes of anything but ``self`` and ``cls`` that this module does not define."""
    used, own = set(), set()
    for node in ast.walk(tree):
        # os._exit is public in spite of its name: the documented end of a forked process.
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node) != "os._exit":
            mine = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            (own if mine else used).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
    return used - own


@pytest.mark.parametrize("module", ADAPTER_MODULES, ids=str)
def test_uses_only_public_names(module: Module):
    own_package = module.name.split(".")[0]
    foreign = [name for name in private_imports(module.tree) if name.split(".")[0] != own_package]

    assert foreign == []
    assert private_attributes(module.tree) == set()


CORE_NAMES = {module.name for module in CORE_MODULES}


@pytest.mark.parametrize("module", ADAPTER_MODULES, ids=str)
def test_never_imports_the_root(module: Module):
    """The root is for programs; an adapter names the home of what it uses."""
    bare = [
        ast.unparse(node)
        for node in ast.walk(module.tree)
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "sansio_pingora"
            and any(f"sansio_pingora.{alias.name}" not in CORE_NAMES for alias in node.names)
        )
    ]

    assert bare == []


@pytest.mark.parametrize("package", RUNTIMES, ids=lambda path: path.name)
def test_shows_the_same_face(package):
    """``serve``, ``connect`` and ``run``, by module object: that is what the entry-point group promises."""
    init = next(module for module in ADAPTER_MODULES if module.name == package.name)
    bound = {
        alias.asname or alias.name
        for node in ast.walk(init.tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    } | {node.name for node in init.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert bound >= FACE


def test_every_runtime_is_there():
    assert {path.parent.name for path in RUNTIMES} == {"asyncio", "gevent", "threads"}
    assert (ADAPTERS / "posix").is_dir()
