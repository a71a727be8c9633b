"""The examples of the page on TLS are programs."""

from __future__ import annotations

import pytest

import sansio_pingora
from tests.pages import blocks, page, run_blocks

PAGE = page("tls.md")
EXAMPLES = blocks(PAGE)


@pytest.mark.parametrize("source", EXAMPLES)
def test_an_example_runs(source, monkeypatch):
    served = []
    monkeypatch.setattr(sansio_pingora, "serve", lambda app, **options: served.append((app, options)))
    names = run_blocks("tls.md", [source])

    if served:
        assert str(served[0][1]["listen"][0].address) == "127.0.0.1:8443"
    else:
        assert names["Edge"]().upstream_peer(None, None).tls
