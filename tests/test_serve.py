"""serve(): every kind of application on every runtime, and every option either in force or refused."""

import builtins
import socket
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import sansio_pingora
from sansio_pingora import (
    Error,
    HttpPeer,
    HttpServerApp,
    ProxyHttp,
    Response,
    ServeHttp,
    ServerApp,
    Sleep,
    blocking,
    serve,
)
from sansio_pingora._serve import make_application, new_control
from sansio_pingora.apps import EchoApp, HttpOptions, OriginApp, WebSocketApp
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import ServerAddress
from sansio_pingora.machine import Lane
from sansio_pingora.session import ReadBody
from sansio_pingora.wire import ResponseHeader
from tests.apps.serving import RUNTIMES, ask, connect, read_all, serving

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


def echo(request):
    return Response(200, request.body)


class To(ProxyHttp):
    def __init__(self, address):
        self.address = address

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.address)


class Generated(HttpServerApp):
    def process_new_http(self, session):
        size = 0
        while (data := (yield ReadBody())) is not None:
            size += len(data)
            yield Sleep(0)
        session.write_response_header(ResponseHeader(200))
        session.write_response_body(b"%d" % size)


# ── kinds of applications ────────────────────────────────────────────────────────────


@each_runtime
def test_a_handler(runtime):
    with serving(echo, runtime) as server:
        assert ask(server.addresses[0], "POST", "/", b"hello") == (200, b"hello")
        assert ask(server.addresses[0], "POST", "/", iter([b"a", b"b"])) == (200, b"ab")
        assert ask(server.addresses[0]) == (200, b"")


@each_runtime
def test_a_handler_that_blocks_holds_nobody_up(runtime):
    entered, release = threading.Event(), threading.Event()

    @blocking
    def handler(request):
        if request.path == "/slow" and runtime != "gevent":  # a real lock would hold a greenlet's thread
            entered.set()
            assert release.wait(20)
        return Response(200, request.path)

    with serving(handler, runtime) as server:
        answers = []
        slow = threading.Thread(target=lambda: answers.append(ask(server.addresses[0], "GET", "/slow")))
        slow.start()
        if runtime != "gevent":
            assert entered.wait(20)
        assert ask(server.addresses[0], "GET", "/quick") == (200, b"/quick")
        release.set()
        slow.join()
    assert answers == [(200, b"/slow")]


@each_runtime
def test_a_handler_that_fails(runtime, caplog):
    def handler(request):
        raise ZeroDivisionError("by nothing")

    with serving(handler, runtime) as server:
        assert ask(server.addresses[0])[0] == 500
    (record,) = caplog.records
    assert "in handler" in record.getMessage()
    assert "ZeroDivisionError: by nothing" in record.getMessage()


@each_runtime
def test_a_streaming_application(runtime):
    with serving(Generated(), runtime) as server:
        assert ask(server.addresses[0], "POST", "/", bytes(1_000_000)) == (200, b"1000000")


def test_an_async_application():
    import asyncio

    class App(HttpServerApp):
        async def process_new_http(self, session):
            async with asyncio.timeout(20):
                await asyncio.sleep(0)
                data = await ReadBody()
                await Sleep(0)
            session.write_response_header(ResponseHeader(200))
            session.write_response_body(data)

    with serving(App(), "asyncio") as server:
        assert ask(server.addresses[0], "POST", "/", b"hello") == (200, b"hello")


@each_runtime
def test_a_client_that_leaves_ends_the_callback(runtime):
    ended = threading.Event()

    class App(HttpServerApp):
        def process_new_http(self, session):
            try:
                yield ReadBody()
            except Error:
                ended.set()
                raise

    with serving(App(), runtime) as server:
        with connect(server.addresses[0]) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            client.sendall(b"")
        assert ended.wait(20)


def test_a_client_that_leaves_ends_an_async_callback_where_it_waits_for_the_body():
    ended = threading.Event()

    class App(HttpServerApp):
        async def process_new_http(self, session):
            try:
                while await ReadBody() is not None:
                    pass
            except Error:
                await Sleep(0)  # cleaning up may wait
                ended.set()
                raise

    with serving(App(), "asyncio") as server:
        with connect(server.addresses[0]) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        assert ended.wait(20)


def test_a_client_that_leaves_cancels_what_an_async_callback_awaits():
    import asyncio

    entered, ended = threading.Event(), threading.Event()

    class App(HttpServerApp):
        async def process_new_http(self, session):
            try:
                entered.set()
                await asyncio.sleep(1000)
            finally:
                ended.set()

    with serving(App(), "asyncio", abort_on_close=True) as server:
        with connect(server.addresses[0]) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert entered.wait(20)
        assert ended.wait(20)


@each_runtime
def test_the_origin_streams_more_than_memory_for_it(runtime):
    with serving(OriginApp(), runtime) as server, connect(server.addresses[0]) as client:
        client.sendall(b"GET /bytes/20000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        _, _, body = read_all(client).partition(b"\r\n\r\n")
        assert len(body) == 20_000_000


@each_runtime
def test_a_proxy(runtime):
    with serving(OriginApp(), runtime) as origin, serving(To(origin.addresses[0]), runtime) as proxy:
        assert ask(proxy.addresses[0]) == (200, b"Hello, world!")
        assert ask(proxy.addresses[0], "POST", "/echo", bytes(500_000)) == (200, bytes(500_000))


@each_runtime
def test_a_raw_application_with_half_close(runtime):
    with serving(EchoApp(), runtime) as server, connect(server.addresses[0]) as client:
        sender = threading.Thread(target=lambda: (client.sendall(bytes(3_000_000)), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert len(read_all(client)) == 3_000_000
        sender.join()


@each_runtime
def test_several_addresses(runtime, tmp_path):
    listen = ["127.0.0.1:0", f"unix:{tmp_path}/s", ServerAddress.tcp("127.0.0.1:0")]
    with serving(EchoApp(), runtime, listen=listen) as server:
        assert len(server.addresses) == 3
        for address in server.addresses:
            with connect(address) as client:
                client.sendall(b"x")
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == b"x"


@each_runtime
def test_limits_are_in_force(runtime):
    with serving(echo, runtime, max_buffered_body=10) as server:
        assert ask(server.addresses[0], "POST", "/", b"x" * 11)[0] == 413
        assert ask(server.addresses[0], "POST", "/", b"x" * 10)[0] == 200


@pytest.mark.parametrize(
    ("runtime", "options"),
    [("threads", {"threads": "2"}), ("asyncio", {"uvloop": False}), ("asyncio", {"uvloop": "no"})],
)
def test_options_of_one_runtime(runtime, options):
    with serving(OriginApp(), runtime, **options) as server:
        assert ask(server.addresses[0])[0] == 200


def test_a_graceful_end_returns():
    with serving(OriginApp(), "threads", grace_period=5.0) as server:
        assert ask(server.addresses[0])[0] == 200
        server.stop()
        assert server.wait(20)


# ── what is refused ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"head_timout": 5}, r"unknown option 'head_timout' \(did you mean 'head_timeout'\?\)"),
        ({"thread": 2}, r"unknown option 'thread' \(did you mean 'threads'\?\)"),
        ({"enginee": "native"}, r"unknown option 'enginee' \(did you mean 'engine'\?\)"),
        ({"xyzzy": 1}, "unknown option 'xyzzy'; known are"),
        ({"h2c": "perhaps"}, "'h2c' is true or false, not 'perhaps'"),
        ({"ws_max_message": 5}, "'ws_max_message' belongs to WebSocket applications"),
        ({"head_timeout": "soon"}, "'head_timeout' takes a number, not 'soon'"),
        ({"engine": "h12"}, "'engine' is 'native' or 'hyper', not 'h12'"),
        ({"abort_on_close": 1}, "'abort_on_close' is true or false, not 1"),
        ({"threads": 2}, "'threads' belongs to runtime 'threads', not to 'asyncio'"),
        ({"via": "edge"}, "'via' belongs to proxies, and this application is none"),
        ({"max_retries": 2}, "'max_retries' belongs to proxies, and this application is none"),
        ({"runtime": "asyncoi"}, r"unknown runtime 'asyncoi' \(did you mean 'asyncio'\?\)"),
        ({"runtime": "twisted"}, "unknown runtime 'twisted': asyncio, gevent, threads"),
        ({"runtime": "threads", "threads": 0}, "'threads' is a whole number of 1 or more, not 0"),
        ({"runtime": "threads", "threads": "many"}, "'threads' is a whole number of 1 or more, not 'many'"),
        ({"runtime": "gevent", "uvloop": True}, "'uvloop' belongs to runtime 'asyncio', not to 'gevent'"),
        ({"uvloop": "maybe"}, "'uvloop' is true or false, not 'maybe'"),
        ({"listen": "8080"}, r"address '8080': write host:port"),
        ({"listen": []}, "listen names no address"),
    ],
    ids=str,
)
def test_options_that_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        serve(echo, **{"listen": "127.0.0.1:0", **options})


@pytest.mark.parametrize(
    ("app", "options", "text"),
    [
        (EchoApp(), {"engine": "native"}, "'engine' belongs to HTTP"),
        (EchoApp(), {"head_timeout": 5}, "'head_timeout' belongs to HTTP"),
        (To("127.0.0.1:1"), {"max_buffered_body": 5}, "'max_buffered_body' belongs to handlers"),
        (OriginApp(), {"max_buffered_body": 5}, "'max_buffered_body' belongs to handlers"),
        (OriginApp(), {"idle_timeout": 5}, "'idle_timeout' belongs to proxies"),
        (To("127.0.0.1:1"), {"ws_ping_interval": 5}, "'ws_ping_interval' belongs to WebSocket applications"),
        (WebSocketApp(), {"max_buffered_body": 5}, "handlers, and this application is a WebSocketApp"),
    ],
    ids=[
        "engine of raw",
        "limit of raw",
        "handler's of a proxy",
        "handler's of a stream",
        "proxy's of a stream",
        "WebSocket's of a proxy",
        "handler's of a WebSocket",
    ],
)
def test_options_without_effect_are_refused(app, options, text):
    with pytest.raises(ValueError, match=text):
        make_application(app, options)


def test_options_arrive():
    application = make_application(To("127.0.0.1:1"), {"head_timeout": "5", "engine": "hyper", "abort_on_close": "yes"})
    assert application.limits == Limits(head_timeout=5.0)
    assert application.options == HttpOptions(engine="hyper", abort_on_close=True)
    assert make_application(EchoApp(), {"read_timeout": 5}).limits.read_timeout == 5.0
    assert make_application(ServeHttp(echo), {"max_buffered_body": 5}).limits.max_buffered_body == 5
    assert make_application(OriginApp(), {"read_timeout": 5}).limits.read_timeout == 5.0
    assert make_application(OriginApp(), {"ws_max_message": 5, "h2c": True}).limits.ws_max_message == 5
    assert make_application(WebSocketApp(), {"h2c": True}).options.h2c


async def awaited(request):
    return Response()


class AwaitedProxy(To):
    async def request_filter(self, session, ctx):
        return False


class AwaitedStream(ServerApp):
    async def process_new(self, stream):
        pass


class AwaitedHttp(HttpServerApp):
    async def process_new_http(self, session):
        pass


@pytest.mark.parametrize("runtime", ["gevent", "threads"])
@pytest.mark.parametrize(
    "app",
    [awaited, AwaitedProxy("127.0.0.1:1"), AwaitedStream(), AwaitedHttp()],
    ids=["handler", "proxy", "stream", "http"],
)
def test_async_def_is_refused_before_anything_is_bound(app, runtime):
    control = new_control()
    with pytest.raises(TypeError, match=rf"is async def, which the {runtime} runtime cannot run"):
        serve(app, listen="127.0.0.1:0", runtime=runtime, control=control)
    assert control.addresses == []


@pytest.mark.parametrize(
    ("app", "text"),
    [
        (42, "42 cannot be served"),
        (OriginApp, r"OriginApp is a class: give an object of it, OriginApp\(\)"),
    ],
)
def test_what_cannot_be_served(app, text):
    with pytest.raises(TypeError, match=text):
        serve(app, listen="127.0.0.1:0")


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        with pytest.raises(Error, match=f"cannot listen on {address}"):
            serve(echo, listen=f"{address}", runtime="threads")


@pytest.mark.parametrize(("runtime", "needs"), [("gevent", "gevent"), ("asyncio", "anyio")])
def test_a_runtime_whose_library_is_missing_says_what_to_install(monkeypatch, runtime, needs):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == needs:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for name in list(sys.modules):
        if name.startswith(f"sansio_pingora_{runtime}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"pip install 'sansio-pingora\[{runtime}\]'"):
        serve(echo, listen="127.0.0.1:0", runtime=runtime)


# ── the root ─────────────────────────────────────────────────────────────────────────


def test_the_root_knows_its_version():
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert sansio_pingora.__version__ == declared["project"]["version"]


def test_the_root_says_what_it_has_not():
    with pytest.raises(AttributeError, match="has no attribute 'Serve'"):
        sansio_pingora.Serve  # noqa: B018  # looked up for its error
    assert set(sansio_pingora._HOMES) | {"__version__"} == set(sansio_pingora.__all__)


# ── work in the background ───────────────────────────────────────────────────────────


def test_background_work_is_started_once_and_stopped_with_its_lane():
    told = []

    class Work:
        def start(self, lane, now):
            told.append(("start", lane, now))

        def stop(self, now):
            told.append(("stop", now))

    application = make_application(lambda request: Response(200), {"background": Work(), "keepalive_timeout": 7})
    assert application.limits.keepalive_timeout == 7
    one, other = Lane(), Lane()
    first, second = application.open(one, 1.0, 0.0), application.open(other, 2.0, 0.0)
    second.drain(3.0)
    first.drain(4.0)
    assert told == [("start", one, 1.0), ("stop", 4.0)]


def test_what_is_no_background_work_is_refused():
    with pytest.raises(TypeError, match=r"needs start\(lane, now\) and stop\(now\)"):
        make_application(lambda request: Response(200), {"background": [object()]})


@pytest.mark.parametrize("seconds", ["x", -1, None, True, float("inf")])
def test_a_grace_period_is_a_number_of_seconds(seconds):
    with pytest.raises(ValueError, match="grace_period is a number of seconds, 0 or more"):
        serve(lambda request: Response(200), listen="127.0.0.1:0", runtime="threads", grace_period=seconds)


@pytest.mark.parametrize("listen", [8080, None, [8080]], ids=repr)
def test_an_address_is_text(listen):
    with pytest.raises(TypeError, match=r"an address is text like '127\.0\.0\.1:8080'"):
        serve(lambda request: Response(200), listen=listen, runtime="threads")


def test_a_connection_filter_is_an_object():
    with pytest.raises(TypeError, match=r"an object with should_accept\(peer\)"):
        serve(
            lambda request: Response(200), listen="127.0.0.1:0", runtime="threads", connection_filter=lambda peer: True
        )
