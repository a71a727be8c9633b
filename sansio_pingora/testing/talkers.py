"""Clients of HTTP/1 that switch to a conversation in the simulator, origins that answer it, and its oracle."""

from __future__ import annotations

import base64
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import HttpOptions, HttpService, WebSocketApp
from sansio_pingora.session import Sleep, blocking, websocket_accept
from sansio_pingora.testing.http_oracles import HttpOracle

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.limits import Limits
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.conversations import Conversation
    from sansio_pingora.testing.link import End
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["Conversations", "TalkClient", "TunnelOrigin", "websocket_origin"]


class TalkClient:
    """A client of HTTP/1 that asks for another protocol, then has a conversation. Give it to ``world.client``."""

    def __init__(self, world: World, name: str, talk: Conversation, *, connect: bool = False) -> None:
        self.world = world
        self.name = name
        self.talk = talk
        self.end_: End | None = None
        self.status = 0
        """Of the answer to the handshake."""
        self.outcome = ""
        self._connect = connect
        self._key = base64.b64encode(name.encode().ljust(16, b"."))
        self._head = b""

    # ── the link ─────────────────────────────────────────────────────────────────────

    def connected(self, end: End) -> None:
        """The link is there."""
        self.end_ = end
        end.owner = self
        end.set_reading(True)
        end.write(self._request())
        self.world.after(_PATIENCE, self._lose_patience)

    def _request(self) -> bytes:
        if self._connect:
            return b"CONNECT tunnel.example:80 HTTP/1.1\r\nHost: tunnel.example:80\r\n\r\n"
        if not self.talk.websocket:
            return b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
        return (
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % self._key
        )

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self._finish("refused")

    def received(self, data: bytes) -> None:
        """A piece of the answer, or of the conversation."""
        talk = self.talk
        if self.status not in (101, 200):
            self._head += data
            head, mark, data = self._head.partition(b"\r\n\r\n")
            if not mark or self.status:
                return
            self.status = int(head[9:12])
            if self.status not in (101, 200):
                return
            if talk.websocket and websocket_accept(self._key).lower() not in head.lower():
                talk.fault = f"a wrong key in {head!r}"
                return
            talk.begin(self.world, self)
        if data:
            talk.received(data)

    def ended(self) -> None:
        """The server is done."""
        self.talk.ended()
        self._finish("eof")
        if self.end_ is not None:
            self.end_.close()

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self.talk.lost()
        self._finish("reset")

    def progressed(self) -> None:
        """Nothing waits for it."""

    # ── the conversation's channel ───────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """See :class:`.conversations.Channel`."""
        if self.end_ is not None and not self.end_.closed and not self.end_.dead and not self._ended:
            self.end_.write(data)

    _ended = False

    def end(self) -> None:
        """See :class:`.conversations.Channel`."""
        self._ended = True
        if self.end_ is not None:
            self.end_.shut()

    def cut(self) -> None:
        """See :class:`.conversations.Channel`."""
        self._finish("cut")
        if self.end_ is not None:
            self.end_.abort()

    def _finish(self, outcome: str) -> None:
        if not self.outcome:
            self.outcome = outcome
            self.world.note(self.name, "outcome", outcome)

    def _lose_patience(self, _: None) -> None:
        if self.outcome or self.end_ is None:
            return
        self._finish("patience")
        self.end_.abort()


_PATIENCE = 5_000.0


class _EchoApp(WebSocketApp):
    """Sends back what it gets, in one of the forms of callbacks; closes or fails when it is told to."""

    deflate = False

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def say(self, ws: Any, message: str | bytes) -> None:
        """Answer *message*."""
        if message == "close":
            ws.close(4001, "as you wish")
        elif message == "raise":
            raise RuntimeError("by order of the simulator")
        else:
            ws.send(message)


class _Plain(_EchoApp):
    def on_message(self, ws: Any, message: str | bytes) -> None:
        self.say(ws, message)


class _Waiting(_EchoApp):
    def on_message(self, ws: Any, message: str | bytes) -> Generator[Sleep, None, None]:
        yield Sleep(self._rng.uniform(0.0, 0.05))
        self.say(ws, message)


class _Blocking(_EchoApp):
    @blocking
    def on_message(self, ws: Any, message: str | bytes) -> None:
        self.say(ws, message)


def websocket_origin(rng: Random, limits: Limits) -> Application:
    """An echo of WebSocket messages, over both versions."""
    return HttpService(rng.pick((_Plain, _Waiting, _Blocking))(rng), limits, HttpOptions(h2c=True))


class TunnelOrigin:
    """A listener that switches to raw bytes, of which it sends everything back until its client is done."""

    def __init__(self, world: World) -> None:
        self.world = world

    def accept(self, end: End) -> None:
        """A link came in."""
        end.owner = _TunnelConnection(end)
        end.set_reading(True)


class _TunnelConnection:
    def __init__(self, end: End) -> None:
        self.end = end
        self._head = b""
        self._switched = False

    def received(self, data: bytes) -> None:
        if not self._switched:
            self._head += data
            head, mark, data = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            self._switched = True
            accepted = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
            if head.startswith(b"CONNECT "):
                accepted = b"HTTP/1.1 200 OK\r\n\r\n"
            self.end.write(accepted)
        if data:
            self.end.write(data)

    def ended(self) -> None:
        self.end.close()

    def lost(self, error: Error) -> None:
        """Nothing is left to do."""

    def progressed(self) -> None:
        """Nothing waits for it."""


class Conversations(HttpOracle):
    """I-1, I-3, I-5 for conversations: legal frames, each client hears its own words in their order, and an end."""

    invariant = "I-3"
    also = ("I-1", "I-5")

    def quiescent(self, world: World) -> None:
        """See :class:`.oracles.Oracle`."""
        for client in self.case.talkers:
            if client.outcome == "patience" and not world.faults.counts["filter never"]:
                world.broken("I-1", f"{client.name} waits for ever: {client.talk!r}")
        for talk in self.case.talks:
            for invariant in ("", *self.also):
                self.judged(world, invariant=invariant)
            if talk.fault:
                world.broken("I-5", f"{talk.name}: wsproto refuses what it got: {talk.fault}")
            said, heard = talk.said, talk.heard
            if not talk.websocket:
                said, heard = [b"".join(map(_raw, said))], [b"".join(map(_raw, heard))]
                same = _raw(said[0]).startswith(_raw(heard[0]))
            else:
                same = heard == said[: len(heard)]
            if not same:
                world.broken(self.invariant, f"{talk.name} heard what it did not say: {heard!r}"[:400])
            if self.case.calm and not self.case.handed_over and not talk.rude:
                if talk.outcome != "ended" or heard != said:
                    world.broken(
                        "I-1", f"{talk.name}: {talk.outcome or 'never ended'}, though nothing failed: {talk!r}"[:400]
                    )
                if talk.websocket and talk.code not in (1000, 4001):
                    world.broken("I-1", f"{talk.name}: closed with {talk.code}, though nothing failed")


def _raw(piece: str | bytes) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece
