"""A client of one's own: the engine of HTTP/1 or of HTTP/2 on a blocking socket.

python examples/client.py HOST PORT [h2]
"""

import socket
import sys
from time import monotonic

from sansio_pingora import Limits, RequestHeader
from sansio_pingora.http1 import Http1Client
from sansio_pingora.http2 import Http2Client
from sansio_pingora.session import ClientSession
from sansio_pingora.wire import Body


def fetch(host, port, target, *, h2=False, timeout=10.0):
    """Status and body; HTTP/2 with prior knowledge, over TLS if the socket were wrapped in it."""
    engine = Http2Client(monotonic(), Limits()) if h2 else Http1Client(Limits())
    session = ClientSession(engine, engine.open_stream(monotonic()), None, monotonic())
    session.write_request_header(RequestHeader("GET", target, [("Host", f"{host}:{port}")]), end=True)
    body = b""
    with socket.create_connection((host, port), timeout) as sock:
        while not session.response_done:
            sock.sendall(b"".join(engine.data_to_send()))
            for stream_id, task in engine.receive_data(sock.recv(65_536), monotonic()):
                if stream_id:
                    session.received(task)
                if isinstance(task, Body):
                    body += task.data
                    session.consumed(len(task.data))
    return session.response_header.status, body


if __name__ == "__main__":
    print(*fetch(sys.argv[1], int(sys.argv[2]), "/", h2=sys.argv[3:] == ["h2"]))
