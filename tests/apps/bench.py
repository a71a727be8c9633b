"""An application on a lane under the test's own hand: bytes in, time in, bytes out."""

from sansio_pingora.apps import HttpService
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Endpoint, Lane, LogLine, RunFilter
from sansio_pingora.session import as_error
from sansio_pingora.transport import SocketAddr, TransportInfo

CLIENT = SocketAddr("192.0.2.1", 4711)
INFO = TransportInfo(CLIENT, SocketAddr("192.0.2.2", 80), 0.0)


def get(target="/", *fields, method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{''.join(field + chr(13) + chr(10) for field in fields)}\r\n".encode()


def post(body, target="/", *fields):
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body


class Bench:
    """One connection to *application*. Calls off the lane wait in ``calls``; log lines are in ``log``."""

    def __init__(self, application, *, can_await=True, now=0.0):
        self.now = now
        self.lane = Lane()
        self.calls = []
        self.log = []
        self.stopped = 0
        self.hold = False
        application.check("bench", can_await=can_await)
        self.acceptor = application.open(self.lane, now, 1e9)
        self.endpoint = self.acceptor.accept(INFO, now)
        self.connection = self.endpoint.connection
        self._dispatcher = self.endpoint.receiver
        self.lane.attach(self.endpoint)
        self.out = b""
        self.settle()

    def settle(self):
        """Take output and commands until nothing is left; run async calls to their next effect."""
        while members := self.lane.drain(self.now):
            for member in members:
                if isinstance(member, Endpoint):
                    if not self.hold:
                        self.out += b"".join(self.connection.data_to_send())
                        self.endpoint.flushed(self.now)
                    continue
                for command in member.take_commands():
                    if isinstance(command, RunFilter):
                        self.calls.append((member, command))
                    elif isinstance(command, LogLine):
                        self.log.append(command.text)
                    else:
                        self.stopped += 1
        return self

    def run_calls(self, *, only_async=False):
        """Everything off the lane, until nothing is."""
        while self.calls and (self.calls[0][1].is_async or not only_async):
            member, command = self.calls.pop(0)
            try:
                value = drive(command.call()) if command.is_async else command.call()
            except Exception as exc:
                member.fail(command.token, as_error(exc, "a filter raised"), self.now)
            else:
                member.resume(command.token, value, self.now)
            self.settle()
        return self

    def receive(self, data):
        self.endpoint.receive_data(data, self.now)
        return self.settle()

    def lose(self, error=None):
        self.endpoint.transport_lost(error, self.now)
        return self.settle()

    def pause(self):
        """The peer reads no more."""
        self.hold = True
        self.endpoint.write_paused(self.now)
        return self.settle()

    def unpause(self):
        self.hold = False
        self.lane.enlist(self.endpoint)
        self.settle()
        self.endpoint.write_resumed(self.now)
        return self.settle()

    def sleep(self, seconds):
        """Let time pass, deadline by deadline."""
        end = self.now + seconds
        while self.lane.deadline <= end:
            self.now = max(self.now, self.lane.deadline)
            for member in self.lane.due(self.now):
                member.handle_timeout(self.now)
            self.settle()
        self.now = end
        return self

    def take(self):
        out, self.out = self.out, b""
        return out

    @property
    def held(self):
        """Exchanges that the dispatcher still knows."""
        return self._dispatcher._exchanges


def drive(awaitable):
    """Run what awaits nothing of a runtime's own."""
    coroutine = awaitable.__await__()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for the runtime")


def http(app, *, can_await=True, **limits):
    return Bench(HttpService(app, Limits(**limits)), can_await=can_await)


def body_of(out):
    return out.partition(b"\r\n\r\n")[2]


def status_of(out):
    return int(out[9:12])
