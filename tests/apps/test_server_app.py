"""Raw streams: the connection machine, and applications in every form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.apps import EchoApp, RawService, ServerApp
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing
from sansio_pingora.session import Call, Drain, ReadBody, Sleep, blocking
from tests.apps.bench import CLIENT, Bench


def raw(app, *, can_await=True, **limits):
    return Bench(RawService(app, Limits(**limits)), can_await=can_await)


class GeneratorEcho(ServerApp):
    def process_new(self, stream):
        while (data := (yield ReadBody())) is not None:
            if stream.write(data) <= 0:
                yield Drain()


class AsyncEcho(ServerApp):
    async def process_new(self, stream):
        while (data := await ReadBody()) is not None:
            if stream.write(data) <= 0:
                await Drain()
        stream.finish()


class HandedOver(ServerApp):
    def process_new(self, stream):
        return GeneratorEcho().process_new(stream)


ECHOES = [EchoApp, GeneratorEcho, AsyncEcho, HandedOver]


@pytest.mark.parametrize("app", ECHOES)
def test_every_form_echoes_until_the_client_finishes(app):
    bench = raw(app()).run_calls()
    for word in (b"one", b"two"):
        assert bench.receive(word).run_calls().take() == word
    assert not bench.connection.closing
    bench.receive(b"").run_calls()
    assert bench.connection.closing is Closing.AFTER_FLUSH
    assert bench.out == b""
    assert bench.log == []


@pytest.mark.parametrize("app", ECHOES)
@given(pieces=st.lists(st.binary(min_size=1, max_size=3000), max_size=20), stops=st.sets(st.integers(0, 20)))
def test_every_form_echoes_every_byte_past_a_reader_that_stops(app, pieces, stops):
    bench = raw(app(), high_water=1000).run_calls()
    for at, piece in enumerate(pieces):
        if at in stops and not bench.hold:
            bench.pause()
        if not bench.connection.want_read:
            bench.unpause().run_calls()
        bench.receive(piece).run_calls()
        assert bench.connection.held <= 5000
    if bench.hold:
        bench.unpause().run_calls()
    bench.receive(b"").run_calls()
    assert bench.out == b"".join(pieces)
    assert bench.connection.closing


@pytest.mark.parametrize("app", ECHOES)
def test_a_silent_stream_is_closed(app):
    bench = raw(app(), read_timeout=5).run_calls()
    bench.receive(b"x").run_calls()
    bench.sleep(4).receive(b"y").run_calls()
    assert not bench.sleep(4).connection.closing
    assert bench.sleep(2).run_calls().connection.closing is Closing.ABORT
    assert bench.log == []


def test_a_reader_that_takes_nothing_is_given_up():
    bench = raw(EchoApp(), write_idle_timeout=5, high_water=1000)
    bench.pause()
    bench.receive(b"x" * 2000)
    assert not bench.connection.want_read
    assert bench.sleep(6).connection.closing is Closing.ABORT


def test_the_server_may_speak_first():
    class App(ServerApp):
        def process_new(self, stream):
            stream.write(b"220 hello, %a\r\n" % str(stream.client_addr))

    assert raw(App()).out == b"220 hello, '192.0.2.1:4711'\r\n"


def test_the_other_direction_goes_on_after_our_end():
    seen = []

    class App(ServerApp):
        def process_new(self, stream):
            stream.write(b"bye")
            stream.finish()
            stream.finish()
            with pytest.raises(LocalProtocolError, match="has finished"):
                stream.write(b"more")
            while (data := (yield ReadBody())) is not None:
                seen.append(data)

    bench = raw(App())
    assert bench.out == b"bye"
    assert bench.connection.shut_write
    assert not bench.connection.closing
    bench.receive(b"one").receive(b"two").receive(b"")
    assert seen == [b"one", b"two"]
    assert bench.connection.closing


def test_the_end_of_the_callback_sends_what_was_written_and_lingers():
    class App(ServerApp):
        def process_new(self, stream):
            stream.write(b"answer to " + (yield ReadBody()))

    bench = raw(App())
    assert bench.receive(b"question").out == b"answer to question"
    assert bench.connection.shut_write
    bench.receive(b"unread")
    assert not bench.connection.closing
    bench.receive(b"")
    assert bench.connection.closing is Closing.AFTER_FLUSH


def test_lingering_ends_by_time_and_by_size():
    class App(ServerApp):
        def process_new(self, stream):
            yield from ()

    bench = raw(App())
    assert bench.connection.shut_write
    assert bench.sleep(2).connection.closing
    bench = raw(App(), linger_bytes=10)
    assert bench.receive(b"x" * 11).connection.closing


@pytest.mark.parametrize("effect", [ReadBody(), Sleep(9), Call(lambda: None)], ids=["read", "sleep", "call"])
def test_the_error_is_raised_where_it_waits(effect):
    seen = []

    class App(ServerApp):
        def process_new(self, stream):
            try:
                yield effect
            except Error as exc:
                seen.append(exc)
                stream.write(b"to nobody")
                stream.finish()
                raise

    gone = Error(ErrorType.READ_ERROR, "reset")
    bench = raw(App()).lose(gone)
    assert seen == [gone]
    assert bench.log == []
    assert bench.out == b""


def test_a_connection_that_is_aborted_from_our_side_ends_the_callback():
    seen = []

    class App(ServerApp):
        def process_new(self, stream):
            try:
                yield Sleep(1000)
            except Error as exc:
                seen.append(exc.etype)
                raise

    class Plain(ServerApp):
        def lost(self, stream, error):
            seen.append(error.etype)

    for app in (App(), Plain()):
        bench = raw(app)
        bench.connection.abort(bench.now)
        bench.settle().lose()
        assert bench.log == []
    assert seen == [ErrorType.CONNECTION_CLOSED] * 2


def test_a_callback_may_outlive_an_orderly_end():
    seen = []

    class App(ServerApp):
        def process_new(self, stream):
            stream.finish()
            seen.append((yield ReadBody()))
            yield Sleep(5)
            seen.append("clean")

    bench = raw(App()).receive(b"")
    assert bench.connection.closing
    bench.lose().sleep(6)
    assert seen == [None, "clean"]


def test_a_plain_application_is_told_of_everything():
    seen = []

    class App(ServerApp):
        def received(self, stream, data):
            seen.append(data)
            stream.write(data * 400)

        def finished(self, stream):
            seen.append("finished")

        def writable(self, stream):
            seen.append("writable")

        def lost(self, stream, error):
            seen.append(error.etype)

    bench = raw(App(), high_water=1000)
    bench.pause()
    bench.receive(b"abc").unpause().receive(b"").lose(Error(ErrorType.READ_ERROR, "reset"))
    assert seen == [b"abc", "writable", "finished", ErrorType.READ_ERROR]


@pytest.mark.parametrize("where", ["process_new", "received", "finished"])
def test_an_exception_resets_the_connection_and_is_logged(where):
    def fail(self, stream, *args):
        raise ZeroDivisionError("by nothing")

    app = type("App", (ServerApp,), {where: fail})()
    bench = raw(app).receive(b"x").receive(b"")
    assert bench.connection.closing is Closing.ABORT
    (line,) = bench.log
    assert line.startswith("App.process_new failed: by nothing, 192.0.2.1:4711")
    assert line.endswith("ZeroDivisionError: by nothing")


def test_an_exception_of_a_generator_too():
    class App(ServerApp):
        def process_new(self, stream):
            yield ReadBody()
            raise ZeroDivisionError

    bench = raw(App()).receive(b"x")
    assert bench.connection.closing is Closing.ABORT
    assert "ZeroDivisionError" in bench.log[0]


def test_an_application_may_abort():
    class App(ServerApp):
        def received(self, stream, data):
            stream.abort()

    bench = raw(App()).receive(b"x")
    assert bench.connection.closing is Closing.ABORT
    assert bench.log == []


def test_draining_closes_what_is_silent():
    bench = raw(EchoApp())
    bench.receive(b"x")
    bench.acceptor.drain(bench.now)
    bench.sleep(4).receive(b"y").sleep(4)
    assert not bench.connection.closing
    assert bench.sleep(2).connection.closing is Closing.AFTER_FLUSH


def test_forms_that_a_stream_cannot_have():
    @blocking
    class App(ServerApp):
        pass

    with pytest.raises(TypeError, match=r"App\.process_new is marked @blocking"):
        RawService(App())
    with pytest.raises(TypeError, match=r"AsyncEcho\.process_new is async def"):
        RawService(AsyncEcho()).check("gevent", can_await=False)
    with pytest.raises(TypeError, match="is not a ServerApp"):
        RawService(lambda stream: None)

    class Wrong(ServerApp):
        def process_new(self, stream):
            return 42

    assert "returned int: return None, or a generator" in raw(Wrong()).log[0]


def test_a_stream_knows_its_ends():
    streams = []

    class App(ServerApp):
        def process_new(self, stream):
            streams.append(stream)

    raw(App())
    assert streams[0].client_addr == CLIENT
    assert str(streams[0].server_addr) == "192.0.2.2:80"


# ── bytes that were read too far ─────────────────────────────────────────────────────


class PlainLines(ServerApp):
    """Answers each line; keeps nothing itself."""

    def received(self, stream, data):
        *lines, rest = data.split(b"\n")
        for line in lines:
            stream.write(b"<%b>" % line)
        stream.push_back(rest)

    def finished(self, stream):
        stream.write(b"left:%b" % (stream.take_pushed_back() or b""))
        stream.finish()


@given(pieces=st.lists(st.binary(min_size=1, max_size=9).map(lambda raw: raw.replace(b"<", b"\n")), max_size=12))
def test_what_a_plain_callback_pushes_back_comes_again_in_front(pieces):
    bench = raw(PlainLines())
    for piece in pieces:
        bench.receive(piece)
    bench.receive(b"")

    *lines, rest = b"".join(pieces).split(b"\n")
    assert bench.out == b"".join(b"<%b>" % line for line in lines) + b"left:" + rest


def test_the_piece_that_was_pushed_back_last_is_read_first():
    """Spec vectors 89 to 91."""
    reads = []

    class App(ServerApp):
        def process_new(self, stream):
            data = yield ReadBody()
            stream.push_back(data[4:])
            stream.push_back(data[:4])
            while (data := (yield ReadBody())) is not None:
                reads.append(data)

    bench = raw(App())
    bench.receive(b"abcdefgh")
    bench.receive(b"rest")
    bench.receive(b"")

    assert reads == [b"abcd", b"efgh", b"rest"]


def test_what_is_pushed_back_has_a_ceiling():
    class App(ServerApp):
        def received(self, stream, data):
            stream.push_back(data * 2)

    bench = raw(App(), high_water=100)
    bench.receive(b"x" * 60)

    assert bench.connection.closing
    assert "more than high_water, 100 bytes, pushed back" in str(bench.log)
