"""The same exchange over every kind of connection: a server's session, and the client that it talks to."""

from __future__ import annotations

import json

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, Endpoint, Lane
from sansio_pingora.session import ClientSession, CustomConnection, Dispatcher, start_subrequest
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

INFO = TransportInfo(SocketAddr("10.0.0.1", 4000), SocketAddr("10.0.0.2", 80), 0.0)


class Lines(CustomConnection):
    """A protocol of a line of JSON for each task, on any number of streams, with messages beside them."""

    version = b"lines"
    max_streams = None
    has_messages = True

    def __init__(self, now, limits=None, *, client=False):
        self.client = client
        super().__init__(now, limits)
        self._rest = b""

    def bytes_came(self, data, now):
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                stream, kind, *values = json.loads(line)
            except ValueError as exc:
                raise Error(ErrorType.READ_ERROR, f"no line of JSON: {line!r}") from exc
            if kind == "message":
                self.message_came(stream, values[0].encode("latin-1"))
                continue
            if kind == "request" and stream > self.last_stream:
                self.opened()
            yield stream, _task(kind, values)

    def task_sent(self, stream, task, now):
        self.put(_line(stream, *_values(task)))

    def stream_broken(self, stream_id, error, now):
        self.put(_line(stream_id, "failed", str(error)))

    def message_sent(self, stream, message, now):
        self.put(_line(stream, "message", message.decode("latin-1")))


def _line(*values):
    return json.dumps(values).encode() + b"\n"


def _pairs(fields):
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields.items]


def _values(task):
    match task:
        case Header(head=RequestHeader() as head, end=end):
            return "request", head.method.decode(), head.target.decode(), _pairs(head.fields), end
        case Header(head=ResponseHeader() as head, end=end):
            return "response", head.status, _pairs(head.fields), end
        case Body(data=data, end=end):
            return "body", data.decode("latin-1"), end
        case UpgradedBody(data=data, end=end):
            return "raw", data.decode("latin-1"), end
        case Trailer(fields=fields):
            return "trailer", _pairs(fields)
    return ("done",)


def _task(kind, values):
    match kind, values:
        case "request", [method, target, fields, end]:
            return Header(RequestHeader(method, target, fields), end)
        case "response", [status, fields, end]:
            return Header(ResponseHeader(status, fields), end)
        case "body", [data, end]:
            return Body(data.encode("latin-1"), end)
        case "raw", [data, end]:
            return UpgradedBody(data.encode("latin-1"), end)
        case "trailer", [fields]:
            return Trailer(Fields(fields))
        case "failed", [text]:
            return Failed(Error(ErrorType.CONNECTION_CLOSED, text))
    return Done()


class Recorded:
    """The exchange of a handler that keeps what it hears."""

    def __init__(self, session):
        self.session = session
        self.tasks = []
        self.rooms = []
        self.unread = []

    def receive_task(self, task, now):
        self.session.now = now
        self.session.received(task)
        self.tasks.append(task)

    def writable(self, room, now):
        self.session.now = now
        self.session.room = room
        self.rooms.append(room)


class Handler:
    """Keeps every exchange that it begins; ``on_begin`` may do something first."""

    def __init__(self, on_begin=None):
        self.begun = []
        self.refusals = []
        self.on_begin = on_begin

    def begin(self, session, now):
        exchange = Recorded(session)
        self.begun.append(exchange)
        if self.on_begin is not None:
            self.on_begin(session)
        return exchange

    def refused(self, session, error, now):
        self.refusals.append(error)


class Heard:
    """What a client's machine hears."""

    def __init__(self):
        self.tasks = []
        self.others = []

    def receive_event(self, stream_id, value, now):
        (
            self.tasks
            if stream_id and isinstance(value, Done | Header | Body | UpgradedBody | Trailer | Failed)
            else self.others
        ).append(value)


def commands_of(members):
    return [command for member in members if not isinstance(member, Endpoint) for command in member.take_commands()]


class Wired:
    """Two machines of a lane, each the other's transport."""

    def __init__(self, name, client, server, head, end, on_begin=None, info=INFO, handler=None):
        self.name = name
        self.now = 0.0
        self.lane = Lane()
        self.commands = []
        self.handler = Handler(on_begin) if handler is None else handler(self.lane)
        self.connection = server
        self.client = client
        self.heard = Heard()
        self.dispatcher = Dispatcher(server, self.handler, info)
        self._server_end = Endpoint(self.lane, server, self.dispatcher, info)
        self._client_end = Endpoint(self.lane, client, self.heard, info)
        for endpoint in (self._server_end, self._client_end):
            self.lane.attach(endpoint)
        self.settle()
        self.stream = client.open_stream(0.0)
        self.client_session = ClientSession(client, self.stream, info, 0.0)
        client.send(self.stream, Header(head, end), 0.0)
        self.settle()

    @property
    def session(self):
        return self.handler.begun[-1].session

    @property
    def exchange(self):
        return self.handler.begun[-1]

    @property
    def received(self):
        """What the client was told."""
        return self.heard.tasks

    def feed(self, *tasks):
        """The client sends."""
        for task in tasks:
            self.client.send(self.stream, task, self.now)
        self.settle()

    def settle(self):
        ends = (self._server_end, self._client_end)
        while members := self.lane.drain(self.now):
            self.commands += commands_of(members)
            for source, sink in (ends, ends[::-1]):
                if source not in self.lane.endpoints:
                    continue
                connection = source.connection
                data = b"".join(connection.data_to_send())
                if data and sink in self.lane.endpoints:
                    sink.receive_data(data, self.now)
                source.flushed(self.now)
                if connection.closing:
                    source.transport_lost(None, self.now)
                    if connection.closing is Closing.ABORT:
                        sink.transport_lost(Error(ErrorType.READ_ERROR, "reset"), self.now)
                    elif sink in self.lane.endpoints:
                        sink.receive_eof(self.now)
        return self

    def advance(self, seconds):
        end = self.now + seconds
        while self.lane.deadline <= end:
            self.now = max(self.now, self.lane.deadline)
            for member in self.lane.due(self.now):
                member.handle_timeout(self.now)
            self.settle()
        self.now = end
        return self


class Asked:
    """A subrequest and who made it."""

    name = "subrequest"

    def __init__(self, head, end, on_begin=None, info=INFO, limits=None, handler=None):
        self.now = 0.0
        self.lane = Lane()
        self.commands = []
        self.handler = Handler(on_begin) if handler is None else handler(self.lane)
        self.received = []
        self.rooms = []
        self.wanted = 0
        self.handle = start_subrequest(self.lane, self.handler, head, self, end=end, info=info, limits=limits)
        self.connection = self.handle._connection
        self.settle()

    @property
    def session(self):
        return self.handler.begun[-1].session

    @property
    def exchange(self):
        return self.handler.begun[-1]

    def response_task(self, task, now):
        self.received.append(task)

    def body_wanted(self, now):
        self.wanted += 1

    def request_writable(self, room, now):
        self.rooms.append(room)

    def feed(self, *tasks):
        for task in tasks:
            self.handle.send(task, self.now)
        self.settle()

    def settle(self):
        while members := self.lane.drain(self.now):
            self.commands += commands_of(members)
        assert self.connection.deadline != AT_ONCE
        assert self.lane.deadline != AT_ONCE  # no timer of the driver's fires for it
        return self

    def advance(self, seconds):
        end = self.now + seconds
        while self.lane.deadline <= end:
            self.now = max(self.now, self.lane.deadline)
            for member in self.lane.due(self.now):
                member.handle_timeout(self.now)
            self.settle()
        self.now = end
        return self


def http1(head, end, **options):
    limits = options.pop("limits", Limits())
    return Wired("h1", Http1Client(limits), Http1Server(0.0, limits), head, end, **options)


def http2(head, end, **options):
    limits = options.pop("limits", Limits())
    return Wired("h2", Http2Client(0.0, limits), Http2Server(0.0, limits), head, end, **options)


def custom(head, end, **options):
    limits = options.pop("limits", Limits())
    return Wired("custom", Lines(0.0, limits, client=True), Lines(0.0, limits), head, end, **options)


KINDS = {"h1": http1, "h2": http2, "subrequest": Asked, "custom": custom}


def get(*fields, method="GET", target="/x"):
    return RequestHeader(method, target, [("Host", "a.test"), *fields])


def post(size=None, *fields):
    length = [] if size is None else [("Content-Length", str(size))]
    return get(*length, *fields, method="POST")
