"""Dial and CancelDial: what the machines that ask are answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import CancelDial, Closing, Dial
from sansio_pingora.transport import DialOptions, SocketAddr, TransportInfo
from sansio_pingora_asyncio import connect, run
from sansio_pingora_posix import Control
from tests.asyncio_adapter.machines import App, Client, Echo, Nobody, Steps, served


@pytest.fixture
def nobody():
    """An address that refuses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield SocketAddr(*sock.getsockname())


@pytest.fixture
def silence():
    """An address whose backlog is full: a connect neither succeeds nor fails."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        callers = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(door.getsockname())
            callers.append(caller)
        yield SocketAddr(*door.getsockname())
        for caller in callers:
            caller.close()


class Quitter(Client):
    """Hears one piece and closes."""

    def receive_data(self, data, now):
        super().receive_data(data, now)
        self.closing = Closing.AFTER_FLUSH
        return []


@pytest.mark.parametrize("kind", ["number", "name", "unix"])
def test_a_dialled_connection_carries_bytes(uv, kind, tmp_path):
    with served(App(Echo), f"unix:{tmp_path}/s" if kind == "unix" else "127.0.0.1:0", uvloop=uv) as server:
        address = SocketAddr("localhost", server.address.port) if kind == "name" else server.address
        wire = Quitter(b"hello")

        def story(steps):
            endpoint = steps.endpoint(wire)
            info = yield Dial(1, address, endpoint)
            # The endpoint has its transport before the answer: nothing that the answer starts is lost.
            steps.seen = (endpoint.driver is not None, endpoint in steps.lane.endpoints, endpoint.info is info)

        steps = Steps(story)
        steps.run(uv)

        assert wire.received == b"hello"
        assert wire.reason is None
        assert steps.seen == (True, True, True)
        [(token, info)] = steps.answers
        assert token == 1
        assert isinstance(info, TransportInfo)
        assert info.peer == server.address
        assert info.established <= time.monotonic()


def test_a_refusal_is_named(uv, nobody):
    steps = Steps(lambda steps: (yield Dial(7, nobody, steps.endpoint(Client()))))
    steps.run(uv)
    [(token, error)] = steps.answers
    assert token == 7
    assert isinstance(error, Error)
    assert error.etype is ErrorType.CONNECT_REFUSED
    assert str(nobody) in str(error)


def test_a_name_that_does_not_exist_has_no_route(uv):
    steps = Steps(lambda steps: (yield Dial(1, SocketAddr("nowhere.invalid", 80), steps.endpoint(Client()))))
    steps.run(uv)
    [(_, error)] = steps.answers
    assert error.etype is ErrorType.CONNECT_NO_ROUTE
    assert "nowhere.invalid" in str(error)


def test_a_tweak_that_fails_is_the_answer(uv, nobody):
    def tweak(sock):
        raise ZeroDivisionError

    options = DialOptions(tweak=tweak)
    steps = Steps(lambda steps: (yield Dial(1, nobody, steps.endpoint(Client()), options)))
    steps.run(uv)
    [(_, error)] = steps.answers
    assert error.etype is ErrorType.INTERNAL_ERROR
    assert isinstance(error.cause, ZeroDivisionError)


def test_a_dial_is_given_up(uv, silence):
    wire = Client(b"hello")

    def story(steps):
        steps.deadline = time.monotonic() + 0.01
        assert (yield Dial(1, silence, steps.endpoint(wire))) == "timeout"
        yield CancelDial(1)
        yield CancelDial(1)  # once more is harmless
        yield CancelDial(2)  # and so is one that never was

    steps = Steps(story)
    steps.run(uv)
    assert steps.answers == []
    assert wire.seen == []


@pytest.mark.parametrize("how", ["cancelled", "the end"])
def test_a_name_that_is_never_resolved_is_not_waited_for(how, monkeypatch):
    """Neither by who gives it up, nor by the end of the lane."""
    asked = []

    async def getaddrinfo(loop, host, port, **options):
        asked.append(host)
        await loop.create_future()

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    control = Control()

    def story(steps):
        steps.deadline = time.monotonic() + 0.01
        assert (yield Dial(1, SocketAddr("slow.test", 80), steps.endpoint(Client()))) == "timeout"
        if how == "cancelled":
            yield CancelDial(1)
        else:
            control.stop(graceful=False)

    steps = Steps(story)
    run(steps.start, control=control, uvloop=False)

    assert asked == ["slow.test"]
    assert steps.answers == []


@pytest.mark.parametrize("wait", [0.0, 0.0001, 0.0005, 0.001, 0.002])
def test_a_dial_that_is_given_up_at_any_time_leaves_nothing(uv, wait):
    """The answer and the cancellation may cross: the machine sees one of them, and nothing stays open."""
    app = App(Echo)
    with served(app, uvloop=uv) as server:
        wires = [Client() for _ in range(20)]

        def story(steps):
            steps.deadline = time.monotonic() + wait
            for token, wire in enumerate(wires[1:], 1):
                steps.commands.append(Dial(token, server.address, steps.endpoint(wire)))
            answer = yield Dial(0, server.address, steps.endpoint(wires[0]))
            while answer != "timeout":
                answer = yield None
            answered = {token for token, _ in steps.answers}
            for token, wire in enumerate(wires):
                if token in answered:
                    wire.closing = Closing.AFTER_FLUSH
                    wire.changed()
                else:
                    yield CancelDial(token)

        steps = Steps(story)
        steps.run(uv)
        for token, wire in enumerate(wires):
            dialled = token in {token for token, _ in steps.answers}
            assert wire.names() == (["lost"] if dialled else [])


# ── connect ──────────────────────────────────────────────────────────────────────────


def test_connect_drives_one_connection_to_its_end(uv):
    with served(App(Echo), uvloop=uv) as server:
        wire = Quitter(b"hello")
        connect(server.address, wire, Nobody(), uvloop=uv)
        assert wire.received == b"hello"
        assert wire.lost.is_set()


def test_connect_raises_what_went_wrong(uv, nobody):
    with pytest.raises(Error, match="cannot connect to") as caught:
        connect(nobody, Client(), Nobody(), uvloop=uv)
    assert caught.value.etype is ErrorType.CONNECT_REFUSED


def test_connect_gives_up_in_time(uv, silence):
    with pytest.raises(Error, match="no answer within") as caught:
        connect(silence, Client(), Nobody(), timeout=0.01, uvloop=uv)
    assert caught.value.etype is ErrorType.CONNECT_TIMEDOUT


def test_connect_works_beside_others(uv):
    """Each call has a loop of its own, in whatever thread."""
    with served(App(Echo), uvloop=uv) as server:
        wires = [Quitter(b"hello") for _ in range(8)]
        threads = [
            threading.Thread(target=connect, args=(server.address, wire, Nobody()), kwargs={"uvloop": uv})
            for wire in wires
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [bytes(wire.received) for wire in wires] == [b"hello"] * 8
