"""The source tree as the architecture tests see it: parsed, never imported."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "sansio_pingora"
ADAPTERS = ROOT / "adapters"
ADAPTER_PACKAGES = sorted(path for path in ADAPTERS.glob("*/sansio_pingora_*") if path.is_dir())


@dataclass(frozen=True)
class Module:
    """One source file of a package."""

    path: Path
    name: str
    """Dotted; a package's is that of its ``__init__``."""

    @property
    def tree(self) -> ast.Module:
        return parsed(self.path)

    @property
    def public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def __str__(self) -> str:
        return self.name


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def modules_of(package: Path) -> list[Module]:
    """Every module under *package*, whose folder name is its import name."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found.append(Module(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)))
    return found


CORE_MODULES = modules_of(CORE)
ADAPTER_MODULES = [module for package in ADAPTER_PACKAGES for module in modules_of(package)]
MODULES = CORE_MODULES + ADAPTER_MODULES


def exported(module: Module) -> list[str]:
    """The names of ``__all__``; none when the module has no such list."""
    for node in module.tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = ast.literal_eval(node.value)
            assert isinstance(value, list | tuple), f"{module}: __all__ is not a plain list"
            return list(value)
    return []
