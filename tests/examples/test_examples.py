"""Every example, on every runtime that it names."""

import ast
import contextlib
import socket
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as websockets

from sansio_pingora import HttpPeer, Limits, Response
from sansio_pingora.apps import HttpService, OriginApp
from sansio_pingora.balancing import Backend
from sansio_pingora.estimators import Rate
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.proxy_protocol import TrustedSources
from sansio_pingora.testing import Raw, World
from tests.apps.serving import RUNTIMES, ask, connect, read_all, serving
from tests.examples.running import EXAMPLES, load_example, run_example

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
FILES = sorted(EXAMPLES.glob("*.py"))
TESTS = sorted(Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_fits_on_a_page_and_says_what_it_is(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))
    assert path.name in "".join(file.read_text("utf-8") for file in TESTS), "it has no test"


@each_runtime
def test_echo(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "echo.py", runtime)
    assert options == {"listen": "127.0.0.1:8080", "runtime": runtime}
    with serving(app, runtime) as server:
        assert ask(server.addresses[0], "POST", "/", b"hello") == (200, b"hello")


@each_runtime
def test_failover(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "failover.py", runtime)
    assert options["runtime"] == runtime
    with serving(OriginApp(), runtime) as origin, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        app.peers = ("{}:{}".format(*dead.getsockname()), origin.addresses[0])
        with serving(app, runtime) as proxy:
            status, body = ask(proxy.addresses[0], "GET", "/headers")
    assert status == 200
    assert b'"app.internal"' in body


def test_failover_takes_15_lines():
    code = (EXAMPLES / "failover.py").read_text("utf-8").partition('"""\n\n')[2]
    assert len([line for line in code.splitlines() if line]) <= 15


def test_failover_in_the_simulator():
    app = load_example("failover.py")["Failover"]()
    world = World(seed=1)
    world.listen("127.0.0.1:9002", HttpService(OriginApp()))
    world.listen("10.0.0.1:80", HttpProxy(app))
    client = Raw(world, b"GET /headers HTTP/1.1\r\nHost: public.example\r\nConnection: close\r\n\r\n")
    world.client("10.0.0.1:80", client)
    world.settle()
    assert client.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"app.internal"' in client.data


def test_failover_when_both_are_down_in_the_simulator():
    app = load_example("failover.py")["Failover"]()
    world = World(seed=1)
    world.listen("10.0.0.1:80", HttpProxy(app))
    client = Raw(world, b"GET / HTTP/1.1\r\nHost: public.example\r\nConnection: close\r\n\r\n")
    world.client("10.0.0.1:80", client)
    world.settle()
    assert client.data.startswith(b"HTTP/1.1 502 ")


@each_runtime
def test_acl(monkeypatch, runtime):
    app, _ = run_example(monkeypatch, "acl.py", runtime)
    outsiders, _ = run_example(monkeypatch, "acl.py", runtime)
    outsiders.allowed = TrustedSources(["192.168.0.0/16"])
    with serving(OriginApp(), runtime) as origin:
        app.peer = outsiders.peer = origin.addresses[0]
        with serving(app, runtime) as proxy:
            assert ask(proxy.addresses[0], "GET", "/")[0] == 200
        with serving(outsiders, runtime) as proxy:
            assert ask(proxy.addresses[0], "GET", "/")[0] == 403


@each_runtime
def test_fair_share(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "fair_share.py", runtime)
    assert options["runtime"] == runtime
    module = type(app).init_downstream_modules.__globals__["FairShare"]
    module.most_a_second = 1_000_000
    with serving(OriginApp(), runtime) as origin:
        app.peer = origin.addresses[0]
        with serving(app, runtime) as proxy, contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(proxy.addresses[0])) for _ in range(module.most_at_once)]
            for sock in held:
                sock.sendall(b"GET /drip?n=2&interval=3 HTTP/1.1\r\nHost: a\r\n\r\n")
                assert sock.recv(1)  # its answer has begun
            assert ask(proxy.addresses[0], "GET", "/")[0] == 429
            held.pop().close()
            while (status := ask(proxy.addresses[0], "GET", "/")[0]) == 429:
                pass  # until the proxy has heard of it
            assert status == 200
            module.most_a_second = 0
            assert ask(proxy.addresses[0], "GET", "/") == (429, b"not so fast\n")


# ── embedding ────────────────────────────────────────────────────────────────────────


def embedded(limits=None):
    """A client's socket to the embedded engine, which runs in a thread."""
    serve_client = load_example("embed_h1.py")["serve_client"]
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    thread = threading.Thread(target=serve_client, args=(theirs, limits), daemon=True)
    thread.start()
    return ours, thread


def test_embedding_takes_25_lines():
    tree = ast.parse((EXAMPLES / "embed_h1.py").read_text("utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert function.end_lineno - function.lineno + 1 <= 25


def test_embedded_engine_serves_pipelined_requests_and_bodies():
    client, thread = embedded()
    with client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = read_all(client)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert answers.count(b"hello\n") == 3
    thread.join(20)
    assert not thread.is_alive()


def test_embedded_engine_takes_a_large_upload_in_pieces():
    client, _ = embedded()
    with client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n")
        client.sendall(bytes(1_000_000))
        assert read_all(client).endswith(b"hello\n")


def test_embedded_engine_answers_408_to_a_client_that_is_too_slow():
    client, thread = embedded(Limits(head_timeout=0.1, linger_timeout=0.1))
    with client:
        client.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert read_all(client).startswith(b"HTTP/1.1 408 ")
        thread.join(20)
        assert not thread.is_alive()


def test_embedded_engine_closes_without_a_word_when_nothing_comes():
    client, thread = embedded(Limits(first_byte_timeout=0.1))
    with client:
        assert read_all(client) == b""
    thread.join(20)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_embedded_engine_survives_a_client_that_leaves(sent):
    client, thread = embedded()
    client.sendall(sent)
    client.close()
    thread.join(20)
    assert not thread.is_alive()


# ── handlers and applications ────────────────────────────────────────────────────────


def test_async_handler(monkeypatch):
    app, options = run_example(monkeypatch, "async_handler.py")
    with serving(app, options["runtime"]) as server:
        assert ask(server.addresses[0], "GET", "/?one,two") == (200, b"ONE TWO\n")


@each_runtime
def test_generator_app(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "generator_app.py", runtime)
    assert options["runtime"] == runtime
    body = bytes(range(256)) * 2000
    with serving(app, runtime) as server:
        status, answer = ask(server.addresses[0], "PUT", "/", body)
    assert status == 200
    assert answer.splitlines()[-2:] == [b"512000 bytes so far", sha256(body).hexdigest().encode()]


@each_runtime
def test_chat(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "chat.py", runtime)
    assert (options.pop("runtime"), options.pop("listen")) == (runtime, "127.0.0.1:8080")
    with serving(app, runtime, **options) as server:
        url = f"ws://{server.addresses[0]}/"

        def enter(name):
            return websockets(url, subprotocols=["chat"], additional_headers={"x-name": name}, open_timeout=20)

        with pytest.raises(InvalidStatus), websockets(url, open_timeout=20):
            pass
        with enter("ann") as ann:
            with enter("bob") as bob:
                assert ann.recv(20) == "bob is here"
                ann.send("hello")
                assert bob.recv(20) == "ann: hello"
            assert ann.recv(20) == "bob has left"


@each_runtime
def test_tcp_echo(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "tcp_echo.py", runtime)
    assert options["runtime"] == runtime
    with serving(app, runtime) as server, connect(server.addresses[0]) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"hello"


def test_property_test_py_passes_and_takes_8_lines():
    lines = (EXAMPLES / "property_test.py").read_text("utf-8").partition('"""\n\n')[2].splitlines()
    assert len([line for line in lines if line]) <= 8
    load_example("property_test.py")["test_cutting_never_matters"]()


# ── load balancing ───────────────────────────────────────────────────────────────────


@each_runtime
def test_load_balancer(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "load_balancer.py", runtime)
    assert options.pop("runtime") == runtime
    upstreams = options["background"]
    with serving(OriginApp(), runtime) as one, serving(OriginApp(), runtime) as two, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        app.upstreams.update([Backend(one.addresses[0]), Backend(two.addresses[0])])
        upstreams.discovery.backends[:] = [
            *app.upstreams.backends.get_backend(),
            Backend("{}:{}".format(*dead.getsockname())),
        ]
        with serving(app, runtime, background=upstreams) as proxy:
            for _ in range(6):
                assert ask(proxy.addresses[0])[0] == 200


@each_runtime
def test_multi_lb(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "multi_lb.py", runtime)
    assert options["background"] == [app.one, app.two]
    with (
        serving(lambda request: Response(200, "one"), runtime) as one,
        serving(lambda request: Response(200, "two"), runtime) as two,
    ):
        for cluster, server in ((app.one, one), (app.two, two)):
            cluster.discovery.backends[:] = [Backend(server.addresses[0])]
            cluster.update(cluster.discovery.backends)
        with serving(app, runtime, background=options["background"]) as proxy:
            assert ask(proxy.addresses[0], "GET", "/one/x") == (200, b"one")
            assert ask(proxy.addresses[0], "GET", "/other") == (200, b"two")


@each_runtime
def test_rate_limiter(monkeypatch, runtime):
    app, options = run_example(monkeypatch, "rate_limiter.py", runtime)
    assert options["runtime"] == runtime
    app.rate = Rate(1000.0)  # whatever time the test takes
    with serving(OriginApp(), runtime) as origin:
        app.peer = HttpPeer(origin.addresses[0])
        with serving(app, runtime) as proxy:

            def status(name):
                return ask(proxy.addresses[0], "GET", "/", headers={"appid": name})[0]

            assert [status("one"), status("one"), status("two"), status("one")] == [200, 429, 200, 429]
            assert ask(proxy.addresses[0])[0] == 200
