"""The page about the proxy: every block runs, every callback and option is there."""

from __future__ import annotations

import asyncio
import re
from dataclasses import fields

import pytest

import sansio_pingora
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import HttpProxy, ProxyHttp, ProxyOptions
from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES
from tests.pages import blocks, page, run_blocks
from tests.proxy.harness import OK, Bench, head_of, status_of

PAGE = page("proxy.md")
BLOCKS = blocks(PAGE)


@pytest.fixture(scope="module")
def names():
    return run_blocks("proxy.md", BLOCKS)


def test_blocks_are_short():
    assert all(len(block.splitlines()) <= 24 for block in BLOCKS)


def test_the_proxy_at_the_top(names):
    bench = Bench(names["Edge"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(client.take()) == 401
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: alice\r\n\r\n")
    assert head_of(bench.origin.take())[1][b"host"] == b"app.internal"
    bench.origin.send(b"HTTP/1.1 200 OK\r\nServer: secret\r\nContent-Length: 0\r\n\r\n")
    assert b"server" not in head_of(client.take())[1]
    bench.assert_clean()


def test_forms(names):
    bench = Bench(names["Waits"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.advance(1)
    bench.origin.send(OK)
    bench.advance(1)
    assert status_of(client.take()) == 200
    with pytest.raises(TypeError, match="threads runtime cannot run"):
        HttpProxy(names["Waits"]()).check("threads", can_await=False)
    assert asyncio.iscoroutinefunction(names["Waits"].response_filter)


def test_logs(names, capsys):
    bench = Bench(names["Logs"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: alice\r\n\r\n")
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    first, *stretches = capsys.readouterr().out.splitlines()
    assert first == "GET /, Host: a 200 0 addr: 127.0.0.1:9000, scheme: http 2 None"
    assert [line.split()[0] for line in stretches] == ["filters", "connect", "request", "wait", "response"]


def test_the_last_one_serves(names, monkeypatch):
    seen = {}
    monkeypatch.setitem(names, "serve", lambda app, **options: seen.update(options))
    names["main"]()
    del seen["listen"]
    assert ProxyOptions(**seen).forwarding() is not None
    assert sansio_pingora.serve


def test_failover(names):
    bench = Bench(names["Failover"]())
    bench.dial_outcomes.append(Error(ErrorType.CONNECT_REFUSED))
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert [str(dial.address) for dial in bench.dials] == list(names["Failover"].peers)


def test_limits_of_retry_exist():
    section = PAGE.partition("## Retry")[2]
    known = {limit.name for limit in fields(Limits)}
    named = {name for name in re.findall(r"`(\w+)`", section) if "_" in name}
    assert named <= known
    assert {name for name in known if "retr" in name} <= named


def test_every_callback_and_option_is_in_a_table():
    rows = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for name in re.findall(r"`(\w+)", cells[0]):
                rows[name] = cells
    for name in PHASES:
        assert (rows[name][2] == "wait") is (name not in PLAIN_PHASES), name
    callbacks = {name for name in vars(ProxyHttp) if not name.startswith("_")}
    assert callbacks <= rows.keys()
    assert {option.name for option in fields(ProxyOptions)} <= rows.keys()
