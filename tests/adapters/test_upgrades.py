"""Real processes under load: hand-overs without a lost request, and the ends. ``tests.adapters.upgrades`` is the long form."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.adapters.harness import GET, PATIENCE, client
from tests.adapters.upgrade_load import Load
from tests.adapters.upgrades import Servers, killed_at, until


@pytest.fixture
def servers(tmp_path):
    made = Servers(tmp_path, grace=5.0)
    yield made
    made.close()


def test_hand_overs_over_all_runtimes_and_killed_processes_lose_nothing(servers):
    old = servers.start("asyncio").up()
    load = Load(servers.port, http1=12, http2=1, streams=8, websockets=2, uploads=2, pause=0.1, upload_seconds=1.0)
    try:
        for runtime, step in zip(("gevent", "threads"), ("it takes them", "it is up"), strict=True):
            killed_at(servers, old, runtime, step)
            load.more()
            old = servers.upgrade(old, runtime)
            load.more()
        until(lambda: all(process.ended for process in servers.processes[:-1]))
    finally:
        load.end()
    assert load.failures == []
    assert load.told_to_go["websocket"] >= 2
    assert [process.join() for process in servers.processes[:-1]] == [0, -9, 0, -9]


def test_two_new_processes_and_a_file_that_was_left_behind(servers):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(servers.folder / "up.sock"))
    old = servers.start("threads").up()
    load = Load(servers.port, http1=4, pause=0.05)
    try:
        new = servers.start("threads", upgrade=True)
        until(lambda: servers.waiting)
        second = servers.start("threads", upgrade=True)
        assert second.join() == 1
        assert servers.logged("another process waits for sockets")
        old.signal(signal.SIGQUIT)
        new.up()
        load.more(2)
    finally:
        load.end()
    assert load.failures == []
    assert old.join() == 0


def test_a_graceful_end_is_over_with_the_last_exchange_and_a_second_one_at_once(servers):
    first = servers.start("gevent").up()
    with client(("127.0.0.1", servers.port)) as slow, client(("127.0.0.1", servers.port)) as idle:
        idle.send(GET)
        assert idle.status() == 200
        slow.send(b"GET /delay/0.7 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)  # it is there, and is worked on
        first.signal(signal.SIGTERM)
        until(lambda: not _connects(servers.port))
        assert not first.ended
        assert slow.status() == 200
        idle.close()
        assert first.join() == 0
    second = servers.start("asyncio").up()
    with client(("127.0.0.1", servers.port)) as slow:
        slow.send(b"GET /delay/60 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        second.signal(signal.SIGTERM)
        until(lambda: servers.logged("phase ShutdownGracePeriod") == 2)
        second.signal(signal.SIGTERM)
        assert second.join() == 0
        assert slow.rest() == b""


def test_an_end_at_once_and_a_reload_under_load(servers):
    only = servers.start("threads").up()
    load = Load(servers.port, http1=6, pause=0.05)
    try:
        for limits, text in (
            ("head_timeut: 5", "nothing is reloaded: "),
            ("head_timeout: 5", "takes effect with an upgrade"),
        ):
            servers.write("threads", limits=limits)
            only.signal(signal.SIGHUP)
            until(lambda text=text: servers.logged(text))
            load.more(2)
    finally:
        load.end()
    assert load.failures == []
    with client(("127.0.0.1", servers.port)) as peer:
        peer.send(b"GET /delay/60 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        only.signal(signal.SIGINT)
        assert only.join() == 0
        assert peer.rest() == b""


def _connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE):
            return True
    except OSError:
        return False
