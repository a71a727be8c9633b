"""TLS: CPU of the server for 1 MiB bodies, ours and nginx in turn; handshakes; memory of idle connections.

``python benchmarks/tls.py [RUNTIME]``: nginx is left out where it is not installed. Certificates are made by trustme.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trustme

SIZE = 1 << 20
BODIES = 100
HANDSHAKES = 200
IDLE = 2_000
ROUNDS = 3
TICK = os.sysconf("SC_CLK_TCK")
REQUEST = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Server:
    """A server process, and what it costs."""

    def __init__(self, name: str, command: list[str], address: tuple[str, int], path: bytes) -> None:
        self.name = name
        self.path = path
        self.address = address
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(address, 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{name} does not come up")

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> int:
        """Resident KiB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def ours(runtime: str, cert: str, key: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "sansio_pingora", "origin", "--listen", f"127.0.0.1:{port}"]
    command += ["--cert", cert, "--key", key, "--runtime", runtime]
    return Server(f"sansio-pingora ({runtime})", command, ("127.0.0.1", port), b"/bytes/%d" % SIZE)


def nginx(folder: Path, cert: str, key: str) -> Server:
    port = free_port()
    (folder / "body").write_bytes(b"x" * SIZE)
    folder.chmod(0o755)
    conf = folder / "nginx.conf"
    conf.write_text(
        f"""daemon off; master_process off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; root {folder}; }} }}
"""
    )
    return Server("nginx", ["nginx", "-p", str(folder), "-c", str(conf)], ("127.0.0.1", port), b"/body")


def connect(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(server.address), server_hostname="localhost")


def bodies(server: Server, context: ssl.SSLContext) -> float:
    """Milliseconds of the server's CPU for one body."""
    buffer = bytearray(262_144)
    with connect(server, context) as sock:
        before = server.cpu()
        for _ in range(BODIES):
            sock.sendall(REQUEST % server.path)
            left: int | None = None
            head = b""
            while left is None or left > 0:
                size = sock.recv_into(buffer)
                if left is not None:
                    left -= size
                    continue
                head += buffer[:size]
                _, found, rest = head.partition(b"\r\n\r\n")
                if found:
                    left = SIZE - len(rest)
        return (server.cpu() - before) / BODIES * 1000


def handshakes(server: Server, context: ssl.SSLContext) -> float:
    """Milliseconds of the server's CPU for one handshake."""
    before = server.cpu()
    for _ in range(HANDSHAKES):
        connect(server, context).close()
    return (server.cpu() - before) / HANDSHAKES * 1000


def idle(server: Server, context: ssl.SSLContext) -> float:
    """KiB for one idle connection that has had one request."""

    def one() -> ssl.SSLSocket:
        sock = connect(server, context)
        sock.sendall(REQUEST % b"/")
        sock.recv(65_536)
        return sock

    kept = [one() for _ in range(100)]
    before = server.memory()
    kept += [one() for _ in range(IDLE)]
    used = (server.memory() - before) / IDLE
    for sock in kept:
        sock.close()
    return used


def main() -> None:
    runtime = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        servers = [ours(runtime, cert, key)]
        if shutil.which("nginx"):
            servers.append(nginx(folder, cert, key))
        try:
            for what, measure in (("1 MiB body", bodies), ("handshake", handshakes)):
                found = [[measure(server, context) for server in servers] for _ in range(ROUNDS)]
                middle = [statistics.median(column) for column in zip(*found, strict=True)]
                told = ", ".join(f"{s.name} {ms:.2f} ms of CPU" for s, ms in zip(servers, middle, strict=True))
                print(f"{what}: {told}" + (f", ratio {middle[0] / middle[1]:.2f}" if middle[1:] else ""))
            print(f"{IDLE} idle connections: {idle(servers[0], context):.1f} KiB each")
        finally:
            for server in servers:
                server.process.kill()
                server.process.wait()


if __name__ == "__main__":
    main()
