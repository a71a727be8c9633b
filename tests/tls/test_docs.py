"""The examples of the page on TLS are programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sansio_pingora

PAGE = (Path(__file__).parents[2] / "docs" / "tls.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("source", EXAMPLES)
def test_an_example_runs(source, monkeypatch):
    served = []
    monkeypatch.setattr(sansio_pingora, "serve", lambda app, **options: served.append((app, options)))
    names = {}
    exec(compile(source, "docs/tls.md", "exec"), names)

    if served:
        assert str(served[0][1]["listen"][0].address) == "127.0.0.1:8443"
    else:
        assert names["Edge"]().upstream_peer(None, None).tls
