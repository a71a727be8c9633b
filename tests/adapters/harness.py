"""Servers on every runtime, clients and origins of plain sockets."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sansio_pingora import HttpPeer, ProxyHttp, serve
from sansio_pingora.apps import HttpServerApp
from sansio_pingora.session import Drain, ReadBody
from sansio_pingora.wire import ResponseHeader
from sansio_pingora_posix import Control

PATIENCE = 20.0
"""Seconds until a test gives up; never waited out by one that passes."""
RUNTIMES: dict[str, dict[str, Any]] = {
    "asyncio": {"runtime": "asyncio", "uvloop": False},
    "uvloop": {"runtime": "asyncio", "uvloop": True},
    "gevent": {"runtime": "gevent"},
    "threads": {"runtime": "threads"},
}
CAN_AWAIT = {"asyncio", "uvloop"}
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Served:
    """A running server."""

    def __init__(self) -> None:
        self.control = Control()
        self.failure: BaseException | None = None
        self.thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.control.addresses[0].rpartition(":")
        return host, int(port)

    @property
    def peer(self) -> str:
        return self.control.addresses[0]

    def stop(self, *, graceful: bool = True) -> None:
        self.control.stop(graceful=graceful)

    def join(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the server does not end"


@contextlib.contextmanager
def served(app: Any, runtime: str, *, listen: str = "127.0.0.1:0", **options: Any) -> Iterator[Served]:
    """A server of *app* in a thread of its own, stopped at the end."""
    server = Served()

    def run() -> None:
        try:
            serve(app, listen=listen, control=server.control, signals=False, **{**RUNTIMES[runtime], **options})
        except BaseException as exc:
            server.failure = exc
        finally:
            server.control.ready.set()

    server.thread = threading.Thread(target=run)
    server.thread.start()
    try:
        assert server.control.ready.wait(PATIENCE)
        if server.failure is None:
            yield server
    finally:
        server.stop(graceful=False)
        server.join()
    if server.failure is not None:
        raise server.failure


class Peer:
    """A blocking socket that speaks HTTP by hand, of a client or of an origin."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.over = threading.Event()
        """Of an origin's: the test is over."""
        sock.settimeout(PATIENCE)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def more(self) -> bool:
        """Read once; False at the end."""
        data = self.sock.recv(262_144)
        self.buffer += data
        return bool(data)

    def take(self, size: int) -> bytes:
        """Exactly *size* bytes."""
        pieces = [self.buffer]
        left = size - len(self.buffer)
        while left > 0:
            data = self.sock.recv(min(left, 262_144))
            if not data:
                raise EOFError(b"".join(pieces)[:200])
            pieces.append(data)
            left -= len(data)
        whole = b"".join(pieces)
        self.buffer = whole[size:]
        return whole[:size]

    def upto(self, mark: bytes) -> bytes:
        """The bytes up to the end of *mark*."""
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(self.buffer[:200])
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken + mark

    def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        """Start line and fields by lower-case name."""
        start, *lines = self.upto(b"\r\n\r\n")[:-4].split(b"\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            fields[name.lower()] = value
        return start, fields

    def body(self, fields: dict[bytes, bytes]) -> bytes:
        """The body that *fields* frame."""
        if b"transfer-encoding" in fields:
            pieces = []
            while size := int(self.upto(b"\r\n"), 16):
                pieces.append(self.take(size))
                assert self.take(2) == b"\r\n"
            while self.upto(b"\r\n") != b"\r\n":
                pass
            return b"".join(pieces)
        if b"content-length" in fields:
            return self.take(int(fields[b"content-length"]))
        return b""

    def message(self) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """A whole request or response."""
        start, fields = self.head()
        return start, fields, self.body(fields)

    def status(self) -> int:
        """The status of the next response, which is read whole."""
        return int(self.message()[0][9:12])

    def rest(self) -> bytes:
        """Everything up to the end, be it orderly or by reset."""
        with contextlib.suppress(ConnectionError):
            while self.more():
                pass
        taken, self.buffer = self.buffer, b""
        return taken

    def ended(self) -> bool:
        """Nothing more comes, and the end does."""
        return self.rest() == b""

    def shut(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def push(self, piece: bytes, most: int) -> int:
        """Send *piece* over and over, up to *most* bytes, until the other side takes no more; how much it took."""
        sent = 0
        self.sock.setblocking(False)
        with contextlib.suppress(ConnectionError):
            while sent < most:
                # Nothing for a while: it has been given up on, which no test waits for that passes otherwise.
                if not select.select([], [self.sock], [], 0.3)[1]:
                    break
                sent += self.sock.send(piece)
        self.sock.settimeout(PATIENCE)
        return sent


@contextlib.contextmanager
def client(address: tuple[str, int] | str, *, receive_buffer: int | None = None) -> Iterator[Peer]:
    """A connected client; a text is the path of a Unix socket."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    with sock:
        sock.connect(address)
        yield Peer(sock)


class Origin:
    """A server of plain sockets: *script* is called with each connection, in a thread of its own."""

    def __init__(self, script: Callable[[Peer], None], path: str | None = None, port: int = 0) -> None:
        self._script = script
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            self.address: tuple[str, int] = self._listener.getsockname()
            self.peer = "{}:{}".format(*self.address)
        else:
            self._listener = socket.create_server(path, family=socket.AF_UNIX)
            self.peer = f"unix:{path}"
        self.connections = 0
        self.failures: list[BaseException] = []
        self._over = threading.Event()
        self._peers: list[Peer] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock)
            peer.over = self._over
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self._script(peer)
        except (OSError, EOFError):
            pass  # the other side has gone, which scripts need not expect
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            peer.close()

    def close(self) -> None:
        self._over.set()
        # A thread in accept() does not notice the close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@contextlib.contextmanager
def origin(script: Callable[[Peer], None], path: str | None = None, port: int = 0) -> Iterator[Origin]:
    """An origin that runs *script* on each connection; what fails in it fails the test."""
    made = Origin(script, path, port)
    try:
        yield made
    finally:
        made.close()
    if made.failures:
        raise made.failures[0]


def answering(response: bytes = OK) -> Callable[[Peer], None]:
    """A script that gives the same answer to every request."""

    def script(peer: Peer) -> None:
        while True:
            peer.message()
            peer.send(response)

    return script


def echoing(peer: Peer) -> None:
    """A script that sends back what comes, as it comes, framed as it came."""
    while True:
        _, fields = peer.head()
        if b"content-length" in fields:
            left = int(fields[b"content-length"])
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
            while left:
                data, peer.buffer = peer.buffer or peer.sock.recv(65_536), b""
                if not data:
                    return
                left -= len(data)
                peer.send(data)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while size := int(line := peer.upto(b"\r\n"), 16):
                peer.send(line, peer.take(size + 2))
            peer.upto(b"\r\n")
            peer.send(b"0\r\n\r\n")


class To(ProxyHttp):
    """A proxy to one peer; remembers how its exchanges ended."""

    def __init__(self, peer: str, **options: Any) -> None:
        self.peer = peer
        self.options = options
        self.ended: list[Any] = []

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        return HttpPeer(self.peer, **self.options)

    def logging(self, session: Any, error: Any, ctx: Any) -> None:
        self.ended.append(error)


class Echo(HttpServerApp):
    """Sends back what comes, as it comes, framed as it came."""

    def process_new_http(self, session: Any) -> Any:
        length = session.get_header("content-length")
        fields = [] if length is None and not session.is_body_empty() else [("Content-Length", length or b"0")]
        session.write_response_header(ResponseHeader(200, fields))
        while (data := (yield ReadBody())) is not None:
            session.write_response_body(data)
            yield Drain()
        session.finish_body()


class Endless(HttpServerApp):
    """Says more than anybody wants to hear; ``sent`` bytes so far."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0

    def process_new_http(self, session: Any) -> Any:
        session.write_response_header(ResponseHeader(200, [("Content-Length", str(self.size))]))
        piece = b"e" * 65_536
        while self.sent < self.size:
            session.write_response_body(piece)
            self.sent += len(piece)
            yield Drain()


def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never came to hold"
        time.sleep(0.002)


def post(size: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    """The head of a request that declares *size* bytes, with what is given of it."""
    return b"POST / HTTP/1.1\r\nHost: a.test\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, size, body)
