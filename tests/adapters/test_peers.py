"""Peers on every runtime: names, several addresses, source ports."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

import pytest
from gevent import sleep as gevent_sleep

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.transport import BindTo, SocketAddr
from sansio_pingora.upstreams import PeerOptions
from tests.adapters.harness import GET, PATIENCE, RUNTIMES, To, answering, client, origin, served

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@contextlib.contextmanager
def beside_a_black_hole():
    """A listener on 127.0.0.1, and on the same port of 127.0.0.2 one that does not answer: its backlog is full."""
    with contextlib.ExitStack() as stack:
        while True:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            deaf = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody has that port
                deaf.bind(("127.0.0.2", listener.getsockname()[1]))
                break
        deaf.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def names(monkeypatch):
    """Names that resolve to what the test says, whoever asks."""
    found: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        hosts = found.get(host)
        if hosts is None:
            return real(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("sansio_pingora_posix.addresses.resolve.__defaults__", (getaddrinfo,))
    monkeypatch.setattr("sansio_pingora_gevent.lane.getaddrinfo", getaddrinfo)
    return found


@every_runtime
def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second(runtime, names):
    with beside_a_black_hole() as listener:
        names["service.test"] = ["127.0.0.2", "127.0.0.1"]
        app = To(f"service.test:{listener.getsockname()[1]}")
        # The loop of uvloop has a resolver of its own: there the name is not ours to make.
        if runtime == "uvloop":
            pytest.skip("uvloop resolves without the socket module")
        with served(app, runtime) as server, client(server.address) as browser:
            browser.send(GET)
            sock, _ = listener.accept()
            with sock:
                assert sock.recv(65_536).startswith(b"GET / HTTP/1.1\r\n")
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert browser.message()[2] == b"ok"


@every_runtime
def test_a_name_that_cannot_be_resolved_is_in_the_error(runtime):
    with served(app := To("nowhere.invalid:80"), runtime) as server, client(server.address) as browser:
        browser.send(GET)
        assert browser.status() == 502
    assert app.ended[0].root_etype is ErrorType.CONNECT_NO_ROUTE
    assert "cannot resolve 'nowhere.invalid'" in str(app.ended[0])


@every_runtime
def test_localhost_is_whichever_of_its_addresses_answers(runtime):
    with (
        origin(answering()) as target,
        served(To(f"localhost:{target.address[1]}"), runtime) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 200


@every_runtime
def test_source_ports(runtime):
    """A range of two ports, a fall-back, and an address."""
    seen = []

    def script(peer):
        seen.append(peer.sock.getpeername())
        answering()(peer)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        low = min(probe.getsockname()[1], 60_000)
    bind_to = BindTo(SocketAddr("127.0.0.3", 0), (low, low + 50), fallback=True)
    with (
        origin(script) as target,
        served(To(target.peer, options=PeerOptions(bind_to=bind_to)), runtime) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 200
    host, port = seen[0]
    assert host == "127.0.0.3"
    if _knows_ranges():
        assert low <= port <= low + 50


def _knows_ranges() -> bool:
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, 51, (1 | 2 << 16).to_bytes(4, "little"))
        except OSError:
            return False
    return True


# ── connects of one's own ────────────────────────────────────────────────────────────


class Elsewhere:
    """Leads to another place than the address says."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.asked: list[SocketAddr] = []

    def connect(self, address: SocketAddr) -> socket.socket:
        self.asked.append(address)
        return socket.create_connection(self.address)


class Memory:
    """An origin without any socket: answers each request from memory."""

    def __init__(self) -> None:
        self.requests = b""
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.closed = threading.Event()

    def connect(self, address: SocketAddr) -> Memory:
        return self

    def write(self, data: bytes) -> int:
        self.requests += data[:7]  # a piece at a time
        while b"\r\n\r\n" in self.requests:
            _, _, self.requests = self.requests.partition(b"\r\n\r\n")
            self.answers.put(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        return len(data[:7])

    def read(self, size: int) -> bytes:
        return self.answers.get()

    def close(self) -> None:
        self.closed.set()
        self.answers.put(b"")


@every_runtime
def test_a_connect_that_leads_elsewhere(runtime):
    with origin(answering()) as target:
        elsewhere = Elsewhere(target.address)
        options = PeerOptions(custom_l4=elsewhere)
        with served(To("nowhere.invalid:80", options=options), runtime) as server, client(server.address) as browser:
            for _ in range(2):
                browser.send(GET)
                assert browser.status() == 200
        assert elsewhere.asked == [SocketAddr("nowhere.invalid", 80)]


@every_runtime
def test_anything_that_reads_and_writes(runtime):
    memory = Memory()
    options = PeerOptions(custom_l4=memory)
    with served(To("unix:/nowhere", options=options), runtime) as server, client(server.address) as browser:
        for _ in range(3):
            browser.send(GET)
            assert browser.message()[2] == b"hello"
    assert memory.closed.wait(PATIENCE)


class Failing:
    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def connect(self, address: SocketAddr) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@every_runtime
@pytest.mark.parametrize(
    ("outcome", "etype", "text"),
    [
        (ConnectionRefusedError(111, "no"), ErrorType.CONNECT_ERROR, "custom_l4 failed to connect to a.test:80"),
        (ZeroDivisionError("never"), ErrorType.CONNECT_ERROR, "ZeroDivisionError: never"),
        (Error(ErrorType.CONNECT_NO_ROUTE, "mine"), ErrorType.CONNECT_NO_ROUTE, "mine"),
        (None, ErrorType.CONNECT_ERROR, "custom_l4 made None of a.test:80"),
    ],
    ids=["OSError", "bug", "Error", "nothing"],
)
def test_a_connect_of_one_s_own_that_fails(runtime, outcome, etype, text):
    app = To("a.test:80", options=PeerOptions(custom_l4=Failing(outcome)))
    with served(app, runtime) as server, client(server.address) as browser:
        browser.send(GET)
        assert browser.status() == 502
    assert app.ended[0].etype is etype
    assert text in str(app.ended[0])


@every_runtime
def test_a_connect_of_one_s_own_has_the_clock_of_any_other(runtime):
    release = threading.Event()
    pair = socket.socketpair()

    class Slow:
        def connect(self, address: SocketAddr) -> socket.socket:
            while not release.is_set():
                if runtime == "gevent":
                    gevent_sleep(0.001)  # a greenlet that slept would hold up the hub
                else:
                    time.sleep(0.001)
            return pair[0]

    app = To("a.test:80", options=PeerOptions(custom_l4=Slow(), connection_timeout=0.05))
    with served(app, runtime) as server, client(server.address) as browser:
        browser.send(GET)
        assert browser.status() == 504
        release.set()
    for sock in pair:
        sock.close()
    assert app.ended[0].etype is ErrorType.CONNECT_TIMEDOUT


class Tracing:
    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []

    def on_connected(self, info: object) -> None:
        self.seen.append(("connected", info))

    def on_disconnected(self, info: object) -> None:
        self.seen.append(("disconnected", info))


@every_runtime
def test_a_tracer_hears_of_each_transport_twice(runtime):
    tracer = Tracing()
    with origin(answering()) as target:
        app = To(target.peer, options=PeerOptions(tracer=tracer))
        with served(app, runtime) as server, client(server.address) as browser:
            for _ in range(2):
                browser.send(GET)
                assert browser.status() == 200
            assert [kind for kind, _ in tracer.seen] == ["connected"]
            assert str(tracer.seen[0][1].peer) == target.peer
    assert [kind for kind, _ in tracer.seen] == ["connected", "disconnected"]
    with served(app, runtime) as server, client(server.address) as browser:
        browser.send(GET)
        assert browser.status() == 502
    assert len(tracer.seen) == 2


@pytest.mark.parametrize(
    ("port_range", "fallback", "text"),
    [((2000, 1000), False, "not 2000 to 1000"), ((0, 5), False, "not 0 to 5"), (None, True, "with a port_range")],
)
def test_what_is_no_source(port_range, fallback, text):
    with pytest.raises(ValueError, match=text):
        BindTo(None, port_range, fallback)
    assert BindTo(None, (0, 0)).port_range == (0, 0)
    assert BindTo(None, (1000, 1000)).port_range == (1000, 1000)
