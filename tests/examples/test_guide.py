"""The page for those who know Pingora has every example of ours."""

from __future__ import annotations

from tests.examples.running import EXAMPLES
from tests.pages import page

PAGE = page("guide.md")


def test_every_example_is_there():
    assert not [path.name for path in EXAMPLES.glob("*.py") if f"../examples/{path.name})" not in PAGE]
