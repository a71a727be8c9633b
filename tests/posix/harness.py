"""Sockets, a poller and a lane under the test's own hand, and servers in a thread of their own."""

import contextlib
import importlib
import select
import socket
import struct
import threading

from sansio_pingora.listeners import ServerAddress
from sansio_pingora.machine import Endpoint
from sansio_pingora_posix import Control, SocketLane, StreamTransport
from tests.posix.machines import Echo, RawConnection

PATIENCE = 20.0  # seconds until a test gives up; never waited out by one that passes


def tcp_pair():
    """A non-blocking end for us and a blocking one for the peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE)
    return ours, theirs


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def readable(sock):
    """Wait until *sock* can be read: the loopback interface takes its own time."""
    select.select([sock], [], [], PATIENCE)


def read_all(sock):
    """What comes until the end."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


class HandPoller:
    """Remembers what is watched; the test itself says when something is ready."""

    def __init__(self):
        self.watched = {}
        self.waked = {}

    def watch(self, sock, read, write, watched):
        self.waked[sock.fileno()] = watched
        self.watched[sock.fileno()] = (read, write)

    def forget(self, sock):
        self.watched.pop(sock.fileno(), None)


class HandLane(SocketLane):
    """Calls off the lane wait until the test runs them."""

    def __init__(self, **options):
        super().__init__(HandPoller(), **options)
        self.offloaded = []

    def offload(self, call, done):
        self.calls += 1
        self.offloaded.append((call, done))

    def run_offloaded(self, now):
        waiting, self.offloaded = self.offloaded, []
        for call, done in waiting:
            self.calls -= 1
            try:
                value, exc = call(), None
            except Exception as error:
                value, exc = None, error
            done(value, exc, now)
        self.settle(now)


class Rig:
    """One transport on a lane under the test's hand, and its peer."""

    def __init__(self, receiver=Echo, pair=tcp_pair, **timeouts):
        self.ours, self.theirs = pair()
        self.descriptor = self.ours.fileno()
        self.lane = HandLane()
        self.connection = RawConnection(**timeouts)
        self.receiver = receiver(self.connection)
        self.endpoint = Endpoint(self.lane.lane, self.connection, self.receiver)
        self.ended = []
        self.transport = StreamTransport(self.ours, self.endpoint, self.lane.poller, self.ended.append)
        self.endpoint.driver = self.transport
        self.lane.lane.attach(self.endpoint)
        self.lane.settle(0.0)

    @property
    def watched(self):
        return self.lane.poller.watched.get(self.descriptor)

    @property
    def alive(self):
        return self.endpoint in self.lane.lane.endpoints

    def read(self, now=0.0):
        readable(self.ours)
        self.transport.on_readable(now)
        self.lane.settle(now)

    def write(self, now=0.0):
        self.transport.on_writable(now)
        self.lane.settle(now)

    def close(self):
        self.ours.close()
        self.theirs.close()


@contextlib.contextmanager
def rig(*args, **options):
    made = Rig(*args, **options)
    try:
        yield made
    finally:
        made.close()


RUNTIMES = ("threads", "gevent")


def runtime_of(name):
    return importlib.import_module(f"sansio_pingora_{name}")


class Server:
    """A runtime serving in a thread, stopped at once at the end of the block if it still runs."""

    def __init__(self, name, application, addresses=("127.0.0.1:0",), **options):
        self.control = Control()
        self.failure = None
        self._thread = threading.Thread(target=self._serve, args=(runtime_of(name), application, addresses, options))

    def _serve(self, runtime, application, addresses, options):
        parsed = [
            address if isinstance(address, ServerAddress) else ServerAddress.parse(address) for address in addresses
        ]
        try:
            runtime.serve(application, parsed, control=self.control, **options)
        except BaseException as exc:
            self.failure = exc
            self.control.ready.set()

    def __enter__(self):
        self._thread.start()
        assert self.control.ready.wait(PATIENCE)
        return self

    def __exit__(self, *_):
        self.control.stop(graceful=False)
        self.join()
        if self.failure is not None:
            raise self.failure

    def join(self):
        assert self.control.wait(PATIENCE)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def connect(self, index=0):
        text = self.control.addresses[index]
        if text.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(text[5:])
        else:
            host, _, port = text.rpartition(":")
            sock = socket.create_connection((host.strip("[]"), int(port)))
        sock.settimeout(PATIENCE)
        return sock
