"""The page on pooling: every block runs, and its settings exist."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from sansio_pingora.limits import Limits
from sansio_pingora.upstreams import PeerOptions
from tests.pages import blocks, page, run_blocks
from tests.proxy.ends import World
from tests.proxy.harness import OK, App, Bench, status_of

PAGE = page("pooling.md")


@pytest.mark.parametrize(("target", "fresh"), [(b"/", 1), (b"/once", 3)])
def test_what_is_kept(target, fresh):
    app = run_blocks("pooling.md", blocks(PAGE))["Reuses"]()
    bench = Bench(app)
    client = bench.client()
    for _ in range(3):
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
    assert app.fresh == len(bench.origins) == fresh


def test_what_no_table_keeps():
    class Guarded(run_blocks("pooling.md", blocks(PAGE))["Guards"], App):
        upstream_peer = App.upstream_peer

    world = World(("h1", "h2"), Guarded())
    fields = [(b"X-Api-Key", b"s3cret"), (b"Authorization", b"Basic eDp5"), (b"Cookie", b"a=1"), (b"X-Plain", b"1")]
    world.client.ask(fields=[*fields, (b"Proxy-Authorization", b"Basic eTp4")])
    assert world.origin.request.start
    assert sorted(world.origin.never_indexed) == [b"Basic eDp5", b"Basic eTp4", b"a=1", b"s3cret"]


def test_the_settings_exist():
    known = {field.name for kind in (Limits, PeerOptions) for field in fields(kind)}
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    named.discard("PeerOptions")
    assert len(named) == 5
    assert named <= known
