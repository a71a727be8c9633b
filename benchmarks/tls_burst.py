"""Five hundred handshakes at once: what they cost, and how long others wait, with ``offload`` and without, in turn.

``python benchmarks/tls_burst.py [RUNTIME]``. One connection asks again and again while another process shakes hands.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trustme

HANDSHAKES = 500
ROUNDS = 4
TICK = os.sysconf("SC_CLK_TCK")
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SERVER = """
import sys
from sansio_pingora import Tls, serve
from sansio_pingora.apps import OriginApp
runtime, port, cert, key, offload = sys.argv[1:]
listen = Tls("127.0.0.1:" + port, cert=cert, key=key, offload=bool(offload))
serve(OriginApp(), listen=listen, runtime=runtime, handshake_timeout=60)
"""


class Server:
    """A server process with or without ``offload``."""

    def __init__(self, runtime: str, cert: str, key: str, offload: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = ("127.0.0.1", port)
        arguments = [runtime, str(port), cert, key, "1" if offload else ""]
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], stderr=subprocess.DEVNULL)
        self.figures: list[tuple[float, float]] = []
        for _ in range(200):
            try:
                socket.create_connection(self.address, 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server does not come up")

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


def burst(server: Server, context: ssl.SSLContext) -> None:
    """Begin all handshakes, then complete each as answers come."""
    left: dict[int, ssl.SSLSocket] = {}
    poll = select.poll()
    for _ in range(HANDSHAKES):
        raw = socket.create_connection(server.address)
        raw.setblocking(False)
        sock = context.wrap_socket(raw, do_handshake_on_connect=False, server_hostname="localhost")
        left[sock.fileno()] = sock
        poll.register(sock, select.POLLIN)
    for sock in left.values():
        _go_on(sock)
    while left:
        for number, _ in poll.poll(60_000):
            if _go_on(left[number]):
                poll.unregister(number)
                left.pop(number).close()


def _go_on(sock: ssl.SSLSocket) -> bool:
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def measure(server: Server, context: ssl.SSLContext) -> tuple[float, float]:
    """Milliseconds of the server's CPU for a handshake, and the longest that a request took meanwhile."""
    with context.wrap_socket(socket.create_connection(server.address), server_hostname="localhost") as sock:
        before, longest = server.cpu(), 0.0
        child = os.fork()
        if not child:
            burst(server, context)
            os._exit(0)
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            began = time.perf_counter()
            sock.sendall(REQUEST)
            sock.recv(65_536)
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.002)
        return (server.cpu() - before) / HANDSHAKES * 1000, longest * 1000


def main() -> None:
    runtime = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
        cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        Path(cert).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        Path(key).write_bytes(leaf.private_key_pem.bytes())
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        servers = {offload: Server(runtime, cert, key, offload) for offload in (False, True)}
        try:
            for _ in range(ROUNDS):
                for server in servers.values():
                    server.figures.append(measure(server, context))
        finally:
            for server in servers.values():
                server.process.terminate()
        for offload, server in servers.items():
            cpu, longest = (statistics.median(column) for column in zip(*server.figures, strict=True))
            name = "with offload" if offload else "without"
            print(f"{runtime}, {name}: {cpu:.2f} ms of CPU for a handshake, longest wait of others {longest:.0f} ms")


if __name__ == "__main__":
    main()
