"""Counterparts of the examples of Pingora's proxy, on every runtime."""

from __future__ import annotations

import http.client
import json
import socket

import grpc
import pytest
import yaml

from sansio_pingora import Response
from sansio_pingora.apps import OriginApp
from sansio_pingora.balancing import Backend
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Raw, World
from tests.adapters.test_grpc import grpc_origin
from tests.apps.serving import RUNTIMES, ask, serving
from tests.examples.running import load_example, run_example

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


def refusing():
    """Bound and not listening: it refuses."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, "{}:{}".format(*sock.getsockname())


def saying(text):
    return lambda request: Response(200, text)


@each_runtime
def test_backoff_retry(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "backoff_retry.py", runtime)
    assert options["runtime"] == runtime
    with serving(OriginApp(), runtime) as origin:
        dead, app.peer = refusing()
        fails = type(app).fail_to_connect

        def first_fails(self, session, peer, ctx, error):
            self.peer = origin.addresses[0]
            return fails(self, session, peer, ctx, error)

        monkeypatch.setattr(type(app), "fail_to_connect", first_fails)
        with dead, serving(app, runtime) as proxy:
            assert ask(proxy.addresses[0])[0] == 200


def test_backoff_retry_in_the_simulator():
    app = load_example("backoff_retry.py")["Patient"]()
    world = World(seed=1)
    world.listen("10.0.0.1:80", HttpProxy(app))
    client = Raw(world, b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    world.client("10.0.0.1:80", client)
    world.settle()
    assert client.data.startswith(b"HTTP/1.1 502 ")
    assert world.now >= 0.01 + 0.1 + 1 + 10


@each_runtime
def test_connection_filter(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "connection_filter.py", runtime)
    allowed = options["connection_filter"]
    with serving(app, runtime, connection_filter=allowed) as server:
        assert ask(server.addresses[0]) == (200, b"hello, neighbour\n")
    with (
        serving(app, runtime, connection_filter=type(allowed)("192.168.0.0/16")) as server,
        pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)),
    ):
        ask(server.addresses[0])


@each_runtime
def test_ctx(monkeypatch, runtime):
    app, _ = run_example(monkeypatch, "ctx.py", runtime)
    with serving(saying("old"), runtime) as stable, serving(saying("new"), runtime) as beta:
        app.stable, app.beta = stable.addresses[0], beta.addresses[0]
        with serving(app, runtime) as proxy:
            assert ask(proxy.addresses[0]) == (200, b"old")
            assert ask(proxy.addresses[0], headers={"X-Beta": "1"}) == (200, b"new")
            assert ask(proxy.addresses[0]) == (200, b"old")
    assert app.served == {"stable": 2, "beta": 1}


@each_runtime
def test_grpc_web(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "grpc_web.py", runtime)
    assert options["h2c"]
    with grpc_origin() as (app.origin, _), serving(app, runtime, h2c=True) as proxy:
        message = b"\x00\x00\x00\x00\x02ab"
        headers = {"Content-Type": "application/grpc-web"}
        status, body = ask(proxy.addresses[0], "POST", "/test/Unary", message, headers)
        assert status == 200
        assert body.startswith(b"\x00\x00\x00\x00\x02ba\x80")
        with grpc.insecure_channel(proxy.addresses[0], [("grpc.use_local_subchannel_pool", 1)]) as channel:
            assert channel.unary_unary("/test/Unary")(b"ab", timeout=20) == b"ba"


@each_runtime
def test_modify_response(monkeypatch, runtime):
    app, _ = run_example(monkeypatch, "modify_response.py", runtime)
    told = {"name": "a", "list": [1, 2, {"x": None}]}

    def origin(request):
        if request.path == "/plain":
            return Response(200, "as it is")
        text = json.dumps(told if request.path == "/" else "x" * 2_000_000)
        return Response(200, text, [("Content-Type", "application/json")])

    with serving(origin, runtime) as server:
        app.peer = server.addresses[0]
        with serving(app, runtime) as proxy:
            status, body = ask(proxy.addresses[0])
            assert (status, yaml.safe_load(body)) == (200, told)
            assert not body.startswith(b"{")
            assert ask(proxy.addresses[0], "HEAD") == (200, b"")
            assert ask(proxy.addresses[0], "GET", "/plain") == (200, b"as it is")
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                ask(proxy.addresses[0], "GET", "/large")


@each_runtime
def test_virtual_l4(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "virtual_l4.py", runtime)
    assert options["runtime"] == runtime
    with serving(app, runtime) as proxy:
        for _ in range(3):
            assert ask(proxy.addresses[0]) == (204, b"")


@each_runtime
def test_health_aware_selector(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "health_aware_selector.py", runtime)
    upstreams = options["background"]
    upstreams.health_check_frequency = 0.05
    dead, nowhere = refusing()
    with dead, serving(saying("one"), runtime) as one, serving(saying("two"), runtime) as two:
        upstreams.discovery.backends[:] = [Backend(where) for where in (one.addresses[0], two.addresses[0], nowhere)]
        upstreams.update(upstreams.discovery.backends)
        with serving(app, runtime, background=upstreams) as proxy:
            while upstreams.backends.ready(Backend(nowhere)):
                ask(proxy.addresses[0])  # until it was checked
            answers = {target: ask(proxy.addresses[0], "GET", f"/{target}") for target in range(12)}
            assert {status for status, _ in answers.values()} == {200}
            assert answers == {target: ask(proxy.addresses[0], "GET", f"/{target}") for target in range(12)}


def test_simulate():
    names = load_example("simulate.py")
    names["test_who_has_a_key_gets_in"]()
    names["test_who_has_none_does_not"]()
