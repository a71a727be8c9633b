"""No file names the machine that it was written on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

FOLDERS = (".ci", "adapters", "benchmarks", "docs", "examples", "fuzz", "sansio_pingora", "tests")
TEXT = {".cfg", ".ini", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
HOMES = re.compile(r"(?<![\w./])/(?:home|root|Users)/[\w.-]+/")

EVERYWHERE = {"//", "/tmp/", "/usr/", "/usr/local/"}


def files() -> list[Path]:
    found = [
        path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT and not path.name.startswith(".")
    ]
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if (
                path.is_file()
                and path.suffix in TEXT
                and "__pycache__" not in path.parts
                and "vectors" not in path.parts
            ):
                found.append(path)
    return sorted(found)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_names_no_place_of_this_machine(path: Path):
    text = path.read_text("utf-8")
    places = {f"{place}/" for place in (ROOT, ROOT.parent, Path.home(), sys.prefix, sys.base_prefix)} - EVERYWHERE

    assert [place for place in places if place in text] == []
    if path != Path(__file__):
        assert HOMES.findall(text) == []
