"""pyproject.toml names every package, runtime and extra that there is, everywhere where it names them."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.tree import ADAPTER_PACKAGES, CORE, ROOT

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = CONFIG["project"]
TOOL = CONFIG["tool"]
PACKAGES = {str(path.relative_to(ROOT)) for path in [CORE, *ADAPTER_PACKAGES]}
NAMES = {path.name for path in [CORE, *ADAPTER_PACKAGES]}


def test_every_tool_sees_every_package():
    assert set(TOOL["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert set(TOOL["mypy"]["files"]) == PACKAGES
    assert set(TOOL["importlinter"]["root_packages"]) == NAMES
    assert set(TOOL["ruff"]["lint"]["isort"]["known-first-party"]) == NAMES


def test_every_runtime_is_an_entry_point():
    runtimes = {path.parent.name: path.name for path in ADAPTER_PACKAGES if path.parent.name != "posix"}

    assert PROJECT["entry-points"]["sansio_pingora.runtimes"] == runtimes


def test_all_is_every_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]

    assert set(re.findall(r"[a-z]+", everything.partition("[")[2])) == extras.keys() - {"all"}


def test_every_dependency_has_a_lower_bound():
    requirements = [
        *PROJECT["dependencies"],
        *(r for extra, rs in PROJECT["optional-dependencies"].items() if extra != "all" for r in rs),
    ]

    assert [requirement for requirement in requirements if ">=" not in requirement] == []
