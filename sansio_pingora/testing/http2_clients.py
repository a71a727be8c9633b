"""Scripted HTTP/2 clients for the simulator: many requests at once, with resets, small windows and changing settings.

They speak by the h2 library, which is strict about what it gets: a second, independent
judge of every frame, window and state.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, StreamClosedError
from h2.settings import SettingCodes, Settings

from sansio_pingora.testing.ledger import Asked
from sansio_pingora.testing.link import End

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.testing.conversations import Conversation
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["Http2Client", "Http2Plan", "Http2Turn", "plan_http2_client"]

_HEADER = 9
_GOAWAY = 7
_TINY = 16
_TINY_FRAMES = 500


@dataclass(slots=True)
class Http2Turn:
    """One request, and what became of it."""

    asked: Asked
    pieces: list[bytes]
    trailers: bool = False
    begins: float = 0.0
    """Seconds behind the start of the connection."""
    resets: float | None = None
    """Gives it up so many seconds after it began."""
    stream: int = 0
    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailer_fields: dict[bytes, bytes] = field(default_factory=dict)
    talk: Conversation | None = None
    """A conversation behind an extended CONNECT."""
    outcome: str = ""
    """``complete``, ``reset`` by the server, ``given up`` by the client, or ``lost`` with the connection."""


@dataclass(slots=True)
class Http2Plan:
    """What one client does."""

    turns: list[Http2Turn]
    window: int = 65_535
    slow_credit: float = 0.0
    """Gives credit back so many seconds late."""
    new_window: tuple[float, int] | None = None
    """After so many seconds, another initial window."""
    vanishes: float | None = None
    """Resets the connection after so many seconds."""
    pings: int = 0
    patience: float = 300.0


class Http2Client:
    """Give it to ``world.client``."""

    def __init__(self, world: World, name: str, plan: Http2Plan) -> None:
        self.world = world
        self.name = name
        self.plan = plan
        self.end: End | None = None
        self.fault = ""
        """Which rule the server broke."""
        self.outcome = ""
        self._last_event = 0.0
        self._by_stream: dict[int, Http2Turn] = {}
        self._queues: dict[int, deque[bytes]] = {}
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._going = False  # the server takes no more streams
        self._last_allowed = 2**31 - 1
        self._buffer = b""
        self._tiny = 0  # frames of _TINY bytes at most

    # ── the link ─────────────────────────────────────────────────────────────────────

    def connected(self, end: End) -> None:
        """The link is there."""
        self.end = end
        end.owner = self
        end.set_reading(True)
        world, plan = self.world, self.plan
        self._h2.local_settings = Settings(
            initial_values={SettingCodes.INITIAL_WINDOW_SIZE: plan.window, SettingCodes.ENABLE_PUSH: 0}
        )
        if not plan.window:
            world.faults.count("h2 client gives no window")
        self._h2.initiate_connection()
        self._flush()
        self._last_event = world.now
        for turn in plan.turns:
            world.after(turn.begins, self._begin, turn)
        if plan.new_window is not None:
            world.after(plan.new_window[0], self._change_window, plan.new_window[1])
        if plan.vanishes is not None:
            world.after(plan.vanishes, self._vanish)
        for number in range(plan.pings):
            world.after(0.1 * number, self._ping, number)
        world.after(plan.patience, self._lose_patience)

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self._finish("refused")

    def received(self, data: bytes) -> None:
        """Frames, or pieces of them."""
        self._last_event = self.world.now
        if self.fault or self.outcome:
            return
        try:
            events = self._h2.receive_data(self._without_goaway(data))
        except H2Error as exc:
            if "INFORMATIONAL" in str(exc) and any(turn.outcome == "given up" for turn in self.plan.turns):
                self._vanish(None)  # the library does not take a 1xx for a stream that it has reset: it is on its way
                return
            self.fault = f"{type(exc).__name__}: {exc}"
            return
        for event in events:
            self._take(event)
        self._flush()
        if all(turn.outcome for turn in self.plan.turns) and self.end is not None and not self.outcome:
            self._finish("done")
            self._h2.close_connection()
            self._flush()
            self.end.shut()

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames, less each orderly GOAWAY: the h2 library takes nothing behind one, though streams go on."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _HEADER and len(self._buffer) >= (
            size := _HEADER + int.from_bytes(self._buffer[:3], "big")
        ):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[3] == _GOAWAY and frame[13:17] == bytes(4):
                last = int.from_bytes(frame[9:13], "big")
                if last > self._last_allowed:
                    self.fault = f"GOAWAY with {last} behind one with {self._last_allowed}"
                self._last_allowed = last
                self._going = True
            else:
                frames.append(frame)
        return b"".join(frames)

    def ended(self) -> None:
        """The server is done."""
        self._finish("eof")
        if self.end is not None:
            self.end.close()

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self._finish("reset")

    def progressed(self) -> None:
        """The server took something."""
        self._last_event = self.world.now

    # ── requests ─────────────────────────────────────────────────────────────────────

    def _begin(self, turn: Http2Turn) -> None:
        if not self._usable() or self._going:
            turn.outcome = turn.outcome or "lost"
            return
        if turn.talk is not None and not self._h2.remote_settings.enable_connect_protocol:
            self.world.after(0.1, self._begin, turn)  # the server's SETTINGS are on their way
            return
        if self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            self.world.after(0.1, self._begin, turn)
            return
        asked = turn.asked
        turn.stream = self._h2.get_next_available_stream_id()
        self._by_stream[turn.stream] = turn
        fields = [
            (b":method", asked.method),
            (b":scheme", b"http"),
            (b":authority", b"proxy.example"),
            (b":path", b"/t/%b?h2" % asked.token),
            (b"x-token", asked.token),
        ]
        if turn.talk is not None:
            fields[0] = (b":method", b"CONNECT")
            fields[3] = (b":path", b"/ws")
            fields += [(b":protocol", b"websocket"), (b"sec-websocket-version", b"13")]
            fields.sort(key=lambda field: field[0][:1] != b":")
        ends = not turn.pieces and not turn.trailers and turn.talk is None
        self._h2.send_headers(turn.stream, fields, end_stream=ends)
        self._queues[turn.stream] = deque(turn.pieces)
        asked.sent = ends
        self._pump(turn)
        self._flush()
        if turn.resets is not None:
            self.world.after(turn.resets, self._give_up, turn)

    def _pump(self, turn: Http2Turn) -> None:
        """Send as much of the body as the windows allow."""
        queue = self._queues.get(turn.stream)
        if queue is None or turn.outcome:
            return
        try:
            self._send_pieces(turn, queue)
        except StreamClosedError:  # the server has reset it, in the same breath
            self._queues.pop(turn.stream, None)

    def _send_pieces(self, turn: Http2Turn, queue: deque[bytes]) -> None:
        h2 = self._h2
        while queue:
            room = min(h2.local_flow_control_window(turn.stream), h2.max_outbound_frame_size)
            if room <= 0:
                return
            piece = queue.popleft()
            if len(piece) > room:
                queue.appendleft(piece[room:])
                piece = piece[:room]
            ends = not queue and not turn.trailers and turn.talk is None
            h2.send_data(turn.stream, piece, end_stream=ends)
        if turn.talk is not None:
            return  # it says more later
        if turn.trailers:
            h2.send_headers(turn.stream, [(b"x-check", turn.asked.token)], end_stream=True)
        if turn.pieces or turn.trailers:
            turn.asked.sent = True
        del self._queues[turn.stream]

    def _give_up(self, turn: Http2Turn) -> None:
        if self._usable() and not turn.outcome:
            self.world.faults.count("h2 client resets a stream")
            turn.outcome = "given up"
            self._queues.pop(turn.stream, None)
            self._h2.reset_stream(turn.stream, ErrorCodes.CANCEL)
            self._flush()

    # ── events ───────────────────────────────────────────────────────────────────────

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._going = True
            return
        if isinstance(event, WindowUpdated | RemoteSettingsChanged):
            for turn in self.plan.turns:
                self._pump(turn)
            return
        found = self._by_stream.get(getattr(event, "stream_id", 0) or 0)
        if found is not None:
            self._take_of_stream(found, event)

    def _take_of_stream(self, turn: Http2Turn, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            turn.fields = dict(event.headers)
            turn.status = int(turn.fields[b":status"])
            if turn.talk is not None and turn.status == 200:
                turn.talk.begin(self.world, _Stream(self, turn))
        elif isinstance(event, DataReceived):
            if turn.talk is None or turn.status != 200:
                turn.body += event.data
            else:
                turn.talk.received(bytes(event.data))
            size = event.flow_controlled_length or 0
            if size:
                if self.plan.slow_credit:
                    self.world.faults.count("h2 client gives credit late")
                    self.world.after(self.plan.slow_credit, self._credit, (size, turn))
                else:
                    self._credit((size, turn))
        elif isinstance(event, TrailersReceived):
            turn.trailer_fields = dict(event.headers)
        elif isinstance(event, StreamEnded):
            turn.outcome = turn.outcome or "complete"
            if turn.talk is not None:
                turn.talk.ended()
                if self._queues.pop(turn.stream, None) is not None:
                    with suppress(StreamClosedError):  # the server has reset it, in the same breath
                        self._h2.end_stream(turn.stream)
        elif isinstance(event, StreamReset) and not turn.outcome:
            turn.outcome = "reset"
            if turn.talk is not None:
                turn.talk.lost()

    def _credit(self, what: tuple[int, Http2Turn]) -> None:
        size, turn = what
        if not self._usable():
            return
        if turn.outcome:
            self._h2.increment_flow_control_window(size)
        else:
            self._h2.acknowledge_received_data(size, turn.stream)
            self._tiny += size <= _TINY
            if self._tiny == _TINY_FRAMES:  # a byte at a time has shown what it can
                self._change_window(self.plan.window + 200_000)
        self._flush()

    # ── conversations ────────────────────────────────────────────────────────────────

    def say(self, turn: Http2Turn, data: bytes) -> None:
        """Send *data* of a conversation."""
        if self._usable() and not turn.outcome and turn.stream in self._queues:
            self._queues[turn.stream].append(data)
            self._pump(turn)
            self._flush()

    def end_talk(self, turn: Http2Turn) -> None:
        """End this side of a conversation: behind what waits for a window it is given up."""
        if self._usable() and not turn.outcome and (queue := self._queues.pop(turn.stream, None)) is not None:
            with suppress(StreamClosedError):  # the server has reset it, in the same breath
                if queue:
                    self._h2.reset_stream(turn.stream, ErrorCodes.CANCEL)
                    turn.outcome = "given up"
                else:
                    self._h2.end_stream(turn.stream)
            self._flush()

    def cut_talk(self, turn: Http2Turn) -> None:
        """Reset the stream of a conversation."""
        self._give_up(turn)

    # ── trouble ──────────────────────────────────────────────────────────────────────

    def _change_window(self, window: int) -> None:
        # Never smaller: the h2 library takes what is on its way then for a breach.
        if self._usable() and window > self._h2.local_settings.initial_window_size:
            self.world.faults.count("h2 client changes its window")
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            self._flush()

    def _ping(self, number: int) -> None:
        if self._usable():
            self._h2.ping(b"%08d" % number)
            self._flush()

    def _vanish(self, _: None) -> None:
        if self._usable() and self.end is not None:
            self.world.faults.count("h2 client vanishes")
            self._finish("vanished")
            self.end.abort()

    def _usable(self) -> bool:
        return (
            self.end is not None and not self.end.closed and not self.end.dead and not self.outcome and not self.fault
        )

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.end is not None and not self.end.closed and not self.end.dead:
            self.end.write(data)

    def _finish(self, outcome: str) -> None:
        if not self.outcome:
            self.outcome = outcome
            for turn in self.plan.turns:
                turn.outcome = turn.outcome or "lost"
                if turn.talk is not None:
                    turn.talk.lost()
            self.world.note(self.name, "outcome", outcome)

    def _lose_patience(self, _: None) -> None:
        if self.outcome or self.end is None:
            return
        rest = self._last_event + self.plan.patience - self.world.now
        if rest > 0:
            self.world.after(rest, self._lose_patience)
            return
        self._finish("patience")
        self.end.abort()


class _Stream:
    """A stream as the channel of a conversation."""

    __slots__ = ("client", "turn")

    def __init__(self, client: Http2Client, turn: Http2Turn) -> None:
        self.client = client
        self.turn = turn

    def write(self, data: bytes) -> None:
        self.client.say(self.turn, data)

    def end(self) -> None:
        self.client.end_talk(self.turn)

    def cut(self) -> None:
        self.client.cut_talk(self.turn)


def plan_http2_client(rng: Random, name: str, misbehaves: bool, calm: bool) -> Http2Plan:
    """What one client will do."""
    turns = []
    for number in range(1 + rng.below(12)):
        token = f"{name}-{number}".encode()
        method = rng.weighted([(6, b"GET"), (4, b"POST"), (2, b"PUT"), (1, b"HEAD")])
        body = b""
        if method in (b"POST", b"PUT"):
            size = rng.pick((0, 1, 700, 20_000, 100_000))
            body = (b"%b," % token * (size // (len(token) + 1) + 1))[:size]
        cut = rng.below(len(body)) if body else 0
        turn = Http2Turn(Asked(token, name, method, body), [piece for piece in (body[:cut], body[cut:]) if piece])
        turn.trailers = bool(body) and rng.chance(0.3)
        turn.begins = rng.pick((0.0, 0.0, rng.uniform(0.0, 1.0)))
        turns.append(turn)
    # A window of one byte is a drip, which is given up after a while.
    plan = Http2Plan(turns, window=rng.pick((65_535, 65_535, 65_535 if calm else 1, 1_000, 1 << 20)))
    if not calm and misbehaves:
        for turn in turns:
            if rng.chance(0.3):
                turn.resets = rng.uniform(0.0, 1.0)
        if rng.chance(0.2):
            plan.window = 0
        if rng.chance(0.3):
            plan.slow_credit = rng.uniform(0.01, 0.5)
        if rng.chance(0.15):
            plan.vanishes = rng.uniform(0.0, 3.0)
    if rng.chance(0.3):
        plan.new_window = (rng.uniform(0.0, 0.5), plan.window + rng.pick((100, 10_000, 200_000)))
    if rng.chance(0.3):
        plan.pings = 1 + rng.below(5)
    return plan
