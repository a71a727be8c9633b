"""serve, run and their ends: start, stop, signals, and that nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.listeners import ServerAddress
from sansio_pingora.machine import Closing, Dial, RunFilter, StopFilters
from sansio_pingora_asyncio import CAN_AWAIT, NAME, run, run_async, serve, serve_async
from sansio_pingora_posix import Control, ListeningSet
from tests.asyncio_adapter.machines import WAIT, App, Client, Echo, Steps, Wire, read_all, served

ANYWHERE = [ServerAddress.tcp("127.0.0.1:0")]


class Patient(Echo):
    """Finishes what it does before it drains: closes at the next piece of data."""

    def drain(self, now):
        self.seen.append(("drain",))

    def receive_data(self, data, now):
        if ("drain",) in self.seen:
            self.closing = Closing.AFTER_FLUSH
        return super().receive_data(data, now)


class Stubborn(Wire):
    """Knows no end."""

    def receive_eof(self, now):
        return []

    def drain(self, now):
        self.seen.append(("drain",))

    def abort(self, now):
        self.seen.append(("abort",))


def until_refused(address: tuple[str, int]) -> None:
    """Wait until nobody listens there."""
    while True:
        try:
            socket.create_connection(address, WAIT).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # just then


async def up(control: Control) -> None:
    assert await asyncio.to_thread(control.ready.wait, WAIT)


def run_loop(main, uv):
    factory = None
    if uv:
        from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def test_name_and_abilities():
    assert NAME == "asyncio"
    assert CAN_AWAIT is True


# ── start ────────────────────────────────────────────────────────────────────────────


def test_several_addresses_with_real_ports(uv, tmp_path):
    control = Control()
    addresses = [*ANYWHERE, ServerAddress.tcp("localhost:0"), ServerAddress.uds(f"{tmp_path}/s")]
    thread = threading.Thread(target=serve, args=(App(Echo), addresses), kwargs={"control": control, "uvloop": uv})
    thread.start()
    assert control.ready.wait(WAIT)
    assert len(control.addresses) == 3
    assert not any(address.endswith(":0") for address in control.addresses)
    assert control.addresses[2] == f"unix:{tmp_path}/s"
    control.stop()
    assert control.wait(WAIT)
    thread.join(WAIT)
    assert not os.path.exists(f"{tmp_path}/s")


def test_a_failed_bind_leaves_nothing_open(uv, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a socket")
    control = Control()
    app = App(Echo)
    addresses = [ServerAddress.uds(f"{tmp_path}/s"), ServerAddress.uds(str(in_the_way))]
    with pytest.raises(Error) as caught:
        serve(app, addresses, control=control, uvloop=uv)
    assert caught.value.etype is ErrorType.BIND_ERROR
    assert str(in_the_way) in str(caught.value)
    assert not control.ready.is_set()
    assert control.wait(0)
    assert app.lane is None
    assert not os.path.exists(f"{tmp_path}/s")


def test_an_application_that_does_not_fit_is_refused_before_bind(uv):
    class Unfit(App):
        def check(self, runtime, *, can_await):
            raise TypeError("not here")

    control = Control()
    with pytest.raises(TypeError, match="not here"):
        serve(Unfit(), ANYWHERE, control=control, uvloop=uv)
    assert control.addresses == []
    assert control.wait(0)


def test_stopped_before_it_starts(uv):
    control = Control()
    control.stop()
    serve(App(Echo), ANYWHERE, control=control, uvloop=uv)
    assert control.wait(0)


def test_without_uvloop_asyncio_serves(monkeypatch):
    monkeypatch.setattr("sansio_pingora_asyncio.serving.find_spec", lambda name: None)
    kinds = []

    def start(lane, now):
        kinds.append(type(asyncio.get_running_loop()).__module__.split(".")[0])

    run(start)
    run(start, uvloop=False)
    assert kinds == ["asyncio", "asyncio"]


def test_in_a_running_loop_it_says_what_to_call(uv):
    async def main():
        with pytest.raises(LocalProtocolError, match="await serve_async"):
            serve(App(), ANYWHERE, uvloop=uv)

    run_loop(main(), uv)


def test_cancelled_while_it_binds(uv, monkeypatch):
    """The thread that binds cannot be stopped: what it bound is closed when it comes."""
    begun, gate = threading.Event(), threading.Event()
    sets = []

    class Slow(ListeningSet):
        @classmethod
        def bind(cls, *args, **kwargs):
            begun.set()
            gate.wait(WAIT)
            sets.append(ListeningSet.bind(*args, **kwargs))
            return sets[0]

    monkeypatch.setattr("sansio_pingora_asyncio.serving.ListeningSet", Slow)
    control = Control()

    async def main():
        server = asyncio.create_task(serve_async(App(), ANYWHERE, control=control))
        await asyncio.to_thread(begun.wait, WAIT)
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        gate.set()
        while not sets or sets[0].listeners[0].sock.fileno() != -1:  # noqa: ASYNC110 - it is closed without a word
            await asyncio.sleep(0.001)

    run_loop(main(), uv)
    assert control.wait(0)


# ── stop ─────────────────────────────────────────────────────────────────────────────


def test_a_graceful_stop_waits_for_what_is_under_way(uv):
    app = App(Patient)
    with served(app, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        server.control.stop()
        wire = app.first()
        until_refused((server.address.host, server.address.port))
        assert wire.names() == ["drain"]
        assert not server.control.wait(0)
        sock.sendall(b"two")
        assert read_all(sock) == b"two"
        assert server.control.wait(WAIT)
        assert app.drained == 1


def test_a_graceful_stop_of_an_idle_server_is_over_at_once(uv):
    with served(App(Echo), uvloop=uv, grace_period=1e6) as server:
        server.end(graceful=True)


def test_a_second_stop_is_at_once(uv):
    app = App(Patient)
    with served(app, uvloop=uv, grace_period=1e6) as server, server.connect() as sock:
        wire = app.first()
        server.control.stop()
        server.end(graceful=False)
        assert wire.names()[-2:] == ["abort", "lost"]
        assert wire.reason is None
        with pytest.raises(ConnectionResetError):
            sock.recv(10)


@pytest.mark.parametrize("machine", [Patient, Stubborn])
def test_the_end_of_grace_aborts_what_is_left(uv, machine, caplog):
    app = App(machine)
    with served(app, uvloop=uv, grace_period=0.01) as server, server.connect() as sock:
        wire = app.first()
        server.end(graceful=True)
        assert wire.names()[0] == "drain"
        assert wire.names()[-1] == "lost"
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    assert "the grace period is over" in caplog.text


def test_a_stop_meets_connections_in_the_backlog(uv):
    """Those that came in just before are closed, not forgotten."""
    for _ in range(5):
        with served(App(Echo), uvloop=uv) as server:
            socks = [server.connect() for _ in range(20)]
            server.end(graceful=True)
            for sock in socks:
                with sock, suppress(ConnectionResetError):
                    assert sock.recv(1) == b""


def test_a_filter_under_way_is_waited_for_in_grace_and_cancelled_after_it(uv):
    """The last log line of an exchange may be a deferred filter, and come when its transport is gone."""

    class Logging(App):
        def __init__(self, story):
            super().__init__(Echo)
            self.steps = Steps(story)

        def drain(self, now):
            super().drain(now)
            self.steps.start(self.lane, now)

    heard = []

    async def last_words():
        await asyncio.sleep(0.01)
        heard.append("said")

    async def endless():
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            heard.append("swallowed")
        try:
            await asyncio.sleep(WAIT)
        finally:
            heard.append("cancelled")

    def polite(steps):
        yield RunFilter(1, last_words, is_async=True)
        yield StopFilters()

    def impolite(steps):
        yield RunFilter(1, endless, is_async=True)

    with served(Logging(polite), uvloop=uv, grace_period=1e6) as server:
        server.end(graceful=True)
    assert heard == ["said"]
    with served(Logging(impolite), uvloop=uv, grace_period=0.01) as server:
        server.end(graceful=True)
    assert heard == ["said", "swallowed", "cancelled"]


def test_a_call_that_blocks_does_not_hold_up_the_end(uv):
    gate = threading.Event()
    steps = Steps(lambda steps: (yield RunFilter(1, lambda: gate.wait(WAIT))))
    app = App(Echo)
    with served(app, uvloop=uv) as server:
        server.control.ready.wait(WAIT)
        with server.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        app.open = None

        class Starter(Echo):
            def receive_data(self, data, now):
                steps.start(app.lane, now)
                return super().receive_data(data, now)

        app.factory = Starter
        with server.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        server.end(graceful=False)
    gate.set()
    assert steps.answers == []


# ── nothing is left ──────────────────────────────────────────────────────────────────


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_left_in_a_loop_of_somebody_else(uv):
    app = App(Patient)

    async def once():
        control = Control()
        server = asyncio.create_task(serve_async(app, ANYWHERE, control=control, grace_period=0.01))
        await up(control)
        host, port = control.addresses[0].split(":")
        streams = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        streams[0][1].write(b"x")
        assert await streams[0][0].read(1) == b"x"
        control.stop()
        await server
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for reader, writer in streams:
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            writer.close()
        await asyncio.sleep(0.01)
        return open_descriptors()

    async def main():
        # What the first round leaves is the loop's own: a thread that it keeps, and what wakes it.
        assert await once() == await once()
        if not uv:
            loop = asyncio.get_running_loop()
            assert [handle for handle in loop._scheduled if not handle.cancelled()] == []

    run_loop(main(), uv)
    assert all(wire.lost.is_set() for wire in app.connections)


def test_cancelling_aborts_all(uv):
    app = App(Patient)
    control = Control()

    async def main():
        loop = asyncio.get_running_loop()
        server = loop.create_task(serve_async(app, ANYWHERE, control=control))
        await up(control)
        host, port = control.addresses[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_loop(main(), uv)
    assert control.wait(0)
    assert app.connections[0].names()[-2:] == ["abort", "lost"]


@pytest.mark.parametrize("turns", range(6))
def test_somebody_cancels_every_task_of_the_loop(uv, turns):
    """As programs do at their end: whatever stage a new connection is in, nothing hangs and nothing is left."""
    app = App(Patient)
    control = Control()

    async def main():
        server = asyncio.create_task(serve_async(app, ANYWHERE, control=control))
        await up(control)
        before = open_descriptors()
        host, port = control.addresses[0].split(":")
        socks = [socket.create_connection((host, int(port))) for _ in range(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        for sock in socks:
            with sock, suppress(ConnectionResetError):
                sock.settimeout(WAIT)
                assert sock.recv(1) == b""
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert open_descriptors() < before

    run_loop(main(), uv)
    assert all(wire.lost.is_set() for wire in app.connections)


def test_two_servers_share_a_loop(uv):
    async def main():
        loop = asyncio.get_running_loop()
        controls = [Control(), Control()]
        servers = [loop.create_task(serve_async(App(Echo), ANYWHERE, control=control)) for control in controls]
        for control in controls:
            await up(control)
        wires = [Quitter(b"to the first"), Quitter(b"to the second")]
        for control, wire in zip(controls, wires, strict=True):
            address = ServerAddress.parse(control.addresses[0]).addr
            await run_async(Steps(lambda steps, a=address, w=wire: (yield Dial(1, a, steps.endpoint(w)))).start)
        for control in controls:
            control.stop()
        await asyncio.gather(*servers)
        return [bytes(wire.received) for wire in wires]

    assert run_loop(main(), uv) == [b"to the first", b"to the second"]


class Quitter(Client):
    """Hears one piece and closes."""

    def receive_data(self, data, now):
        super().receive_data(data, now)
        self.closing = Closing.AFTER_FLUSH
        return []


# ── run ──────────────────────────────────────────────────────────────────────────────


def test_run_ends_when_nothing_can_happen(uv):
    run(lambda lane, now: None, uvloop=uv)


def test_run_waits_for_deadlines(uv):
    def story(steps):
        for _ in range(3):
            steps.deadline = time.monotonic() + 0.002
            assert (yield None) == "timeout"
        steps.answers.append((0, "done"))

    steps = Steps(story)
    steps.run(uv)
    assert steps.answers == [(0, "done")]


def test_run_is_stopped_by_its_control(uv):
    control = Control()
    app = App(Echo)
    with served(app, uvloop=uv) as server:
        wire = Client(b"x")
        steps = Steps(lambda steps: (yield Dial(1, server.address, steps.endpoint(wire))))
        thread = threading.Thread(target=run, args=(steps.start,), kwargs={"control": control, "uvloop": uv})
        thread.start()
        app.first()
        while not wire.received:
            time.sleep(0.001)
        control.stop()
        assert control.wait(WAIT)
        thread.join(WAIT)
        assert wire.names() == ["drain", "lost"]


def test_what_start_raises_comes_out(uv):
    def start(lane, now):
        raise ZeroDivisionError

    control = Control()
    with pytest.raises(ZeroDivisionError):
        run(start, control=control, uvloop=uv)
    assert control.wait(0)


# ── signals ──────────────────────────────────────────────────────────────────────────

PROGRAM = """
import sys
from sansio_pingora.listeners import ServerAddress
from sansio_pingora_asyncio import serve
from sansio_pingora_posix import Control
from tests.asyncio_adapter.machines import App
from tests.asyncio_adapter.test_serving import Patient

class Talking(Control):
    def __init__(self):
        super().__init__()
        self.ready.set = lambda: print(self.addresses[0], flush=True)

serve(App(Patient), [ServerAddress.tcp("127.0.0.1:0")], control=Talking(), uvloop=sys.argv[1] == "uvloop")
print("returned", flush=True)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_gracefully_and_then_at_once(loop, signum):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, loop],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        text=True,
    )
    with process:
        host, port = process.stdout.readline().strip().split(":")
        with socket.create_connection((host, int(port)), WAIT) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            process.send_signal(signum)
            until_refused((host, int(port)))
            assert process.poll() is None
            process.send_signal(signum)
            assert process.stdout.read() == "returned\n"
        assert process.wait(WAIT) == 0


def test_a_graceful_stop_logs_nothing(uv, caplog):
    caplog.set_level(logging.INFO)
    app = App(Echo)
    with served(app, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        server.end(graceful=True)
    assert [record for record in caplog.records if record.name.startswith(("sansio_pingora", "asyncio"))] == []
