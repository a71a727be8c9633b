"""WebSockets on every runtime, by the websockets library over HTTP/1 and by ours over both versions."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections import deque
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from sansio_pingora import HttpPeer, PeerOptions, ProxyHttp, Sleep
from sansio_pingora.apps import HttpServerApp, OriginApp, Receive, WebSocketApp, serve_websocket
from sansio_pingora.cli.client import Client
from sansio_pingora.errors import Error
from sansio_pingora.limits import Limits
from sansio_pingora.session import blocking
from sansio_pingora.upstreams import ALPN
from sansio_pingora.websocket.frames import Opcode, write_frame
from tests.adapters.harness import CAN_AWAIT, PATIENCE, served

HTTP2 = PeerOptions(alpn=ALPN.H2, max_h2_streams=100)
BIG = 64 << 20 if os.environ.get("SLOW_TESTS") else 4 << 20
ROOM = {"ws_max_message": 80 << 20, "ws_max_fragments": 1 << 20}
MESSAGES = ["", "grüße", b"", bytes(range(256)), "x" * 70_000, b"y" * 70_000]


class To(ProxyHttp):
    def __init__(self, peer, http2):
        self.peer = HttpPeer(peer, options=HTTP2 if http2 else None)

    def upstream_peer(self, session, ctx):
        return self.peer


@pytest.fixture
def origin(runtime):
    with served(OriginApp(), runtime, h2c=True, **ROOM) as server:
        yield server


@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
def test_the_websockets_library(origin, compression):
    with connect(f"ws://{origin.peer}/ws", compression=compression, max_size=None, open_timeout=PATIENCE) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(PATIENCE) == message
        ws.send(["frag", "ments", ""])
        assert ws.recv(PATIENCE) == "fragments"
        assert ws.ping().wait(PATIENCE)
    assert ws.protocol.close_code == 1000


@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
@pytest.mark.parametrize("kind", [str, bytes], ids=["text", "binary"])
def test_a_large_message(origin, compression, kind):
    block = os.urandom(1 << 16)
    message = block * (BIG >> 16) if kind is bytes else block.hex() * (BIG >> 17)
    with connect(f"ws://{origin.peer}/ws", compression=compression, max_size=None, open_timeout=PATIENCE) as ws:
        ws.send(message)
        assert ws.recv(120) == message


@pytest.mark.parametrize(("http2", "to_http2"), [*itertools.product([False, True], repeat=2)])
def test_every_pair_of_versions_through_a_proxy(runtime, http2, to_http2):
    with served(OriginApp(), runtime, h2c=True) as back, served(To(back.peer, to_http2), runtime, h2c=True) as front:
        for deflate in (False, True):
            with Client(front.peer, http2=http2) as client:
                assert client.converse("/ws", MESSAGES, deflate=deflate) == MESSAGES


def test_a_large_message_over_http2(origin):
    message = os.urandom(BIG)
    with Client(origin.peer, http2=True, limits=Limits(**ROOM)) as client:
        assert client.converse("/ws", [message]) == [message]


def test_a_message_beyond_the_ceiling(runtime):
    with served(OriginApp(), runtime, ws_max_message=1000) as server:
        with connect(f"ws://{server.peer}/ws", open_timeout=PATIENCE) as ws:
            ws.send(b"x" * 1001)
            with pytest.raises(ConnectionClosedError) as caught:
                ws.recv(PATIENCE)
        assert caught.value.rcvd.code == 1009


class Chat(WebSocketApp):
    """Uses every callback."""

    subprotocols = ("chat",)

    def __init__(self):
        self.closed = []

    def handshake(self, session):
        if session.get_header("x-token") != b"secret":
            raise Error.http_status(403, "who are you")

    def on_open(self, ws):
        ws.data = 0
        ws.send(f"welcome to {ws.subprotocol}")

    def on_message(self, ws, message):
        ws.data += 1
        yield Sleep(0.01)
        if message == "break":
            raise RuntimeError("by order")
        if message == "bye":
            ws.close(4000, "gone")
        else:
            ws.send(f"{ws.data}: {message}")

    def on_close(self, ws, code, reason):
        self.closed.append((ws.data, code))


@pytest.fixture
def chat(runtime):
    app = Chat()
    with served(app, runtime) as server:
        yield app, f"ws://{server.peer}/"


def enter(url):
    return connect(url, subprotocols=["chat"], additional_headers={"x-token": "secret"}, open_timeout=PATIENCE)


def test_an_application(chat):
    app, url = chat
    with enter(url) as ws:
        assert ws.recv(PATIENCE) == "welcome to chat"
        for number in range(1, 20):
            ws.send("hello")
            assert ws.recv(PATIENCE) == f"{number}: hello"
        ws.send("bye")
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(PATIENCE)
        assert caught.value.rcvd.code == 4000
    assert app.closed == [(20, 4000)]


def test_a_client_that_is_refused(chat):
    _, url = chat
    with pytest.raises(InvalidStatus) as caught, connect(url, open_timeout=PATIENCE):
        pass
    assert caught.value.response.status_code == 403


def test_a_callback_that_raises(chat):
    _, url = chat
    with enter(url) as ws:
        ws.recv(PATIENCE)
        ws.send("break")
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(PATIENCE)
    assert caught.value.rcvd.code == 1011


def test_a_request_that_is_no_handshake(chat):
    _, url = chat
    with Client(url[5:-1]) as client:
        answer = client.ask("GET", "/", fields=[("x-token", "secret")])
    assert answer.status == 426
    assert answer.head.get("upgrade") == b"websocket"


def test_a_quiet_client_is_asked_and_given_up(runtime):
    with served(OriginApp(), runtime, ws_ping_interval=0.2) as server:
        with connect(f"ws://{server.peer}/ws", open_timeout=PATIENCE) as ws:
            ws.send("still here")
            assert ws.recv(PATIENCE) == "still here"
        with Client(server.peer) as client:  # does not answer pings
            answer = client.send_raw(
                b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        _, _, frames = answer.partition(b"\r\n\r\n")
        assert frames[:3] == b"\x89\x011"
        assert frames[3] == 0x88
        assert frames[5:7] == (1011).to_bytes(2, "big")


# ── the forms of callbacks ───────────────────────────────────────────────────────────


class InThreads(WebSocketApp):
    """What it sends in another thread goes out from its own."""

    @blocking
    def on_message(self, ws, message):
        for word in message.split():
            ws.send(word)


class Linear(WebSocketApp):
    """All in one story."""

    def on_open(self, ws):
        while (message := (yield Receive())) is not None:
            yield Sleep(0.001)
            for word in message.split():
                ws.send(word)


class Awaiting(WebSocketApp):
    async def on_message(self, ws, message):
        for word in message.split():
            ws.send(word)
            await asyncio.sleep(0)


class AwaitingLinear(WebSocketApp):
    async def on_open(self, ws):
        while (message := await Receive()) is not None:
            await asyncio.sleep(0.001)
            for word in message.split():
                ws.send(word)


class Host(HttpServerApp):
    """Hands its exchanges over."""

    def __init__(self, app):
        self.app = app

    def process_new_http(self, session):
        yield Sleep(0.001)
        return serve_websocket(session, self.app)


@pytest.mark.parametrize("hosted", [False, True], ids=["itself", "handed over"])
@pytest.mark.parametrize("kind", [InThreads, Linear, Awaiting, AwaitingLinear])
def test_forms(runtime, kind, hosted):
    if "Awaiting" in kind.__name__ and runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    with served(Host(kind()) if hosted else kind(), runtime) as server:
        with connect(f"ws://{server.peer}/", open_timeout=PATIENCE) as ws:
            for _ in range(5):
                ws.send("one two three")
                assert [ws.recv(PATIENCE) for _ in range(3)] == ["one", "two", "three"]
        assert ws.protocol.close_code == 1000


class Busy(WebSocketApp):
    """Holds one client up until another one comes."""

    def __init__(self):
        self.go = threading.Event()

    def on_message(self, ws, message):
        if message == "go":
            self.go.set()
        else:
            while not self.go.is_set():
                yield Sleep(0.005)
        ws.send(f"done with {message}")


def test_pings_are_answered_while_a_callback_waits(runtime):
    with served(Busy(), runtime) as server:
        url = f"ws://{server.peer}/"
        with connect(url, open_timeout=PATIENCE) as one, connect(url, open_timeout=PATIENCE) as other:
            one.send("this")
            assert one.ping().wait(PATIENCE)
            other.send("go")
            assert other.recv(PATIENCE) == "done with go"
            assert one.recv(PATIENCE) == "done with this"


def test_an_answer_goes_out_before_the_close_frame(runtime):
    """Though the question and the client's close frame come in one."""
    go = Busy()
    go.go.set()
    raw = write_frame(Opcode.TEXT, b"this", mask=b"mask") + write_frame(Opcode.CLOSE, b"\x03\xe8", mask=b"mask")
    for app, answer in ((go, b"\x81\x0edone with this"), (OriginApp(), b"\x81\x04this")):
        with served(app, runtime) as server, Client(server.peer) as client:
            out = client.send_raw(
                b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + raw
            )
        assert out.partition(b"\r\n\r\n")[2] == answer + b"\x88\x02\x03\xe8"


class Feed(WebSocketApp):
    """Sends from a task of its own, and amid a callback that awaits something of asyncio's."""

    def __init__(self):
        self.tasks = set()
        self.more = {}

    async def on_open(self, ws):
        ws.data = asyncio.Queue()
        task = asyncio.get_running_loop().create_task(self.push(ws))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def push(self, ws):
        while (item := await ws.data.get()) is not None:
            ws.send(f"pushed {item}")
        ws.close(4000)

    async def on_message(self, ws, message):
        ws.send(f"heard {message}")
        if message == "wait":
            self.more[ws] = asyncio.Event()
            await self.more[ws].wait()
            ws.send("go on")
        elif message == "go":
            for event in self.more.values():
                event.set()
        else:
            ws.data.put_nowait(message if message != "end" else None)


@pytest.fixture
def feed(runtime):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    with served(Feed(), runtime) as server:
        yield f"ws://{server.peer}/"


def test_a_task_of_the_applications_own_sends(feed):
    with connect(feed, open_timeout=PATIENCE) as ws:
        for number in range(5):
            ws.send(str(number))
            assert {ws.recv(PATIENCE), ws.recv(PATIENCE)} == {f"heard {number}", f"pushed {number}"}
        ws.send("end")
        assert ws.recv(PATIENCE) == "heard end"
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(PATIENCE)
    assert caught.value.rcvd.code == 4000


def test_what_a_callback_sends_goes_out_while_it_awaits(feed):
    with connect(feed, open_timeout=PATIENCE) as one, connect(feed, open_timeout=PATIENCE) as other:
        one.send("wait")
        assert one.recv(PATIENCE) == "heard wait"
        other.send("go")
        assert one.recv(PATIENCE) == "go on"


class Pushed(WebSocketApp):
    """Says nothing of itself."""

    def __init__(self):
        self.opened = threading.Event()

    def on_open(self, ws):
        self.ws = ws
        self.opened.set()


def test_messages_from_another_thread(runtime):
    app = Pushed()
    with served(app, runtime) as server, connect(f"ws://{server.peer}/", open_timeout=PATIENCE) as ws:
        assert app.opened.wait(PATIENCE)
        for number in range(100):
            app.ws.post(str(number))
        assert [ws.recv(PATIENCE) for _ in range(100)] == [str(number) for number in range(100)]


def test_a_peer_that_does_not_keep_up(runtime):
    app = Pushed()
    with (
        served(app, runtime, ws_send_buffer=100_000, high_water=1000) as server,
        connect(f"ws://{server.peer}/", open_timeout=PATIENCE, max_queue=1, compression=None) as ws,
    ):
        assert app.opened.wait(PATIENCE)
        give_up = time.monotonic() + PATIENCE
        while app.ws.is_open and time.monotonic() < give_up:
            app.ws.post(b"x" * 100_000)
        with pytest.raises(ConnectionClosedError) as caught:
            deque(iter(partial(ws.recv, PATIENCE), None), maxlen=0)
        assert caught.value.rcvd.code == 1008


class FromGreenlet(WebSocketApp):
    def on_open(self, ws):
        import gevent

        gevent.spawn_later(0.01, ws.send, "later")


def test_messages_from_a_greenlet_of_the_applications_own():
    with served(FromGreenlet(), "gevent") as server, connect(f"ws://{server.peer}/", open_timeout=PATIENCE) as ws:
        assert ws.recv(PATIENCE) == "later"


class FromTask(WebSocketApp):
    async def on_open(self, ws):
        async def say():
            await asyncio.sleep(0.01)
            ws.send("later")

        ws.data = asyncio.create_task(say())


def test_messages_from_a_task_of_the_applications_own():
    with served(FromTask(), "asyncio") as server, connect(f"ws://{server.peer}/", open_timeout=PATIENCE) as ws:
        assert ws.recv(PATIENCE) == "later"


class Talker(WebSocketApp):
    def on_message(self, ws, message):
        ws.send(message)


@pytest.mark.parametrize("app", [OriginApp(), Talker()], ids=["of an exchange", "alone"])
def test_the_end_of_the_grace_period_is_announced(runtime, app):
    with served(app, runtime, grace_period=0.5) as server:
        with connect(f"ws://{server.peer}/ws", open_timeout=PATIENCE) as ws:
            ws.send("a")
            assert ws.recv(PATIENCE) == "a"
            server.stop()
            with pytest.raises(ConnectionClosedOK):
                ws.recv(PATIENCE)
            assert ws.protocol.close_code == 1001
        server.join()
