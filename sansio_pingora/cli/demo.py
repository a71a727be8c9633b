"""``sansio-pingora demo``: a proxy before the built-in origin, and what real requests to it bring back."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from sansio_pingora._serve import App, new_control, serve
from sansio_pingora.apps import OriginApp
from sansio_pingora.cli.certificates import CAN_ISSUE, Authority
from sansio_pingora.cli.client import Answer, Client
from sansio_pingora.cli.forwarding import HTTP2, RoundRobin
from sansio_pingora.layers import LayerMaker
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import Tls
from sansio_pingora.tls import ClientSettings, ClientTls, TlsTarget
from sansio_pingora.upstreams import ALPN, CaCerts, HttpPeer, PeerOptions
from sansio_pingora.wire import Fields

__all__ = ["STEPS", "demonstrate"]

_PATIENCE = 10.0
_MEGABYTE = 1_000_000
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class _WrongError(Exception):
    """An answer is not what it should be."""


def _expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise _WrongError(f"{what} is {got!r:.80}, not {wanted!r:.80}")


# ── the servers ──────────────────────────────────────────────────────────────────────


class _Server:
    """An application on a runtime, in a thread of its own."""

    def __init__(self, app: App, runtime: str, **options: Any) -> None:
        self._control = new_control()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(app, runtime, options), daemon=True)
        self._thread.start()
        if not self._control.ready.wait(_PATIENCE) or self._failure is not None:
            raise OSError(f"a server on {runtime} did not start: {self._failure}")
        self.address = self._control.addresses[0]

    def _run(self, app: App, runtime: str, options: dict[str, Any]) -> None:
        try:
            options = {"listen": "127.0.0.1:0", **options}
            serve(app, runtime=runtime, signals=False, control=self._control, **options)
        except BaseException as exc:
            self._failure = exc
            self._control.ready.set()

    def stop(self) -> None:
        """End it at once: every request was answered."""
        self._control.stop(graceful=False)
        self._thread.join(_PATIENCE)


class Stage:
    """The origin, and proxies before it: addresses as ``host:port``."""

    ca: CaCerts
    """Who issued the certificates, where any can be made."""

    def __init__(self, runtime: str, stack: ExitStack) -> None:
        def start(app: App, **options: Any) -> str:
            server = _Server(app, runtime, **options)
            stack.callback(server.stop)
            return server.address

        # A port that is bound and does not listen refuses every connection, for as long as we hold it.
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        nobody = HttpPeer("{}:{}".format(*dead.getsockname()))

        address = start(OriginApp(), h2c=True)
        origin = HttpPeer(address)
        self.proxy = start(RoundRobin([origin]), h2c=True)
        self.to_http2 = start(RoundRobin([HttpPeer(address, options=HTTP2)]), h2c=True)
        self.impatient = start(RoundRobin([origin]), read_timeout=0.25)
        self.lonely = start(RoundRobin([nobody]))
        self.fallback = start(RoundRobin([nobody, origin]))
        if CAN_ISSUE:
            self._stage_tls(start, stack)

    def _stage_tls(self, start: Callable[..., str], stack: ExitStack) -> None:
        authority = Authority(stack.enter_context(TemporaryDirectory()))
        self.ca = authority.ca
        cert, key = authority.issue("localhost")

        def listen() -> Tls:
            return Tls("127.0.0.1:0", cert=cert, key=key)

        address = start(OriginApp(), listen=listen())
        peers = {alpn: PeerOptions(alpn=alpn, ca=self.ca, max_h2_streams=100) for alpn in (ALPN.H1, ALPN.H2H1)}
        self.over_tls = {
            alpn is ALPN.H2H1: start(
                RoundRobin([HttpPeer(address, True, "localhost", options=options)]), listen=listen()
            )
            for alpn, options in peers.items()
        }
        """Proxies over TLS both ways, by whether they offer the origin HTTP/2."""
        wrong = HttpPeer(address, True, "elsewhere.example", options=peers[ALPN.H1])
        self.mistrustful = start(RoundRobin([wrong]))


@contextmanager
def _stage(runtime: str) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(runtime, stack)


# ── the steps ────────────────────────────────────────────────────────────────────────


class Traffic:
    """What one step moved."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0

    @contextmanager
    def connect(self, address: str, *, http2: bool = False, tls: LayerMaker | None = None) -> Iterator[Client]:
        """A client whose bytes are counted."""
        with Client(address, http2=http2, tls=tls) as client:
            try:
                yield client
            finally:
                self.sent += client.sent
                self.received += client.received


def _ask(traffic: Traffic, address: str, *args: Any, **kwargs: Any) -> Answer:
    with traffic.connect(address) as client:
        return client.ask(*args, **kwargs)


def _get(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", "/")
    _expect("status", answer.status, 200)
    _expect("the body", answer.body, b"Hello, world!")
    return f"200, {answer.body.decode()}"


def _head(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "HEAD", f"/bytes/{_MEGABYTE}")
    _expect("Content-Length", answer.head.get("content-length"), b"%d" % _MEGABYTE)
    _expect("the body", answer.body, b"")
    return "200, Content-Length 1000000, no body"


def _post(stage: Stage, traffic: Traffic) -> str:
    body = bytes(range(256)) * 400
    answer = _ask(traffic, stage.proxy, "POST", "/echo", [body], [("Content-Length", str(len(body)))])
    _expect("the body", answer.body, body)
    _expect("Content-Length", answer.head.get("content-length"), b"%d" % len(body))
    return f"200, the same {len(body)} bytes"


def _chunked(stage: Stage, traffic: Traffic) -> str:
    pieces = [b"piece %d " % number * 500 for number in range(40)]
    answer = _ask(traffic, stage.proxy, "POST", "/echo", pieces, trailers=Fields([("X-Sum", "40")]))
    _expect("the body", answer.body, b"".join(pieces))
    _expect("Transfer-Encoding", answer.head.get("transfer-encoding"), b"chunked")
    return f"200, the same {len(answer.body)} bytes, chunked both ways"


def _continue(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(
        traffic, stage.proxy, "POST", "/echo", [b"please"], [("Content-Length", "6"), ("Expect", "100-continue")]
    )
    _expect("the heads", [head.status for head in (*answer.informational, answer.head)], [100, 200])
    _expect("the body", answer.body, b"please")
    return "100, and 200 once the body came"


def _keep_alive(stage: Stage, traffic: Traffic) -> str:
    with traffic.connect(stage.proxy) as client:
        for _ in range(100):
            _expect("the body", client.ask("GET", "/").body, b"Hello, world!")
    return "100 answers over one connection"


def _pipelined(stage: Stage, traffic: Traffic) -> str:
    targets = ("/status/201", "/status/404", "/")
    requests = [f"GET {target} HTTP/1.1\r\nHost: demo.example\r\n".encode() for target in targets]
    raw = b"\r\n".join([*requests[:-1], requests[-1] + b"Connection: close\r\n\r\n"])
    with traffic.connect(stage.proxy) as client:
        got = client.send_raw(raw)
    _expect("the statuses", _STATUS.findall(got), [b"201", b"404", b"200"])
    _expect("how it ends", got[-13:], b"Hello, world!")
    return "201, 404, 200: three requests in one write, in order"


def _download(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", f"/bytes/{_MEGABYTE}")
    _expect("the size", len(answer.body), _MEGABYTE)
    _expect("the checksum", crc32(answer.body), crc32((bytes(range(256)) * 4096)[:_MEGABYTE]))
    return f"200, {_MEGABYTE} bytes, checksum right"


def _drip(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", "/drip?n=5&interval=0.02")
    _expect("the body", answer.body, b"".join(b"drop %d\n" % number for number in range(1, 6)))
    return "200, 5 chunks, one at a time"


def _early_hints(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", "/early-hints")
    _expect("the heads", [head.status for head in (*answer.informational, answer.head)], [103, 200])
    return "103, then 200"


def _trailers(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", "/trailers")
    checksum = f"{crc32(answer.body):08x}"
    _expect("the trailer", answer.trailers and answer.trailers.get("x-crc32"), checksum.encode())
    return f"200, trailer X-Crc32: {checksum}, which is right"


def _delay(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.proxy, "GET", "/delay/0.2")
    _expect("status", answer.status, 200)
    return "200, after 0.2 s"


def _too_late(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.impatient, "GET", "/delay/5")
    _expect("status", answer.status, 504)
    return "504, read_timeout is 0.25 s there"


def _down(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.lonely, "GET", "/")
    _expect("status", answer.status, 502)
    return "502"


def _retried(stage: Stage, traffic: Traffic) -> str:
    answers = [_ask(traffic, stage.fallback, "GET", "/") for _ in range(2)]
    _expect("the statuses", [answer.status for answer in answers], [200, 200])
    return "200, 200: sent on to the other"


def _malformed(stage: Stage, traffic: Traffic) -> str:
    with traffic.connect(stage.proxy) as client:
        got = client.send_raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    _expect("the answer", got[:13], b"HTTP/1.1 400 ")
    return "400, and closed"


def _pair(*, http2: bool, to_http2: bool) -> Callable[[Stage, Traffic], str]:
    """A step through a proxy of the two versions: a body both ways, an early hint and a trailer."""

    def step(stage: Stage, traffic: Traffic) -> str:
        body = bytes(range(256)) * 1000
        address = stage.to_http2 if to_http2 else stage.proxy
        with traffic.connect(address, http2=http2) as client:
            seen = json.loads(client.ask("GET", "/headers").body)
            _expect("the version that the origin saw", seen["version"], "2" if to_http2 else "1.1")
            _expect("the body", client.ask("POST", "/echo", [body]).body, body)
            hinted = client.ask("GET", "/early-hints")
            _expect("the heads", [head.status for head in (*hinted.informational, hinted.head)], [103, 200])
            answer = client.ask("GET", "/trailers")
            checksum = f"{crc32(answer.body):08x}"
            _expect("the trailer", answer.trailers and answer.trailers.get("x-crc32"), checksum.encode())
        return f"200 four times, the same {len(body)} bytes, a hint, a trailer"

    return step


def _over_tls(*, http2: bool, to_http2: bool) -> Callable[[Stage, Traffic], str]:
    """A step through a proxy with TLS on both sides, where ALPN settles the versions: a body both ways."""

    def step(stage: Stage, traffic: Traffic) -> str:
        offered = ("h2", "http/1.1") if http2 else ("http/1.1",)
        settings = ClientSettings(alpn=offered, ca=stage.ca)
        backend = import_module("sansio_pingora_posix").StdlibTls()
        tls = ClientTls(backend, Limits()).maker(settings, TlsTarget("localhost"))
        body = bytes(range(256)) * 1000
        with traffic.connect(stage.over_tls[to_http2], tls=tls) as client:
            _expect("the version agreed on", client.version, b"2" if http2 else b"1.1")
            seen = json.loads(client.ask("GET", "/headers").body)
            _expect("the version that the origin saw", seen["version"], "2" if to_http2 else "1.1")
            _expect("the body", client.ask("POST", "/echo", [body]).body, body)
        return f"200 twice, the same {len(body)} bytes, certificates verified"

    return step


def _wrong_name(stage: Stage, traffic: Traffic) -> str:
    answer = _ask(traffic, stage.mistrustful, "GET", "/")
    _expect("status", answer.status, 502)
    return "502: it is for another host"


def _websocket(*, http2: bool, to_http2: bool) -> Callable[[Stage, Traffic], str]:
    """A step through a proxy: a WebSocket of one version before the proxy, and of another behind it."""

    def step(stage: Stage, traffic: Traffic) -> str:
        messages: list[str | bytes] = ["hello", "grüße" * 5000, bytes(range(256)) * 300, ""]
        address = stage.to_http2 if to_http2 else stage.proxy
        with traffic.connect(address, http2=http2) as client:
            _expect("what came back", client.converse("/ws", messages), messages)
        return f"{len(messages)} messages and back, text and binary"

    return step


STEPS: tuple[tuple[str, Callable[[Stage, Traffic], str]], ...] = (
    ("GET", _get),
    ("HEAD", _head),
    ("POST with a length", _post),
    ("POST in chunks, with trailers", _chunked),
    ("POST that waits for a 100", _continue),
    ("keep-alive", _keep_alive),
    ("pipelining", _pipelined),
    ("1 MB download", _download),
    ("a body that drips", _drip),
    ("early hints", _early_hints),
    ("trailers", _trailers),
    ("a slow origin", _delay),
    ("an origin that is too slow", _too_late),
    ("an origin that is down", _down),
    ("one of two origins is down", _retried),
    ("a request with two hosts", _malformed),
    ("HTTP/1 to HTTP/2", _pair(http2=False, to_http2=True)),
    ("HTTP/2 to HTTP/1", _pair(http2=True, to_http2=False)),
    ("HTTP/2 to HTTP/2", _pair(http2=True, to_http2=True)),
    ("WebSocket", _websocket(http2=False, to_http2=False)),
    ("WebSocket, HTTP/1 to HTTP/2", _websocket(http2=False, to_http2=True)),
    ("WebSocket, HTTP/2 to HTTP/1", _websocket(http2=True, to_http2=False)),
    ("WebSocket, HTTP/2 to HTTP/2", _websocket(http2=True, to_http2=True)),
    *(
        (
            ("TLS, HTTP/1 to HTTP/1", _over_tls(http2=False, to_http2=False)),
            ("TLS, HTTP/2 to HTTP/1", _over_tls(http2=True, to_http2=False)),
            ("TLS, HTTP/2 to HTTP/2", _over_tls(http2=True, to_http2=True)),
            ("an origin's certificate is wrong", _wrong_name),
        )
        if CAN_ISSUE
        else ()
    ),
)
"""What is shown, in order: a title, and what returns a line about it or raises."""


# ── the show ─────────────────────────────────────────────────────────────────────────


def demonstrate(runtimes: Sequence[str]) -> bool:
    """Show every step on each of *runtimes*; whether all went right."""
    logging.disable(logging.CRITICAL)  # that origins are down is part of the show
    try:
        wrong = sum(_show(runtime) for runtime in runtimes)
    finally:
        logging.disable(logging.NOTSET)
    if not CAN_ISSUE:
        print("TLS is left out, since no certificates can be made here: pip install 'sansio-pingora[demo]'")
    total = len(STEPS) * len(runtimes)
    print(f"{total - wrong} of {total} right on {', '.join(runtimes)}")
    return wrong == 0


def _show(runtime: str) -> int:
    """How many steps went wrong."""
    print(f"── {runtime} ──")
    print(f"   {'':30} {'ms':>7} {'sent':>8} {'received':>9}")
    wrong = 0
    with _stage(runtime) as stage:
        for title, step in STEPS:
            traffic = Traffic()
            began = time.perf_counter()
            try:
                mark, line = "✓", step(stage, traffic)
            except Exception as exc:
                wrong += 1
                mark, line = "✗", f"{type(exc).__name__}: {exc}"
            spent = (time.perf_counter() - began) * 1000
            print(f" {mark} {title:30} {spent:7.1f} {traffic.sent:8} {traffic.received:9}  {line}", flush=True)
    print()
    return wrong
