"""Scripted HTTP/2 origins for the simulator: GOAWAY and resets in every state, windows and settings that change.

They speak by the h2 library, a second and strict judge of what a client of HTTP/2 sends;
GOAWAY frames are written here, since that library stops at its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from sansio_pingora.testing.ledger import Answered, Ledger, token_of

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.testing.link import End
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["GOAWAY_STATES", "RESET_STATES", "Http2Script", "ScriptedRequest"]

GOAWAY_STATES = ("start", "head", "body", "answer", "idle")
"""Of a connection: it begins, a request's head came, its body comes, an answer is under way, an answer is done."""
RESET_STATES = ("head", "body", "answer", "end")
"""Of a stream: its head came, its body comes, the answer is under way, the answer is done."""

_RESETS = ((2, "head"), (14, "body"), (4, "answer"), (16, "end"))
_GOAWAYS = ((1, "start"), (2, "head"), (3, "body"), (2, "answer"), (2, "idle"))
_RESETS_WITHOUT_BODY = ((1, "head"), (2, "answer"))
_EVERY = 2**31 - 1
_NO_ERROR = int(ErrorCodes.NO_ERROR)
_PING = b"farewell"
_CREDIT = 20_000


@dataclass(slots=True)
class ScriptedRequest:
    """A request as it reached an origin."""

    stream: int
    token: bytes
    method: bytes
    arrived: float
    fields: dict[bytes, bytes]
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    refused: float | None = None
    """When the client was told that it was not processed: before it arrived, when a GOAWAY had left already."""
    reset: bool = False
    answered: Answered | None = None
    rest: bytes = b""
    """Of the answer, what is still to be sent."""
    resets_at: str = ""
    told: bool = False
    """The head of the answer was sent."""


class _Plan:
    """What one connection does beside answering."""

    def __init__(self, rng: Random, misbehaves: float, calm: bool) -> None:
        bad = not calm and rng.chance(misbehaves)
        self.windows = [] if calm else [rng.pick((0, 1_000, 65_535, 300_000)) for _ in range(rng.below(3))]
        self.slow_credit = rng.uniform(0.01, 0.4) if rng.chance(0.3) and not calm else 0.0
        self.starves = bad and rng.chance(0.15)
        self.streams = rng.pick((None, None, 1, 4)) if not calm else None
        self.changes = [rng.uniform(0.0, 2.0) for _ in range(rng.below(3))]
        # In two steps with a PING between, a GOAWAY costs nobody anything, so calm origins do that too.
        self.goaway = rng.weighted(_GOAWAYS) if rng.chance(0.8 if bad else 0.4) else ""
        self.steps = 2 if not bad else rng.pick((1, 1, 2))
        self.lowers = bad and rng.chance(0.6)
        self.leaves = bad and rng.chance(0.4)
        self.resets = 0.8 if bad else 0.0
        self.early = 0.4 if bad else 0.0


class _Connection:
    """One connection of a scripted origin."""

    def __init__(self, origin: Http2Script, end: End) -> None:
        self.origin = origin
        self.world = origin.world
        self.end = end
        self.fault = ""
        self.requests: dict[int, ScriptedRequest] = {}
        self.last = _EVERY
        """Streams above it are not processed."""
        self._last_said: float | None = None  # when the client was told
        rng = self._rng = origin.rng.fork(f"connection {len(origin.connections)}")
        self.plan = _Plan(rng, origin.misbehaves, origin.calm)
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.initiate_connection()
        self._settings: deque[dict[int, int]] = deque()
        self._unacknowledged = True
        self._going = False
        self._gone = False
        self._settle(rng.pick(self.plan.windows) if self.plan.windows else None)
        self._flush()
        for delay in self.plan.changes:
            self.world.after(delay, self._change)
        self._reached("start")

    def _settle(self, window: int | None) -> None:
        settings: dict[int, int] = {}
        if window is not None:
            settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
            if window == 0:
                self.world.faults.count("h2 origin gives no window")
        if self.plan.streams is not None:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = self.plan.streams
        if settings:
            self._tell(settings)

    def _tell(self, settings: dict[int, int]) -> None:
        """Send *settings* when those before them are acknowledged: the h2 library takes the first ACK for all."""
        self._settings.append(settings)
        if not self._unacknowledged:
            self._next_settings()

    def _next_settings(self) -> None:
        self._unacknowledged = bool(self._settings)
        if self._settings:
            self._h2.update_settings(self._settings.popleft())

    def _change(self, _: None) -> None:
        if not self._usable():
            return
        rng = self._rng
        self.world.faults.count("h2 origin changes its settings")
        if self.plan.windows:
            self._settle(rng.pick(self.plan.windows))
        self._tell(
            {
                SettingCodes.HEADER_TABLE_SIZE: rng.pick((0, 100, 4_096)),
                SettingCodes.MAX_FRAME_SIZE: rng.pick((16_384, 50_000)),
            }
        )
        self._flush()

    # ── the link ─────────────────────────────────────────────────────────────────────

    def received(self, data: bytes) -> None:
        """Frames, or pieces of them."""
        if self.fault or not self._usable():
            return
        try:
            events = self._h2.receive_data(data)
        except H2Error as exc:
            self.fault = f"{type(exc).__name__}: {exc}"
            self.end.abort()
            return
        for event in events:
            if self._usable():
                self._take(event)
        self._flush()

    def ended(self) -> None:
        """The client is done."""
        self.end.close()

    def lost(self, error: Error) -> None:
        """The link was reset."""

    def progressed(self) -> None:
        """Nothing waits for it."""

    def _usable(self) -> bool:
        over = self._h2.state_machine.state is ConnectionState.CLOSED  # the h2 library says nothing behind a GOAWAY
        return not (self.end.closed or self.end.dead or self._gone or over)

    def _is_open(self, request: ScriptedRequest) -> bool:
        """The h2 library lets something be said on the stream: the client may have reset it in the same breath."""
        stream = self._h2.streams.get(request.stream)
        return self._usable() and not request.reset and stream is not None and not stream.closed

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.end.closed and not self.end.dead:
            self.end.write(data)

    # ── requests ─────────────────────────────────────────────────────────────────────

    def _take(self, event: Event) -> None:
        if isinstance(event, PingAckReceived):
            if event.ping_data == _PING and self._going:
                self._farewell()
            return
        if isinstance(event, SettingsAcknowledged):
            self._next_settings()
            return
        stream = getattr(event, "stream_id", None)
        if not stream:
            self._pump_all()
            return
        if isinstance(event, RequestReceived):
            self._head(stream, event)
        request = self.requests.get(stream)
        if isinstance(event, DataReceived):
            self._data(event, request)
        if request is None:
            return
        if isinstance(event, StreamEnded):
            request.complete = True
            self.world.after(self._rng.pick((0.0, 0.0, self._rng.uniform(0.0, 0.3))), self._answer, request)
        elif isinstance(event, StreamReset):
            request.reset = True
        else:
            self._pump(request)

    def _head(self, stream: int, event: RequestReceived) -> None:
        fields = dict(event.headers or [])
        token = token_of(fields.get(b":path", b""))
        request = ScriptedRequest(stream, token, fields.get(b":method", b""), self.world.now, fields)
        self.origin.requests.append(request)
        if stream > self.last:  # of it nothing is heard; the GOAWAY before it said so
            request.refused = self._last_said
            return
        self.requests[stream] = request
        if self._rng.chance(self.plan.resets):
            # Behind the end of an answer there is something to reset where the request has not ended.
            states = _RESETS if event.stream_ended is None else _RESETS_WITHOUT_BODY
            request.resets_at = self._rng.weighted(states)
        self._reached("head", request)
        if request.resets_at == "end":
            self._answer(request)
        elif self._rng.chance(self.plan.early):
            self.world.after(self._rng.uniform(0.0, 0.1), self._answer, request)

    def _data(self, event: DataReceived, request: ScriptedRequest | None) -> None:
        if request is not None and not request.reset:
            request.body += event.data or b""
            self._reached("body", request)
        size = event.flow_controlled_length or 0
        if size and not self.plan.starves:
            self.world.faults.count("h2 origin gives credit late")
            self.world.after(self.plan.slow_credit, self._credit, (size, event.stream_id))

    def _credit(self, what: tuple[int, int]) -> None:
        size, stream = what
        if not self._usable():
            return
        self._h2.increment_flow_control_window(size)
        request = self.requests.get(stream)
        if request is not None and not request.complete and self._is_open(request):
            self._h2.increment_flow_control_window(size, stream)
        self._flush()

    def _first_credit(self, request: ScriptedRequest) -> None:
        if not request.complete and self._is_open(request):
            self._h2.increment_flow_control_window(_CREDIT, request.stream)
            self._flush()

    # ── answers ──────────────────────────────────────────────────────────────────────

    def _answer(self, request: ScriptedRequest) -> None:
        if not self._is_open(request) or request.stream > self.last or request.told:
            return
        rng = self._rng
        if not request.complete:
            self.world.faults.count("h2 origin answers early")
        answered = request.answered = self.origin.ledger.answer(request.token)
        answered.status = 200
        size = rng.weighted([(4, 40), (3, 600), (2, 6_000), (1, 150_000)])
        if "answer" in (request.resets_at, self.plan.goaway):
            size = 150_000
        elif request.resets_at == "end":
            size = 40
        answered.body = (b"%b;" % request.token * (size // (len(request.token) + 1) + 1))[: rng.below(size)]
        bare = request.method == b"HEAD"
        if bare:
            answered.body = b""
        request.rest = answered.body
        fields = [(b":status", b"200"), (b"x-token", request.token), (b"x-answer", b"%d" % answered.number)]
        ends = bare or not request.rest
        request.told = True
        if ends:  # before anything can happen behind it
            answered.complete = True
        self._h2.send_headers(request.stream, fields, end_stream=ends)
        if ends:
            self._reached("end", request)
        else:
            self._pump(request)
        self._flush()

    def _pump_all(self) -> None:
        for request in list(self.requests.values()):
            self._pump(request)

    def _pump(self, request: ScriptedRequest) -> None:
        h2 = self._h2
        while request.rest and request.told and self._is_open(request):
            room = min(h2.local_flow_control_window(request.stream), h2.max_outbound_frame_size, 10_000)
            if room <= 0:
                return
            piece, request.rest = request.rest[:room], request.rest[room:]
            ends = not request.rest
            h2.send_data(request.stream, piece, end_stream=ends)
            if ends:
                assert request.answered is not None  # its head was sent
                request.answered.complete = True
            self._reached("end" if ends else "answer", request)

    # ── trouble ──────────────────────────────────────────────────────────────────────

    def _reached(self, state: str, request: ScriptedRequest | None = None) -> None:
        """The connection, and the stream of *request*, are in *state*: what is planned for it happens."""
        if request is not None and state == "head" and self.plan.windows and not self.plan.starves:
            self.world.after(self.plan.slow_credit, self._first_credit, request)
        if request is not None and request.resets_at == state:
            self._reset(request, state)
        if self.plan.goaway == ("idle" if state == "end" else state) and not self._going:
            self._go(state)

    def _reset(self, request: ScriptedRequest, state: str) -> None:
        request.resets_at = ""
        if not self._is_open(request):
            return
        self.world.faults.count(f"h2 origin resets in {state}")
        code = ErrorCodes.INTERNAL_ERROR
        if state == "head" and self._rng.chance(0.5):
            code = ErrorCodes.REFUSED_STREAM
            request.refused = self.world.now
        elif state == "end":
            code = ErrorCodes.NO_ERROR
        self._drop(request)
        self._h2.reset_stream(request.stream, code)

    def _drop(self, request: ScriptedRequest) -> None:
        request.reset = True
        request.rest = b""

    def _go(self, state: str) -> None:
        self._going = True
        faults = self.world.faults
        faults.count(f"h2 origin GOAWAY at {state if state != 'end' else 'idle'}")
        if self.plan.steps == 2:
            faults.count("h2 origin GOAWAY in two steps")
            self._say_goaway(_EVERY)
            self._h2.ping(_PING)
            self._flush()
        else:
            self._farewell()

    def _farewell(self) -> None:
        """The last GOAWAY: with the highest stream that is processed."""
        highest = max(self.requests, default=0)
        if self.plan.lowers:
            # Of what it has begun to answer it cannot say that it was not processed.
            highest = max((stream for stream, request in self.requests.items() if request.told), default=0)
        self.last = highest
        self._last_said = self.world.now
        for stream, request in self.requests.items():
            if stream > highest and not request.told and request.refused is None:
                self.world.faults.count("h2 origin GOAWAY refuses a stream")
                request.refused = self.world.now
                self._drop(request)
        self._say_goaway(highest)
        if self.plan.leaves:
            self.world.after(self._rng.pick((0.0, self._rng.uniform(0.0, 1.0))), self._leave)

    def _say_goaway(self, last: int) -> None:
        frame = GoAwayFrame(stream_id=0, last_stream_id=last, error_code=_NO_ERROR)
        self._flush()
        if not self.end.closed and not self.end.dead:
            self.end.write(frame.serialize())

    def _leave(self, _: None) -> None:
        if self._usable():
            self._gone = True
            self.end.close()


class Http2Script:
    """A listener whose connections speak HTTP/2 as a plan of their own has it."""

    def __init__(
        self, world: World, name: str, ledger: Ledger, rng: Random, misbehaves: float, *, calm: bool = False
    ) -> None:
        self.world = world
        self.name = name
        self.ledger = ledger
        self.rng = rng
        self.misbehaves = misbehaves
        """How likely a connection is a bad one."""
        self.calm = calm
        """Do nothing that a request could fail of."""
        self.connections: list[_Connection] = []
        self.requests: list[ScriptedRequest] = []
        """All that came, in their order."""

    def accept(self, end: End) -> None:
        """A link came in."""
        end.set_reading(True)
        connection = _Connection(self, end)
        self.connections.append(connection)
        if not end.closed:
            end.owner = connection

    @property
    def faults(self) -> list[str]:
        """Which rules the clients of it broke."""
        return [connection.fault for connection in self.connections if connection.fault]
