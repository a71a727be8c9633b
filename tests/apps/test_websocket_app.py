"""WebSocket applications on a lane under the test's own hand: callbacks of every form, time, and room."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpServerApp, HttpService, Receive, WebSocketApp, serve_websocket
from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.session import Call, Drain, ReadBody, Sleep, blocking
from sansio_pingora.testing import Raw, World
from sansio_pingora.websocket import CloseCode, Deflate, MessagePart, WebSocketSession
from sansio_pingora.websocket.frames import Opcode, write_frame
from tests.apps.bench import body_of, get, http, status_of
from tests.memory import counting, cut

MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CONT, CLOSE, PING, PONG = (
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CONTINUATION,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
)
FIELDS = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def frame(opcode, data=b"", *, fin=True):
    """As a client sends it."""
    return write_frame(opcode, data, fin=fin, mask=MASK)


def close(code=1000):
    return frame(CLOSE, code.to_bytes(2, "big"))


def written(opcode, data=b"", *, fin=True):
    """As a server sends it."""
    return write_frame(opcode, data, fin=fin, mask=None)


def handshake(*fields, target="/", method="GET"):
    return get(target, *FIELDS, *fields, method=method)


def opened(app, *fields, **limits):
    """A bench behind the handshake of *app*; what goes out from here on is frames."""
    bench = http(app, **limits).receive(handshake(*fields))
    assert status_of(bench.out) == 101, bench.out
    bench.out = body_of(bench.out)
    return bench


def parsed(out):
    """Events of what a server has sent."""
    return WebSocketSession(0.0, Limits(), mask=lambda: MASK).receive_data(out, 0.0) if out else []


class Recorder(WebSocketApp):
    """Remembers what it is told."""

    def __init__(self):
        self.told = []

    def on_open(self, ws):
        self.ws = ws
        self.told.append("open")

    def on_message(self, ws, message):
        self.told.append(message)

    def on_pong(self, ws, data):
        self.told.append(("pong", data))

    def on_close(self, ws, code, reason):
        self.told.append((code, reason))


# ── forms ────────────────────────────────────────────────────────────────────────────


class Plain(WebSocketApp):
    def on_message(self, ws, message):
        ws.send(f"{len(message)}: ")
        ws.send(message)


class Generating(WebSocketApp):
    def on_message(self, ws, message):
        yield Sleep(1)
        ws.send(f"{len(message)}: ")
        yield Drain()
        ws.send(message)


class PlainThatGoesOn(WebSocketApp):
    def on_message(self, ws, message):
        return Generating.on_message(self, ws, message)


class Awaiting(WebSocketApp):
    async def on_message(self, ws, message):
        await Sleep(1)
        ws.send(f"{len(message)}: ")
        ws.send(message)


class Blocking(WebSocketApp):
    @blocking
    def on_message(self, ws, message):
        ws.send(f"{len(message)}: ")
        ws.send(message)


class Calling(WebSocketApp):
    def on_message(self, ws, message):
        size = yield Call(lambda: len(message))
        ws.send(f"{size}: ")
        ws.send(message)


class Receiving(WebSocketApp):
    def on_open(self, ws):
        while (message := (yield Receive())) is not None:
            ws.send(f"{len(message)}: ")
            ws.send(message)


class ReceivingFrom(WebSocketApp):
    def on_open(self, ws):
        while (message := (yield from Receive())) is not None:
            ws.send(f"{len(message)}: ")
            ws.send(message)


class AwaitingReceive(WebSocketApp):
    async def on_open(self, ws):
        while (message := await Receive()) is not None:
            ws.send(f"{len(message)}: ")
            ws.send(message)


class ByParts(WebSocketApp):
    def on_part(self, ws, part):
        ws.data = (ws.data or "") + part.data
        if part.last:
            ws.send(f"{len(ws.data)}: ")
            ws.send(ws.data)


EVERY_FORM = [
    Plain,
    Generating,
    PlainThatGoesOn,
    Awaiting,
    Blocking,
    Calling,
    Receiving,
    ReceivingFrom,
    AwaitingReceive,
    ByParts,
]


@pytest.mark.parametrize("kind", EVERY_FORM, ids=lambda kind: kind.__name__)
def test_every_form(kind):
    bench = opened(kind())
    bench.run_calls()
    bench.receive(frame(TEXT, b"hel", fin=False) + frame(PING, b"?") + frame(CONT, b"lo")).run_calls().sleep(1)
    bench.run_calls()

    assert bench.out == written(PONG, b"?") + written(TEXT, b"5: ") + written(TEXT, b"hello")
    bench.take()
    bench.receive(close(4000)).run_calls()
    assert bench.out == written(CLOSE, (4000).to_bytes(2, "big"))
    bench.receive(b"").run_calls()
    assert not bench.held
    assert not bench.log


@pytest.mark.parametrize("letter", ["ж", b"\xd0\x96"], ids=["a character", "two bytes"])
@pytest.mark.parametrize("frames", [1, 500])
def test_a_message_in_tiny_pieces_takes_its_own_memory(letter, frames):
    app = Recorder()
    bench = opened(app)
    kind = TEXT if isinstance(letter, str) else BINARY
    raw = letter.encode() if isinstance(letter, str) else letter
    each = 2_000 // frames
    out = b"".join(frame(CONT if number else kind, raw * each, fin=number == frames - 1) for number in range(frames))
    pieces = cut(out, len(raw))
    with counting() as held:
        for piece in pieces[:-1]:
            bench.receive(piece)
        assert held() < 1.5 * 2_000 * len(raw) + 30_000
    bench.receive(pieces[-1])
    assert app.told == ["open", letter * 2_000]


@pytest.mark.parametrize("size", [1, 2])
def test_what_comes_while_a_callback_works_takes_its_own_memory(size):
    bench = opened(Blocking(), high_water=1_000)
    bench.run_calls().receive(frame(TEXT, b"x"))
    out = frame(TEXT, b"y" * 5_000) + frame(TEXT, b"z") * 100
    with counting() as held:
        for piece in cut(out, size):
            bench.receive(piece)
        assert held() < 1.5 * len(out) + 30_000
    while bench.calls:
        bench.run_calls()
    assert bench.out.endswith(written(TEXT, b"1: ") + written(TEXT, b"z"))


def test_every_form_of_every_callback():
    told = []

    def plain(self, *args):
        told.append(args[1:])

    def generator(self, *args):
        yield Sleep(1)
        told.append(args[1:])

    async def awaiting(self, *args):
        await Sleep(1)
        told.append(args[1:])

    for call in (plain, generator, awaiting, blocking(lambda self, *args: told.append(args[1:]))):
        told.clear()
        names = ("handshake", "on_open", "on_message", "on_pong", "on_close")
        bench = http(type("App", (WebSocketApp,), dict.fromkeys(names, call))()).receive(handshake())
        for data in (b"", frame(TEXT, b"x"), frame(PONG, b"y"), close()):
            if data:
                bench.receive(data)
            for _ in range(3):
                bench.run_calls().sleep(1)
        assert told == [(), (), ("x",), (b"y",), (1000, "")]
        assert not bench.log


def test_an_async_callback_needs_a_runtime_that_awaits():
    with pytest.raises(TypeError, match=r"Awaiting\.on_message is async def"):
        http(Awaiting(), can_await=False)


def test_subprotocols_as_one_text_would_match_its_letters():
    app = Plain()
    app.subprotocols = "chat"
    with pytest.raises(TypeError, match="list or tuple"):
        http(app)


def test_a_plain_callback_that_returns_a_coroutine():
    class App(WebSocketApp):
        def on_message(self, ws, message):
            return Awaiting.on_message(self, ws, message)

    bench = opened(App()).receive(frame(TEXT, b"x"))
    assert parsed(bench.out)[-1].code == CloseCode.INTERNAL_ERROR
    bench.receive(close(1011)).receive(b"")
    assert "write it as async def" in bench.log[0]


def test_read_body_would_take_the_frames_away():
    class App(WebSocketApp):
        def on_open(self, ws):
            yield ReadBody()

    bench = opened(App())
    assert parsed(bench.out)[-1].code == CloseCode.INTERNAL_ERROR


def test_receive_elsewhere():
    class App(HttpServerApp):
        def process_new_http(self, session):
            yield Receive()

    bench = http(App()).receive(get())
    assert status_of(bench.out) == 500
    assert "Receive is for the callbacks of a WebSocketApp" in bench.log[0]


# ── the handshake ────────────────────────────────────────────────────────────────────


def test_a_request_that_is_no_handshake():
    bench = http(Plain()).receive(get())

    assert status_of(bench.out) == 426
    assert b"Upgrade: websocket\r\n" in bench.out
    assert b"Sec-WebSocket-Version: 13\r\n" in bench.out
    assert not bench.held
    bench.take()
    assert status_of(bench.receive(handshake()).out) == 101  # on the same connection


def test_another_method():
    bench = http(Plain()).receive(handshake(method="DELETE"))

    assert status_of(bench.out) == 405
    assert b"Allow: GET\r\n" in bench.out


class Guarded(WebSocketApp):
    subprotocols = ("v1", "v2")

    def handshake(self, session):
        if session.get_header("x-token") != b"secret":
            raise Error.http_status(403, "who are you")
        return "v2" if session.get_header("x-want") == b"v2" else None


class GuardedSlowly(Guarded):
    def handshake(self, session):
        yield Sleep(1)
        return Guarded.handshake(self, session)


class GuardedByAnother(Guarded):
    async def handshake(self, session):
        await Sleep(1)
        return Guarded.handshake(self, session)


@pytest.mark.parametrize("kind", [Guarded, GuardedSlowly, GuardedByAnother])
def test_the_handshake_callback(kind):
    protocols = "Sec-WebSocket-Protocol: v1, v2"

    def answer(*fields):
        return http(kind()).receive(handshake(*fields)).run_calls().sleep(1).run_calls()

    refused = answer()
    assert status_of(refused.out) == 403
    assert body_of(refused.out) == b"who are you\n"
    assert not refused.log
    assert not refused.held
    assert b"Sec-WebSocket-Protocol: v1\r\n" in answer("X-Token: secret", protocols).out
    assert b"Sec-WebSocket-Protocol: v2\r\n" in answer("X-Token: secret", "X-Want: v2", protocols).out
    wrong = answer("X-Token: secret", "X-Want: v2", "Sec-WebSocket-Protocol: v1")
    assert status_of(wrong.out) == 500
    assert "did not offer" in wrong.log[0]


def test_a_handshake_callback_that_raises():
    class App(WebSocketApp):
        def handshake(self, session):
            raise RuntimeError("by order")

    bench = http(App()).receive(handshake())
    assert status_of(bench.out) == 500
    assert "by order" in bench.log[0]


def test_a_client_that_leaves_amid_the_handshake():
    app = GuardedSlowly()
    bench = http(app).receive(handshake()).lose(Error.custom("Gone"))
    bench.sleep(2)
    assert not bench.log
    assert not bench.held


def test_the_body_of_a_handshake_is_no_part_of_the_websocket():
    app = Recorder()
    raw = handshake("Content-Length: 8") + frame(TEXT, b"no") + frame(TEXT, b"yes")
    assert len(frame(TEXT, b"no")) == 8
    http(app).receive(raw).sleep(0)

    assert app.told == ["open", "yes"]


def test_what_the_handle_says():
    app = Recorder()
    app.subprotocols = ["a"]
    opened(app, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Extensions: permessage-deflate")
    ws = app.ws

    assert ws.subprotocol == "a"
    assert ws.request.target == b"/"
    assert ws.accepted.deflate is not None
    assert ws.is_open
    assert 0 < ws.room <= Limits().high_water
    assert ws.data is None


def test_without_deflate():
    app = Plain()
    app.deflate = False
    bench = http(app).receive(handshake("Sec-WebSocket-Extensions: permessage-deflate"))
    assert b"Extensions" not in bench.out


# ── the end ──────────────────────────────────────────────────────────────────────────


def test_the_client_closes():
    app = Recorder()
    bench = opened(app).receive(frame(TEXT, b"a") + close(4001))

    assert app.told == ["open", "a", (4001, "")]
    assert bench.out == written(CLOSE, (4001).to_bytes(2, "big"))
    assert bench.connection.shut_write
    assert not app.ws.is_open
    app.ws.send("nothing happens")
    app.ws.ping()
    app.ws.close()
    bench.settle().receive(b"")
    assert bench.connection.closing
    assert not bench.held


def test_the_client_goes_without_a_word():
    app = Recorder()
    bench = opened(app).receive(frame(TEXT, b"a")).receive(b"")

    assert app.told == ["open", "a", (1006, "the connection ended without a close frame")]
    assert not bench.held
    assert not bench.log


def test_the_connection_breaks():
    app = Recorder()
    bench = opened(app).lose(Error.custom("Gone"))

    assert [told if told == "open" else told[0] for told in app.told] == ["open", 1006]
    assert not bench.held
    assert not bench.log


def test_the_client_breaks_the_rules():
    app = Recorder()
    bench = opened(app).receive(frame(TEXT, b"a") + b"\x83\x80" + MASK)

    assert app.told == ["open", "a", (1002, "opcode 0x3")]
    assert parsed(bench.out)[-1].code == 1002
    assert bench.connection.shut_write


def test_we_close():
    app = Recorder()
    bench = opened(app)
    app.ws.send("last")
    app.ws.close(4000, "bye")
    bench.settle()
    assert bench.take() == written(TEXT, b"last") + written(CLOSE, (4000).to_bytes(2, "big") + b"bye")
    assert app.told == ["open"]

    bench.receive(frame(TEXT, b"crossed") + frame(PING, b"p"))
    assert bench.take() == written(PONG, b"p")
    bench.receive(close(4000))
    assert app.told == ["open", (4000, "")]
    assert bench.connection.shut_write


def test_the_client_does_not_answer_our_close():
    app = Recorder()
    bench = opened(app)
    app.ws.close()
    bench.settle().sleep(9.9)
    assert app.told == ["open"]
    bench.sleep(0.1)
    assert app.told[-1] == (1006, "no close frame within ws_close_timeout")
    assert bench.connection.shut_write
    bench.sleep(1)  # linger_timeout
    assert bench.connection.closing
    bench.lose()
    assert not bench.held


def test_a_client_that_reads_slowly_hears_the_end_before_it_is_to_end_its_side():
    bench = opened(Recorder()).pause()
    bench.receive(close(1000))
    bench.sleep(5)  # linger_timeout is 1
    assert not bench.connection.closing
    assert bench.unpause().take() == written(CLOSE, (1000).to_bytes(2, "big"))
    assert bench.connection.shut_write
    bench.sleep(1)
    assert bench.connection.closing


def test_another_exchange_closes_and_its_time_counts():
    """The last that this one has heard of the time was long ago."""
    app = Recorder()
    bench = opened(app, ws_ping_interval=None)
    bench.sleep(50)
    app.ws.close()
    bench.settle()
    assert app.told == ["open"]
    bench.receive(frame(PING)).sleep(9)
    app.ws.close()  # once more changes nothing
    bench.settle().sleep(0.9)
    assert app.told == ["open"]
    bench.sleep(0.1)
    assert app.told[-1][0] == 1006


def test_a_client_that_keeps_its_side_open():
    app = Recorder()
    bench = opened(app).receive(close())
    assert not bench.connection.closing
    bench.receive(b"still here" * 100).sleep(1)
    assert bench.connection.closing


FAILING = {
    "plain": lambda self, ws, *_: 1 / 0,
    "generator": lambda self, ws, *_: (yield 1 / 0),
}


@pytest.mark.parametrize("name", ["on_open", "on_message", "on_pong", "on_part"])
@pytest.mark.parametrize("form", FAILING)
def test_a_callback_that_raises(name, form):
    app = Recorder()
    app.__class__ = type("App", (Recorder,), {name: FAILING[form]})
    bench = opened(app)
    if name != "on_open":
        bench.receive(frame(PONG) if name == "on_pong" else frame(TEXT, b"x"))
    assert app.told[-1] == (1011, "ZeroDivisionError: division by zero")
    assert parsed(bench.out)[-1].code == 1011
    assert not bench.connection.shut_write  # the client's answer is awaited
    bench.receive(frame(TEXT, b"crossed") + close(1011)).receive(b"")
    assert "division by zero" in bench.log[0]
    assert len(bench.log) == 1
    assert not bench.held


def test_on_close_that_raises():
    class App(WebSocketApp):
        def on_close(self, ws, code, reason):
            raise RuntimeError("by order")

    bench = opened(App()).receive(close()).receive(b"")
    assert parsed(bench.out)[-1].code == 1000
    assert "by order" in bench.log[0]
    assert not bench.held


def test_text_that_is_none():
    class App(WebSocketApp):
        def on_open(self, ws):
            with pytest.raises(LocalProtocolError, match="UTF-8"):
                ws.send("\ud800")
            ws.send("still fine")

    assert opened(App()).out == written(TEXT, b"still fine")


# ── while a callback waits ───────────────────────────────────────────────────────────


class Slow(Recorder):
    def on_message(self, ws, message):
        self.told.append(message)
        yield Sleep(100)
        ws.send("done")


def test_pings_are_answered():
    bench = opened(Slow()).receive(frame(TEXT, b"a") + frame(PING, b"1"))
    assert bench.take() == written(PONG, b"1")
    bench.sleep(10).receive(frame(PING, b"2"))
    assert bench.take() == written(PONG, b"2")


def test_a_silent_client_is_asked_and_given_up():
    app = Slow()
    bench = opened(app).receive(frame(TEXT, b"a")).sleep(20)
    assert bench.take() == written(PING, b"1")
    bench.sleep(20)
    assert parsed(bench.take())[-1].code == 1011
    assert bench.connection.shut_write
    assert app.told == ["open", "a"]  # it has time to finish
    bench.sleep(60)
    assert app.told[-1][0] == 1011


def test_a_client_that_answers_stays():
    app = Slow()
    bench = opened(app).receive(frame(TEXT, b"a")).sleep(20).receive(frame(PONG, b"1")).sleep(20)
    bench.receive(frame(PONG, b"2")).sleep(20).receive(frame(PONG, b"3")).sleep(20).receive(frame(PONG, b"4")).sleep(20)
    assert app.told[:2] == ["open", "a"]
    assert MessagePart("done") in parsed(bench.out)
    assert app.ws.is_open


def test_the_next_one_waits_its_turn():
    app = Slow()
    opened(app).receive(frame(TEXT, b"a") + frame(TEXT, b"b")).sleep(10)
    assert app.told == ["open", "a"]


def test_a_close_frame_waits_for_answers_to_what_came_before():
    class App(Recorder):
        def on_message(self, ws, message):
            self.told.append(message)
            yield Sleep(0.1)
            ws.send(message)

    app = App()
    bench = opened(app).receive(frame(TEXT, b"a") + frame(TEXT, b"b")).receive(close(4000)).receive(b"")
    assert bench.out == b""
    bench.sleep(0.5)
    assert bench.out == written(TEXT, b"a") + written(TEXT, b"b") + written(CLOSE, (4000).to_bytes(2, "big"))
    assert app.told == ["open", "a", "b", (4000, "")]
    assert not bench.held


def test_it_does_not_wait_long_and_what_came_before_is_still_told():
    app = Slow()
    bench = opened(app).receive(frame(TEXT, b"a") + frame(TEXT, b"b") + close(4000))
    bench.sleep(0.9)
    assert bench.out == b""
    assert app.ws.is_open
    bench.sleep(0.1)
    assert bench.out == written(CLOSE, (4000).to_bytes(2, "big"))
    assert not app.ws.is_open
    bench.receive(b"").lose()
    bench.sleep(200)
    assert app.told == ["open", "a", "b", (4000, "")]
    assert not bench.log
    assert not bench.held


def test_a_fault_waits_for_answers_to_what_came_before():
    bench = opened(Generating()).receive(frame(TEXT, b"a") + b"\x83\x80" + MASK)
    bench.sleep(0.99)
    assert bench.out == b""
    bench.sleep(0.02)
    assert [type(event).__name__ for event in parsed(bench.out)][-1] == "Closed"


def test_an_end_without_a_close_frame_waits_for_answers_to_what_came_before():
    class App(Recorder):
        def on_message(self, ws, message):
            yield Sleep(0.1)
            ws.send(message)

    app = App()
    bench = opened(app).receive(frame(TEXT, b"a")).receive(b"").sleep(1)
    assert bench.out == written(TEXT, b"a")
    assert app.told[-1][0] == 1006
    assert not bench.held


def test_we_close_when_the_client_has():
    class App(Recorder):
        def on_message(self, ws, message):
            yield Sleep(0.1)
            ws.close(4002, "ours")
            ws.send("nothing happens")
            yield Sleep(50)

    app = App()
    bench = opened(app).receive(frame(TEXT, b"a") + close(4001)).sleep(0.5)
    assert bench.out == written(CLOSE, (4002).to_bytes(2, "big") + b"ours")
    assert bench.connection.shut_write
    bench.receive(b"").sleep(50)
    assert app.told[-1] == (4001, "")
    assert not bench.held


def test_who_only_sends_hears_of_the_end_at_once():
    class App(Recorder):
        def on_open(self, ws):
            self.told.append("open")
            while ws.is_open:
                ws.send("tick")
                yield Sleep(10)

    app = App()
    bench = opened(app).receive(close())
    assert bench.out == written(TEXT, b"tick") + written(CLOSE, b"\x03\xe8")
    bench.sleep(10)
    assert app.told == ["open", (1000, "")]


def test_a_connection_that_breaks_is_raised_where_it_waits():
    seen = []

    class App(Recorder):
        def on_message(self, ws, message):
            try:
                yield Sleep(100)
            except Error as exc:
                seen.append(exc)
                raise

    app = App()
    bench = opened(app).receive(frame(TEXT, b"a") + frame(TEXT, b"b")).lose(Error.custom("Gone"))
    assert len(seen) == 1
    assert app.told[-1][0] == 1006
    assert not bench.log
    assert not bench.held


def test_what_waits_is_bounded():
    """No more than high_water of events, and of bytes that were not looked at."""
    bench = opened(Slow(), high_water=10_000)
    fed = 0
    bench.receive(frame(TEXT, b"a"))
    while bench.connection.want_read:
        bench.receive(frame(BINARY, b"x" * 1000))
        fed += 1000
        assert fed < 30_000
    assert fed >= 10_000


def test_what_inflates_is_bounded():
    """64 messages of 1 MiB each fit into 64 KiB."""
    client = WebSocketSession(0.0, Limits(), mask=lambda: MASK, deflate=Deflate())
    bench = http(Slow()).receive(handshake("Sec-WebSocket-Extensions: permessage-deflate"))
    (exchange,) = bench.held.values()
    for _ in range(50):
        client.send(bytes(1_000_000))
    raw = b"".join(client.data_to_send())
    assert len(raw) < 100_000
    bench.receive(frame(TEXT, b"a"))
    for at in range(0, len(raw), 4096):
        bench.receive(raw[at : at + 4096])
    assert sum(len(event.data) for event in exchange.events) < 400_000


def test_no_ping_is_due_while_bytes_of_the_client_wait_unread():
    bench = opened(Slow(), high_water=1000).receive(frame(TEXT, b"a"))
    for _ in range(40):
        bench.receive(frame(BINARY, b"x" * 100))
    bench.take()
    bench.sleep(90)
    assert bench.out == b""
    bench.sleep(10)
    assert bench.out.startswith(written(TEXT, b"done"))


# ── room ─────────────────────────────────────────────────────────────────────────────


class Chatty(Recorder):
    def on_message(self, ws, message):
        self.told.append(len(message))
        ws.send(b"y" * 40_000)


def full(bench):
    """The client reads no more, which the next write shows."""
    bench.pause().receive(frame(PING, b"full"))
    return bench


def test_callbacks_wait_for_room():
    app = Chatty()
    bench = full(opened(app))
    bench.receive(frame(BINARY, b"x") * 10)
    assert app.told == ["open"]
    bench.unpause()
    assert app.told == ["open"] + [1] * 10


def test_receive_waits_for_room():
    bench = full(opened(Receiving()))
    bench.receive(frame(BINARY, b"x" * 100) * 10)
    bench.unpause()
    assert len([part for part in parsed(bench.out) if part.data == b"x" * 100]) == 10


def test_drain_waits_for_room():
    seen = []

    class App(WebSocketApp):
        def on_open(self, ws):
            for number in range(10):
                seen.append(number)
                ws.send(b"y" * 40_000)
                yield Drain()

    bench = http(App())
    bench.receive(handshake())
    assert len(seen) == 10
    seen.clear()
    bench = http(App())
    bench.pause()
    bench.receive(handshake())
    assert len(seen) == 1
    bench.unpause()
    assert len(seen) == 10


def test_pongs_for_a_client_that_does_not_read_are_the_latest_16():
    bench = full(opened(Recorder()))
    for number in range(100):
        bench.receive(frame(PING, b"%02d" % number))
    bench.unpause()
    assert bench.out == written(PONG, b"full") + b"".join(written(PONG, b"%02d" % number) for number in range(84, 100))


def test_who_sends_for_ever_ends_when_the_client_closes():
    """Drain does not return at once for ever."""

    class App(Recorder):
        def on_open(self, ws):
            self.told.append("open")
            while True:
                ws.send("tick")
                yield Drain()
                yield Sleep(1)

    app = App()
    bench = opened(app).sleep(5)
    assert bench.out == written(TEXT, b"tick") * 6
    bench.receive(close()).sleep(1)
    assert app.told == ["open", (1000, "")]
    assert not bench.log


def test_who_waits_for_room_when_the_client_closes():
    class App(Recorder):
        def on_message(self, ws, message):
            self.told.append(message)
            ws.send(b"y" * 100_000)
            yield Drain()
            self.told.append("room")

    app = App()
    bench = opened(app)
    bench.receive(frame(TEXT, b"a"))
    assert app.told[-1] == "room"
    bench.pause()
    bench.receive(frame(TEXT, b"b"))
    assert app.told[-1] == "b"
    bench.receive(close()).sleep(1)
    assert app.told[-1] == (1000, "")
    assert not bench.log


# ── other machines of the lane ───────────────────────────────────────────────────────


def test_anybody_of_the_lane_may_send():
    app = Recorder()
    bench = opened(app)
    app.ws.send("one")
    app.ws.send(b"two")
    app.ws.ping(b"?")
    bench.settle()
    assert bench.out == written(TEXT, b"one") + written(BINARY, b"two") + written(PING, b"?")
    bench.receive(frame(PONG, b"?"))
    assert app.told == ["open", ("pong", b"?")]


def test_a_blocking_callback_sends_when_it_has_returned():
    """It runs in another thread, and no machine is for two."""
    bench = opened(Blocking()).receive(frame(TEXT, b"x"))
    assert bench.out == b""
    member, command = bench.calls.pop()
    value = command.call()
    assert bench.settle().out == b""
    member.resume(command.token, value, bench.now)
    assert bench.settle().out == written(TEXT, b"1: ") + written(TEXT, b"x")


def test_a_blocking_callback_pings_and_closes():
    class App(Recorder):
        @blocking
        def on_message(self, ws, message):
            ws.ping(b"?")
            ws.send("a", last=False)
            ws.send("b")
            ws.close(4000)
            ws.send("nothing happens")

    app = App()
    bench = opened(app).receive(frame(TEXT, b"x")).run_calls()
    whole = written(PING, b"?") + written(TEXT, b"a", fin=False) + written(CONT, b"b") + written(CLOSE, b"\x0f\xa0")
    assert bench.out == whole
    bench.receive(close(4000))
    assert app.told[-1] == (4000, "")


# ── handed over by an HttpServerApp ──────────────────────────────────────────────────


class PlainHost(HttpServerApp):
    def __init__(self, app):
        self.app = app

    def process_new_http(self, session):
        return serve_websocket(session, self.app)


class GeneratorHost(PlainHost):
    def process_new_http(self, session):
        yield Sleep(1)
        return serve_websocket(session, self.app)


class AsyncHost(PlainHost):
    async def process_new_http(self, session):
        await Sleep(1)
        return serve_websocket(session, self.app)


HOSTS = [PlainHost, GeneratorHost, AsyncHost]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", [Plain, Generating, Awaiting, Blocking, Receiving, ByParts])
def test_handed_over(host, kind):
    bench = http(host(kind())).receive(handshake()).run_calls().sleep(1).run_calls()
    assert status_of(bench.out) == 101
    bench.out = b""
    bench.receive(frame(TEXT, b"hello")).run_calls().sleep(1).run_calls()
    assert bench.take() == written(TEXT, b"5: ") + written(TEXT, b"hello")
    bench.receive(close()).receive(b"").run_calls()
    assert not bench.held
    assert not bench.log


@pytest.mark.parametrize("host", HOSTS)
def test_handed_over_and_no_handshake(host):
    bench = http(host(Plain())).receive(get("/", "Content-Length: 3", method="POST") + b"abc")
    bench.run_calls().sleep(1).run_calls()
    assert status_of(bench.out) == 426
    assert not bench.held


@pytest.mark.parametrize("host", HOSTS)
def test_handed_over_and_gone_before(host):
    bench = http(host(Plain())).receive(handshake()).lose(Error.custom("Gone")).run_calls().sleep(1).run_calls()
    assert not bench.held
    assert not bench.log


@pytest.mark.parametrize("host", [PlainHost, GeneratorHost])
def test_handed_over_where_nothing_awaits(host):
    bench = http(host(Awaiting()), can_await=False).receive(handshake()).sleep(1)
    assert status_of(bench.out) == 500
    assert "Awaiting.on_message is async def" in bench.log[0]


def test_handed_over_too_late():
    class Host(HttpServerApp):
        def process_new_http(self, session):
            session.respond_error(404)
            return serve_websocket(session, Plain())

    bench = http(Host()).receive(handshake())
    assert status_of(bench.out) == 404
    assert "the request is answered" in bench.log[0]


# ── in the simulator ─────────────────────────────────────────────────────────────────


def test_in_the_simulator():
    """A quiet client that answers nothing, over virtual time."""
    world = World(seed=1)
    world.listen("10.0.0.1:80", HttpService(Linear()))
    client = Raw(world, handshake() + frame(TEXT, b"hello") + frame(TEXT, b"again"))
    world.client("10.0.0.1:80", client)
    world.settle()
    head, _, frames = client.data.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 101 ")
    events = parsed(frames)
    assert [event.data for event in events[:2]] == ["hello", "again"]
    assert events[2].data == b"1"
    assert events[-1].code == CloseCode.INTERNAL_ERROR
    assert world.now >= 40


class Linear(WebSocketApp):
    """One story, which takes its time."""

    def on_open(self, ws):
        while (message := (yield Receive())) is not None:
            yield Sleep(1)
            ws.send(message)
