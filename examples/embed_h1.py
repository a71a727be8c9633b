"""HTTP/1.1 in a blocking socket loop of one's own: limits and time-outs are the engine's, the sockets are ours."""

import socket
from contextlib import suppress
from threading import Thread
from time import monotonic

from sansio_pingora import Limits, ResponseHeader
from sansio_pingora.session import ServerConnection
from sansio_pingora.wire import Body, Failed, Header, HttpTask

HELLO = Header(ResponseHeader(200, [("Content-Length", "6")]), False)


def serve_client(sock: socket.socket, limits: Limits | None = None) -> None:
    conn = ServerConnection(now=monotonic(), limits=limits)
    with sock, suppress(OSError):  # the client is gone, or takes nothing
        while not conn.closing:
            sock.settimeout(conn.timeout(monotonic()))
            try:
                events = conn.receive_data(sock.recv(65_536), monotonic())  # b"" is the end
            except TimeoutError:
                events = conn.handle_timeout(monotonic())
            for stream_id, value in events:
                if isinstance(value, Body):
                    conn.consumed(stream_id, len(value.data))
                if isinstance(value, HttpTask) and value.end and not isinstance(value, Failed):
                    conn.send(stream_id, HELLO, monotonic())
                    conn.send(stream_id, Body(b"hello\n", end=True), monotonic())
            sock.sendall(b"".join(conn.data_to_send()))
            if conn.shut_write:
                sock.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 8080)) as listener:
        while True:
            Thread(target=serve_client, args=(listener.accept()[0],), daemon=True).start()
