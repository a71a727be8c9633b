"""A whole server in this process, on every runtime: start, end, failures, and hand-over under load."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from sansio_pingora import HttpPeer, PeerOptions, ProxyHttp, Response
from sansio_pingora.apps import HttpServerApp, OriginApp
from sansio_pingora.errors import Error
from sansio_pingora.server import (
    ExecutionPhase,
    Frame,
    FrameKind,
    FrameReader,
    Opt,
    RunArgs,
    Server,
    ServerConf,
    ShutdownSignal,
    encode_frame,
)
from sansio_pingora.services import BackgroundService, FailurePolicy, Service
from sansio_pingora.session import Call, Sleep
from sansio_pingora.upstreams import ALPN
from sansio_pingora.wire import ResponseHeader
from sansio_pingora_posix import HandOverFailed, Receiver, Sender, handover
from tests.adapters.harness import GET, PATIENCE, client, served, until
from tests.tls.certs import ca, cert

every_runtime = pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])
P = ExecutionPhase


class Run:
    """A server that runs in a thread."""

    def __init__(self, server: Server, args: RunArgs | None = None) -> None:
        self.server = server
        self.phases: list[ExecutionPhase] = []
        self.code: int | None = None
        server.subscribe(self.phases.append)
        self.args = args
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.server.run(self.args)

    def up(self) -> Run:
        until(lambda: P.RUNNING in self.phases or self.code is not None)
        assert self.code is None
        return self

    def join(self) -> int:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        assert self.code is not None
        return self.code

    def address(self, name: str = "web") -> tuple[str, int]:
        host, _, port = self.server.addresses[name][0].rpartition(":")
        return host, int(port)


def make(
    runtime: str,
    app: object = None,
    *,
    listen: str = "127.0.0.1:0",
    h2c: bool = False,
    opt: Opt | None = None,
    **conf: object,
) -> Server:
    server = Server(opt, ServerConf(runtime=runtime, **{"grace_period_seconds": 10.0, **conf}))  # type: ignore[arg-type]
    web = Service("web", OriginApp() if app is None else app, h2c=h2c)
    web.add_tcp(listen)
    server.add_service(web)
    return server


@contextlib.contextmanager
def up(server: Server, args: RunArgs | None = None) -> Iterator[Run]:
    run = Run(server, args)
    try:
        yield run.up()
    finally:
        server.shutdown(ShutdownSignal.FAST_SHUTDOWN)
        run.join()


@every_runtime
def test_a_server_starts_and_ends_many_times(runtime):
    server = make(runtime)
    for _ in range(3):
        with up(server) as run:
            with client(run.address()) as peer:
                peer.send(GET)
                assert peer.message()[2] == b"Hello, world!"
            server.shutdown()
            assert run.join() == 0
            assert run.phases[-1] is P.TERMINATED
            server.observers.clear()


def test_an_observer_that_breaks_down_costs_no_client_an_answer(caplog):
    def observe(phase):
        raise OSError("the host of the metrics is down")

    server = make("threads")
    server.subscribe(observe)
    with up(server) as run, client(run.address()) as peer:
        peer.send(GET)
        assert peer.message()[2] == b"Hello, world!"
    assert "an observer of phase Running failed" in caplog.text
    assert "the host of the metrics is down" in caplog.text


@every_runtime
def test_what_is_under_way_ends_and_the_server_with_it(runtime):
    class Slow(HttpServerApp):
        def process_new_http(self, session):
            asked.set()
            while not go.is_set():
                yield Sleep(0.01)
            session.write_response_header(ResponseHeader(204, []), True)

    asked, go = threading.Event(), threading.Event()
    with up(make(runtime, Slow())) as run, client(run.address()) as peer:
        peer.send(GET)
        assert asked.wait(PATIENCE)
        run.server.shutdown()
        until(lambda: P.SHUTDOWN_GRACE_PERIOD in run.phases)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: not _connects(run.address()))
        go.set()
        start, fields = peer.head()
        assert start.startswith(b"HTTP/1.1 204")
        assert fields[b"connection"] == b"close"
        assert run.join() == 0


def _connects(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, PATIENCE):
        return True


@every_runtime
def test_a_second_signal_ends_at_once(runtime):
    class Never(HttpServerApp):
        def process_new_http(self, session):
            asked.set()
            yield Sleep(3600.0)

    asked = threading.Event()
    with up(make(runtime, Never())) as run, client(run.address()) as peer:
        peer.send(GET)
        assert asked.wait(PATIENCE)
        run.server.shutdown()
        run.server.shutdown()
        assert run.join() == 0
        assert peer.ended()


@every_runtime
def test_an_address_in_the_way_fails_the_start(runtime, tmp_path):
    (tmp_path / "taken").write_text("")
    server = make(runtime)
    other = Service("other", OriginApp())
    other.add_uds(str(tmp_path / "taken"))
    server.add_service(other)
    run = Run(server)
    assert run.join() == 1
    assert P.RUNNING not in run.phases


def test_who_depends_waits_and_is_told_how_long():
    class Cache(BackgroundService):
        def start_with_ready_notifier(self, shutdown, ready):
            warm.wait(PATIENCE)
            ready.notify_ready()
            shutdown.wait(PATIENCE)
            done.set()

    warm, done = threading.Event(), threading.Event()
    server = make("threads")
    handle = server.add_service(Cache("cache"))
    waited = []
    server.services["web"].on_startup_delay = waited.append
    server.graph.add_dependency("web", handle.name)
    run = Run(server)
    until(lambda: P.BOOTSTRAP_COMPLETE in run.phases)
    assert P.RUNNING not in run.phases
    warm.set()
    run.up()
    assert len(waited) == 1
    server.shutdown()
    assert run.join() == 0
    assert done.is_set()


@every_runtime
def test_background_services_of_each_form(runtime):
    class Generating(BackgroundService):
        def start_with_ready_notifier(self, shutdown, ready):
            yield Sleep(0.01)
            done.append((yield Call(lambda: "called")))
            ready.notify_ready()
            yield Call(shutdown.wait)
            done.append("generator")

    class Awaiting(BackgroundService):
        async def start(self, shutdown):
            done.append(await Call(lambda: "called"))
            await Call(shutdown.wait)
            done.append("async")

    class Failing(BackgroundService):
        def start(self, shutdown):
            yield Sleep(0.0)
            raise OSError("the disk is full")

    done: list[str] = []
    server = make(runtime)
    server.add_service(Generating("generating"))
    server.add_service(Failing("failing", failure=FailurePolicy.CONTINUE))
    if runtime == "asyncio":
        server.add_service(Awaiting("awaiting"))
    with up(server) as run:
        until(lambda: done.count("called") == 1 + (runtime == "asyncio"))
        server.shutdown()
        assert run.join() == 0
    forms = ["async", "generator"] if runtime == "asyncio" else ["generator"]
    assert sorted(done) == sorted(forms + ["called"] * len(forms))


@pytest.mark.parametrize("runtime", ["gevent", "threads"])
def test_a_background_service_that_awaits_is_refused_where_nothing_does(runtime):
    class Awaiting(BackgroundService):
        async def start(self, shutdown):
            raise AssertionError

    server = make(runtime)
    server.add_service(Awaiting("awaiting"))
    with pytest.raises(TypeError, match=rf"Awaiting.start is async def, which the {runtime} runtime cannot run"):
        server.bootstrap()


def test_a_service_that_breaks_is_started_again():
    class Flaky(BackgroundService):
        def start(self, shutdown):
            tries.append(1)
            if len(tries) < 3:
                raise OSError("not yet")
            shutdown.wait(PATIENCE)

    tries: list[int] = []
    server = make("threads")
    server.add_service(Flaky("flaky", failure=FailurePolicy.RETRY))
    with up(server):
        until(lambda: len(tries) == 3)


def test_another_source_of_shutdown():
    class Watch:
        def recv(self):
            return asked.get()

    asked: queue.SimpleQueue[ShutdownSignal] = queue.SimpleQueue()
    with up(make("asyncio"), RunArgs(Watch())) as run:
        asked.put(ShutdownSignal.GRACEFUL_TERMINATE)
        assert run.join() == 0
        asked.put(ShutdownSignal.FAST_SHUTDOWN)


# ── hand-over ────────────────────────────────────────────────────────────────────────


class Load:
    """Clients that keep their connections, and send on a new one only when the server has said close."""

    def __init__(self, address: tuple[str, int], clients: int) -> None:
        self.address = address
        self.failures: list[str] = []
        self.answers = [0] * clients
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        try:
            while not self.over.is_set():
                with client(self.address) as peer:
                    closing = False
                    while not closing and not self.over.is_set():
                        if number % 4 == 0:
                            body = b"u" * 5000
                            peer.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + body)
                            time.sleep(0.02)
                            peer.send(body)
                            wanted = body + body
                        else:
                            peer.send(GET)
                            wanted = b"Hello, world!"
                        start, fields, got = peer.message()
                        assert start.startswith(b"HTTP/1.1 200"), start
                        assert got == wanted
                        self.answers[number] += 1
                        closing = fields.get(b"connection", b"").lower() == b"close"
                        time.sleep(0.01 * (number % 5))
        except BaseException as exc:
            self.failures.append(f"client {number}: {exc!r}")

    def more(self) -> None:
        """Wait until every client has had an answer more."""
        seen = list(self.answers)
        until(lambda: self.failures or all(now > then + 1 for now, then in zip(self.answers, seen, strict=True)))

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        assert self.failures == []


@pytest.mark.parametrize("rounds", [["threads", "asyncio", "gevent", "threads", "asyncio", "gevent"] * 2])
def test_ten_upgrades_over_all_runtimes_without_a_lost_request(rounds, tmp_path):
    sock = str(tmp_path / "up.sock")
    old = Run(make("asyncio", upgrade_sock=sock)).up()
    runs = [old]
    # A new process has the same configuration: the name of the address is what finds the socket.
    load = Load(old.address(), 12)
    try:
        for runtime in rounds[:10]:
            load.more()
            new = Run(make(runtime, opt=Opt(upgrade=True), upgrade_sock=sock))
            runs.append(new)
            until((tmp_path / "up.sock").exists)
            old.server.shutdown(ShutdownSignal.GRACEFUL_UPGRADE)
            new.up()
            assert old.join() == 0
            assert P.GRACEFUL_UPGRADE_CLOSE_TIMEOUT in old.phases
            old = new
        load.more()
    finally:
        load.end()
        for run in runs:
            run.server.shutdown(ShutdownSignal.FAST_SHUTDOWN)
            run.join()


def test_upgrades_behind_a_proxy_that_speaks_http2(tmp_path):
    class Over(ProxyHttp):
        def upstream_peer(self, session, ctx):
            return HttpPeer("{}:{}".format(*old.address()), options=PeerOptions(alpn=ALPN.H2, max_h2_streams=100))

    sock = str(tmp_path / "up.sock")
    old = Run(make("asyncio", h2c=True, upgrade_sock=sock)).up()
    runs = [old]
    try:
        with served(Over(), "threads") as proxy:
            load = Load(proxy.address, 12)
            for runtime in ["threads", "gevent", "asyncio"]:
                load.more()
                new = Run(make(runtime, opt=Opt(upgrade=True), h2c=True, upgrade_sock=sock))
                runs.append(new)
                until((tmp_path / "up.sock").exists)
                old.server.shutdown(ShutdownSignal.GRACEFUL_UPGRADE)
                new.up()
                assert old.join() == 0
                old = new
            load.more()
            load.end()
    finally:
        for run in runs:
            run.server.shutdown(ShutdownSignal.FAST_SHUTDOWN)
            run.join()


def test_a_websocket_stays_with_the_old_process_until_the_end_of_the_grace_period(tmp_path):
    sock = str(tmp_path / "up.sock")
    with up(make("asyncio", upgrade_sock=sock)) as old, connect("ws://{}:{}/ws".format(*old.address())) as ws:
        ws.send("before")
        assert ws.recv(PATIENCE) == "before"
        new = Run(make("threads", opt=Opt(upgrade=True), upgrade_sock=sock))
        try:
            until((tmp_path / "up.sock").exists)
            old.server.shutdown(ShutdownSignal.GRACEFUL_UPGRADE)
            new.up()
            until(lambda: P.SHUTDOWN_GRACE_PERIOD in old.phases)
            ws.send("after")
            assert ws.recv(PATIENCE) == "after"
            ws.close()
            assert old.join() == 0
        finally:
            new.server.shutdown(ShutdownSignal.FAST_SHUTDOWN)
            new.join()


def dies_at_once(receiver: Receiver) -> None:
    """Nobody listens any more, and the socket's file may be left."""


def dies_with_the_sockets(receiver: Receiver) -> None:
    for _, sock in receiver.receive(PATIENCE):
        sock.close()


def speaks_another_language(receiver: Receiver) -> None:
    socks = receiver.receive(PATIENCE)
    receiver._peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
    for _, sock in socks:
        sock.close()
    receiver._peer.recv(100)


@pytest.mark.parametrize("step", [dies_at_once, dies_with_the_sockets, speaks_another_language])
@every_runtime
def test_a_new_process_that_dies_changes_nothing(runtime, step, tmp_path):
    sock = str(tmp_path / "up.sock")
    conf = {"upgrade_sock": sock, "upgrade_sock_connect_accept_max_retries": 0}
    with up(make(runtime, **conf)) as run:
        load = Load(run.address(), 4)
        load.more()
        receiver = Receiver(sock)
        if step is dies_at_once:
            receiver.close()
        run.server.shutdown(ShutdownSignal.GRACEFUL_UPGRADE)
        step(receiver)
        receiver.close()
        until(lambda: run.phases.count(P.RUNNING) == 2)
        assert P.GRACEFUL_UPGRADE_TRANSFERRING_FDS in run.phases
        load.more()
        load.end()


def test_term_amid_a_hand_over_leaves_the_sockets_to_the_new_process(tmp_path):
    sock = str(tmp_path / "up.sock")
    with up(make("threads", upgrade_sock=sock)) as run:
        receiver = Receiver(sock)
        run.server.shutdown(ShutdownSignal.GRACEFUL_UPGRADE)
        ((name, inherited),) = receiver.receive(PATIENCE)
        assert name == "127.0.0.1:0"
        address = inherited.getsockname()
        run.server.shutdown()
        assert run.join() == 0
        receiver.acknowledge()
        assert _connects(address)
        inherited.close()
        receiver.close()


def test_a_new_process_that_is_too_slow_is_told_that_the_old_one_goes_on(tmp_path):
    sock = str(tmp_path / "up.sock")
    receiver = Receiver(sock)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sender = Sender(sock, [("a", listening)], retries=0, timeout=0.0)
        failures: list[HandOverFailed] = []

        def send() -> None:
            try:
                sender.run()
            except HandOverFailed as exc:
                failures.append(exc)

        thread = threading.Thread(target=send)
        thread.start()
        ((_, inherited),) = receiver.receive(PATIENCE)
        thread.join(PATIENCE)
        inherited.close()
        assert "not up within 0 s" in str(failures[0])
        with pytest.raises(HandOverFailed, match="withdrawn and goes on serving"):
            receiver.acknowledge()
    receiver.close()


@pytest.mark.parametrize("at", ["behind the last byte", "as it is withdrawn"])
def test_an_acknowledgement_counts_whenever_it_comes(at, tmp_path, monkeypatch):
    receiver = Receiver(str(tmp_path / "up.sock"))

    def acknowledges() -> None:
        receiver.acknowledge()
        receiver.close()

    def send_fds(*args: object) -> int:
        sent = real(*args)
        ((_, inherited),) = receiver.receive(PATIENCE)
        inherited.close()
        if at == "behind the last byte":
            acknowledges()
        return sent

    def encode(kind: FrameKind) -> bytes:
        if kind is FrameKind.WITHDRAWN:
            acknowledges()
        return encode_frame(kind)

    real = socket.send_fds
    monkeypatch.setattr(socket, "send_fds", send_fds)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        timeout = 0.0 if at == "as it is withdrawn" else PATIENCE
        sender = Sender(str(tmp_path / "up.sock"), [("a", listening)], retries=0, timeout=timeout)
        monkeypatch.setattr(handover, "encode_frame", encode)
        sender.run()


def test_two_new_processes_at_once(tmp_path):
    sock = str(tmp_path / "up.sock")
    first = Receiver(sock)
    with pytest.raises(HandOverFailed, match="another process waits for sockets"):
        Receiver(sock)
    run = Run(make("threads", opt=Opt(upgrade=True), upgrade_sock=sock))
    assert run.join() == 1
    first.close()
    Receiver(sock).close()  # a lock and a file that were left behind are in nobody's way


def test_strangers_at_the_socket_are_nothing(tmp_path):
    sock = str(tmp_path / "up.sock")
    receiver = Receiver(sock)
    answers: list[object] = []

    def receive() -> None:
        try:
            answers.append(receiver.receive(PATIENCE))
        except HandOverFailed as exc:
            answers.append(exc)

    thread = threading.Thread(target=receive)
    thread.start()
    for raw in (b"", b"GET / HTTP/1.1\r\n\r\n", encode_frame(FrameKind.SOCKETS, {"names": ["a"], "left": 0})):
        with client(sock) as stranger:
            stranger.send(raw)
    with client(sock) as old:
        old.send(encode_frame(FrameKind.SOCKETS, {"names": [], "left": 0}))
        thread.join(PATIENCE)
        assert answers == [[]]
        receiver.acknowledge()
        assert FrameReader().receive_data(old.sock.recv(100)) == [Frame(FrameKind.ACKNOWLEDGED, {})]
    receiver.close()


def test_a_callable_that_answers():
    with up(make("gevent", lambda request: Response(200, body=request.body))) as run, client(run.address()) as peer:
        peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert peer.message()[2] == b"hi"


# ── certificates ─────────────────────────────────────────────────────────────────────


@every_runtime
def test_certificates_are_read_again_for_all_services_or_for_none(runtime, tmp_path):
    def put(name: str, organization: str) -> tuple[str, str]:
        made = cert("localhost", organization=organization)
        (tmp_path / f"{name}.pem").write_bytes(made.cert)
        (tmp_path / f"{name}.key").write_bytes(made.key)
        return str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key")

    def shown(name: str) -> str:
        context = ssl.create_default_context(cadata=ca().pem.decode())
        with (
            socket.create_connection(run.address(name), PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            tls.sendall(GET)
            assert tls.recv(65_536).startswith(b"HTTP/1.1 200")
            return dict(pair for (pair,) in tls.getpeercert()["subject"])["organizationName"]

    server = Server(conf=ServerConf(runtime=runtime, grace_period_seconds=10.0))
    for name in ("web", "other"):
        service = Service(name, OriginApp())
        service.add_tls("127.0.0.1:0", *put(name, "Old"))
        assert service.endpoints() == ["127.0.0.1:0"]
        server.add_service(service)
    with up(server) as run:
        assert (shown("web"), shown("other")) == ("Old", "Old")
        put("web", "New")
        (tmp_path / "other.key").write_text("nonsense")
        with pytest.raises(Error, match="has no -----BEGIN"):
            server.reload()
        assert (shown("web"), shown("other")) == ("Old", "Old")
        put("other", "New")
        server.reload()
        assert (shown("web"), shown("other")) == ("New", "New")
    server.reload()  # nobody runs
