"""What every module keeps: a docstring, documented names, a readable size, a name of its own."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.architecture.tree import ADAPTERS, CORE, MODULES, ROOT, Module, exported

MAX_LINES = 600  # past it a module is two

every_module = pytest.mark.parametrize("module", MODULES, ids=str)


@every_module
def test_has_a_docstring(module: Module):
    assert ast.get_docstring(module.tree), f"{module.path.relative_to(ROOT)} does not say what it is"


@every_module
def test_documents_every_name_that_it_exports(module: Module):
    names = set(exported(module))
    bare = [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name in names
        and not ast.get_docstring(node)
    ]

    assert not bare


@every_module
def test_says_what_is_public(module: Module):
    """A public module that defines something has ``__all__``, and no private name in it."""
    defines = any(
        isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        for node in module.tree.body
    )
    names = exported(module)

    assert not [name for name in names if name.startswith("_") and name != "__version__"]
    assert len(names) == len(set(names))
    if module.public and defines:
        assert names, f"{module} has no __all__"


@every_module
def test_fits_a_sitting(module: Module):
    lines = module.path.read_text("utf-8").count("\n")

    assert lines <= MAX_LINES, f"{lines} lines: this is two modules"


@every_module
def test_carries_no_stdlib_name(module: Module):
    """``from logging import …`` inside a package must never be a question."""
    own = module.name.rpartition(".")[2]

    assert own not in sys.stdlib_module_names


def test_adapter_folders_are_not_packages():
    """``adapters/gevent/__init__.py`` would make a package named gevent of the folder, before the real one."""
    folders = [ADAPTERS, *(path for path in ADAPTERS.iterdir() if path.is_dir())]

    assert not [str(path) for path in folders if (path / "__init__.py").exists()]


def test_every_package_is_typed():
    packages = [CORE, *ADAPTERS.glob("*/sansio_pingora_*")]

    assert [path for path in packages if not (path / "py.typed").exists()] == []


def test_every_folder_is_a_package():
    """A folder without ``__init__.py`` is a namespace package: mypy and the wheel would see less than the interpreter."""
    roots = [CORE, *ADAPTERS.glob("*/sansio_pingora_*")]
    folders = {path.parent for root in roots for path in root.rglob("*.py")} | set(roots)

    assert sorted(str(path.relative_to(ROOT)) for path in folders if not (path / "__init__.py").exists()) == []
