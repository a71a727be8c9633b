"""Clients that count every request that was sent and not answered, in a process of their own making: HTTP/1 that keeps its
connections, HTTP/2 with many streams, WebSockets, and uploads that take longer than a hand-over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from typing import Any

import h2.config
import h2.connection
import h2.events
from h2.connection import ConnectionInputs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

__all__ = ["Load"]

_PATIENCE = 30.0
_UPLOAD_PIECES = 20


class Load:
    """Runs in a thread of its own from the start until :meth:`end`."""

    def __init__(
        self,
        port: int,
        *,
        http1: int,
        http2: int = 0,
        streams: int = 20,
        websockets: int = 0,
        uploads: int = 0,
        pause: float = 0.4,
        upload_seconds: float = 4.0,
        seed: int = 1,
    ) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.told_to_go: Counter[str] = Counter()
        """How often a server announced the end of a connection."""
        self.goes_away = False
        """The server ends, and no other follows: who is refused a new connection has come to his end, too."""
        self._port = port
        self._kinds = [
            *([self._http1] * http1),
            *([self._http2] * http2),
            *([self._websocket] * websockets),
            *([self._upload] * uploads),
        ]
        self._streams = streams
        self._pause = pause
        self._upload_seconds = upload_seconds
        self._random = random.Random(seed)
        self._over = False
        self._began = time.monotonic()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()

    def end(self) -> None:
        """Let every client finish what it is at."""
        self._over = True
        self._thread.join(4 * _PATIENCE)
        assert not self._thread.is_alive()

    def more(self, rounds: int = 1) -> None:
        """Wait until some *rounds* of answers of each kind more have come."""
        kinds = {kind.__name__.lstrip("_") for kind in self._kinds}
        seen = Counter(self.answers)
        give_up = time.monotonic() + _PATIENCE
        while any(self.answers[kind] < seen[kind] + rounds for kind in kinds) and not self.failures:
            assert time.monotonic() < give_up, (seen, self.answers)
            time.sleep(0.01)

    @property
    def rate(self) -> float:
        """Answers a second so far."""
        return sum(self.answers.values()) / (time.monotonic() - self._began)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.answers.items()))
        gone = ", ".join(f"{count} {kind}" for kind, count in sorted(self.told_to_go.items()))
        return f"{counts}; {self.rate:.0f} a second; told to go: {gone or 'nobody'}; {len(self.failures)} failed"

    async def _main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(self._kinds):
                group.create_task(self._run(kind, number))

    async def _run(self, kind: Any, number: int) -> None:
        await asyncio.sleep(self._random.random() * self._pause)
        while not self._over:
            try:
                await kind()
            except ConnectionRefusedError as exc:
                if self.goes_away:
                    return
                self._failed(kind, number, exc)
                await asyncio.sleep(0.2)
            except Exception as exc:
                self._failed(kind, number, exc)
                await asyncio.sleep(0.2)

    def _failed(self, kind: Any, number: int, exc: Exception) -> None:
        at = time.monotonic() - self._began
        self.failures.append(f"{at:6.2f} s {kind.__name__.lstrip('_')} {number}: {exc!r}")

    async def _rest(self) -> None:
        await asyncio.sleep(self._pause * (0.5 + self._random.random()))

    # ── HTTP/1 ───────────────────────────────────────────────────────────────────────

    async def _http1(self) -> None:
        """One connection, until it is told to close it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            is_over = False
            while not is_over and not self._over:
                body = b"e" * 2000 if self._random.random() < 0.3 else b""
                path = self._random.choice((b"/", b"/bytes/20000", b"/delay/0.05")) if not body else b"/echo"
                head = b"POST" if body else b"GET"
                writer.write(
                    b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (head, path, len(body), body)
                )
                async with asyncio.timeout(_PATIENCE):
                    is_over = await self._answer(reader, body or None)
                self.answers["http1"] += 1
                if not is_over:
                    await self._rest()
            if is_over:
                self.told_to_go["http1"] += 1
        finally:
            await _close(writer)

    async def _upload(self) -> None:
        """A body that comes slowly, and comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            piece = b"u" * 4096
            writer.write(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(piece) * _UPLOAD_PIECES)
            )
            answer = asyncio.create_task(self._answer(reader, piece * _UPLOAD_PIECES))
            try:
                for _ in range(_UPLOAD_PIECES):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(self._upload_seconds / _UPLOAD_PIECES)
                async with asyncio.timeout(_PATIENCE):
                    await answer
            finally:
                answer.cancel()
                with contextlib.suppress(BaseException):
                    await answer
            self.answers["upload"] += 1
        finally:
            await _close(writer)

    async def _answer(self, reader: asyncio.StreamReader, wanted: bytes | None) -> bool:
        """Whether the connection is to be closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ValueError(f"answered {head[:40]!r}")
        size = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(size)
        if wanted is not None and body != wanted:
            raise ValueError("the echo is another one")
        return b"\r\nconnection: close\r\n" in head

    # ── HTTP/2 ───────────────────────────────────────────────────────────────────────

    async def _http2(self) -> None:
        """One connection with many streams, until a GOAWAY; what was sent before is to be answered all the same."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        # The library takes a GOAWAY for the end, where streams go on (RFC 9113 section 6.8).
        moves = conn.state_machine._transitions
        going = {(state, kind): move for (state, kind), move in moves.items() if kind is ConnectionInputs.RECV_GOAWAY}
        conn.state_machine._transitions = {**moves, **{key: (move[0], key[0]) for key, move in going.items()}}
        conn.initiate_connection()
        conn.increment_flow_control_window(1 << 24)
        under_way: dict[int, int] = {}
        goes = False
        try:
            while not (goes or self._over) or under_way:
                while len(under_way) < self._streams and not (goes or self._over):
                    stream = conn.get_next_available_stream_id()
                    path = self._random.choice((b"/bytes/5000", b"/delay/0.1", b"/delay/0.4", b"/"))
                    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path)]
                    conn.send_headers(stream, fields, end_stream=True)
                    under_way[stream] = 0
                writer.write(conn.data_to_send())
                async with asyncio.timeout(_PATIENCE):
                    data = await reader.read(65_536)
                if not data:
                    raise EOFError(f"{len(under_way)} streams were cut")
                for event in conn.receive_data(data):
                    match event:
                        case h2.events.ResponseReceived():
                            status = dict(event.headers)[b":status"]
                            if status != b"200":
                                raise ValueError(f"answered {status!r}")
                        case h2.events.DataReceived():
                            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        case h2.events.StreamEnded():
                            del under_way[event.stream_id]
                            self.answers["http2"] += 1
                        case h2.events.StreamReset():
                            raise ValueError(f"stream {event.stream_id} was reset: {event.error_code!r}")
                        case h2.events.ConnectionTerminated():
                            goes = True
                            refused = [stream for stream in under_way if stream > (event.last_stream_id or 0)]
                            if refused or event.error_code:
                                raise ValueError(f"GOAWAY {event.error_code!r} refused {len(refused)} streams")
            self.told_to_go["http2"] += goes
        finally:
            await _close(writer)

    # ── WebSocket ────────────────────────────────────────────────────────────────────

    async def _websocket(self) -> None:
        """Messages one after the other, until a close frame."""
        async with connect(f"ws://127.0.0.1:{self._port}/ws", compression=None) as ws:
            number = 0
            try:
                while not self._over:
                    number += 1
                    await ws.send(str(number))
                    async with asyncio.timeout(_PATIENCE):
                        if await ws.recv() != str(number):
                            raise ValueError("the echo is another one")
                    self.answers["websocket"] += 1
                    await asyncio.sleep(self._pause / 2)
            except ConnectionClosedOK:  # 1001: it was told to go; what it said at that moment it says again
                self.told_to_go["websocket"] += 1
            except ConnectionClosed as exc:
                raise EOFError(f"a WebSocket was cut: {exc}") from exc


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
