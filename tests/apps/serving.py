"""Applications on real sockets: serve() in a thread, stopped at the end of the block."""

import contextlib
import http.client
import socket
import threading

from sansio_pingora import serve
from sansio_pingora._serve import new_control

PATIENCE = 20.0  # seconds until a test gives up; never waited out by one that passes
RUNTIMES = ("asyncio", "gevent", "threads")


@contextlib.contextmanager
def serving(app, runtime, *, listen="127.0.0.1:0", **options):
    """The control of a server of *app*."""
    control = new_control()
    failures = []

    def run():
        try:
            serve(app, listen=listen, runtime=runtime, control=control, **options)
        except BaseException as exc:
            failures.append(exc)
            control.ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert control.ready.wait(PATIENCE)
        if not failures:
            yield control
    finally:
        control.stop(graceful=False)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def connect(address):
    """A socket to *address*, as a server's control has it."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(address[5:])
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)


def ask(address, method="GET", target="/", body=None, headers=None):
    """Status and body of one request."""
    host, _, port = address.rpartition(":")
    client = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        client.request(method, target, body, headers or {})
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def read_all(sock):
    """What comes until the end."""
    pieces = []
    while piece := sock.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)
