"""Applications on real sockets: serve() in a thread, stopped at the end of the block."""

import http.client
import socket

from sansio_pingora.testing.pytest_plugin import PATIENCE, serving

__all__ = ["PATIENCE", "RUNTIMES", "ask", "connect", "read_all", "serving"]

RUNTIMES = ("asyncio", "gevent", "threads")


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
