"""Faults as they are made: each is a small change of one of our own modules."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["FAULTS", "Fault"]

_PACKAGE = Path(__file__).parents[2] / "sansio_pingora"


class Fault(NamedTuple):
    """*old* in *module*, which stands there once, becomes *new*."""

    name: str
    module: str
    old: str
    new: str

    def changed(self) -> str:
        """The module with the fault in it.

        :raises ValueError: *old* does not stand there once: the module has changed.
        """
        text = (_PACKAGE / self.module).read_text("utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.module}")
        return text.replace(self.old, self.new)


_POOL = "connectors/pool.py"
_OUTFLOW = "http2/outflow.py"
_H2 = "http2/connection.py"
_CONTROL = "http2/control.py"
_H1 = "http1/connection.py"
_SERVER = "http1/server.py"
_CLIENT = "http1/client.py"
_CHUNKS = "http1/chunked_reader.py"
_FRAMING = "wire/framing.py"
_WEBSOCKET = "websocket/session.py"
_LIFECYCLE = "server/lifecycle.py"
_PUMPS = "proxy/pumps.py"

FAULTS = (
    Fault(
        "double release taken",
        _POOL,
        'if entry is None or entry.idle:\n            raise LocalProtocolError(f"connection {handle!r} is not busy',
        'if entry is None:\n            raise LocalProtocolError(f"connection {handle!r} is not busy',
    ),
    Fault(
        "lost wake-up: a failed dial's room goes to nobody",
        _POOL,
        "        peer.busy -= 1\n        self._settle(peer)\n\n    def wait",
        "        peer.busy -= 1\n\n    def wait",
    ),
    Fault(
        "off by one: a connection more than max_per_peer",
        _POOL,
        "peer.busy + len(peer.idle) >= self._max_per_peer",
        "peer.busy + len(peer.idle) > self._max_per_peer",
    ),
    Fault(
        "expired connection handed out",
        _POOL,
        "            if entry.deadline > now:",
        "            if entry.deadline >= now:",
    ),
    Fault(
        "missing deadline: who waits for a connection",
        _POOL,
        "        if deadline < self.deadline:\n            self.deadline = deadline\n\n    def cancel",
        "\n    def cancel",
    ),
    Fault(
        "off by one: a byte more than the window",
        _OUTFLOW,
        "room = min(stream.send_window, self.window, max_frame)",
        "room = min(stream.send_window + 1, self.window, max_frame)",
    ),
    Fault(
        "lost wake-up: a stream whose window opens again",
        _OUTFLOW,
        "        if stream.send_window > 0:\n            self._line_up(stream)\n        else:\n            self._leave(stream)",
        "        if stream.send_window <= 0:\n            self._leave(stream)",
    ),
    Fault(
        "credit of the connection never returned",
        _H2,
        "        stream.unconsumed -= size\n        self._return_credit(size)\n",
        "        stream.unconsumed -= size\n",
    ),
    Fault(
        "initial window applied to the wrong side of zero",
        _CONTROL,
        "change, self._peer_window = value - self._peer_window, value",
        "change, self._peer_window = max(0, value - self._peer_window), value",
    ),
    Fault(
        "WINDOW_UPDATE of 0 taken",
        _CONTROL,
        "            if not increment:\n                raise ConnectionFault",
        "            if increment < 0:\n                raise ConnectionFault",
    ),
    Fault(
        "lost wake-up: a sender without room",
        _H1,
        "                return self.limits.high_water  # nothing follows: there is nothing to wait for\n            self.starved = True\n",
        "                return self.limits.high_water  # nothing follows: there is nothing to wait for\n",
    ),
    Fault(
        "missing deadline: a body that is read again",
        _H1,
        "            self.want_read = True\n            self._start_clock(now)\n            self._arm()\n            self._touch()",
        "            self.want_read = True\n            self._touch()",
    ),
    Fault(
        "reading goes on without credit",
        _H1,
        "        if self._unconsumed >= self._window:\n            self.want_read = False",
        "        if self._unconsumed >= 1 << 30:\n            self.want_read = False",
    ),
    Fault(
        "smuggling: both framings taken",
        _FRAMING,
        '    if b"content-length" in fields.index:\n        raise MessageFault(400, "both Transfer-Encoding and Content-Length")  # RFC 9112 section 6.1\n',
        "",
    ),
    Fault(
        "smuggling: the first of two lengths taken",
        _FRAMING,
        '        raise MessageFault(400, "more than one Content-Length")',
        "        value = value[0]",
    ),
    Fault(
        "smuggling: a chunk's data may be longer than its size",
        _CHUNKS,
        'raise MessageFault(400, "chunk data is not followed by CRLF")',
        'buffer.skip(max(0, buffer.size - 2 - len(buffer.upto(b"\\r\\n", 99) or b"")))',
    ),
    Fault(
        "a chunk's end skipped a byte early where it was cut",
        _CHUNKS,
        '                    if mark == b"\\r":\n                        break\n',
        '                    if mark == b"\\r":\n                        buffer.skip(1)\n                        self._at = _At.SIZE\n                        break\n',
    ),
    Fault("pipelined request forgotten", _SERVER, "            self._watch(HAS_MORE, AT_ONCE)\n", "            pass\n"),
    Fault(
        "the answer to HEAD has a body",
        _SERVER,
        'mute = not end and (self._method == b"HEAD" or status == 204 or status == 304)',
        "mute = not end and (status == 204 or status == 304)",
    ),
    Fault("off by one: the largest body", _H1, "received > self._max_body:", "received >= self._max_body:"),
    Fault(
        "a connection with bytes left over used again",
        _CLIENT,
        "            if self._codec.buffered:\n                # Whatever it is, the next answer must not be read behind it (response-queue poisoning).",
        "            if self._codec.take_rest() is None:\n                # They are thrown away.",
    ),
    Fault(
        "a message of a WebSocket never ends",
        _WEBSOCKET,
        "        self._sending = None if last else kind\n",
        "        self._sending = kind\n",
    ),
    Fault(
        "WebSocket text may end amid a character",
        _WEBSOCKET,
        "part = decoder.decode(data, last)",
        "part = decoder.decode(data)",
    ),
    Fault(
        "half a close: no answer to a close frame",
        _WEBSOCKET,
        "                self._put(Opcode.CLOSE, farewell)\n",
        "                pass\n",
    ),
    Fault(
        "a service is not tried again",
        _LIFECYCLE,
        "                life.retry_at = now + delay\n",
        "                life.retry_at = math.inf\n",
    ),
    Fault(
        "missing deadline: the grace period",
        _LIFECYCLE,
        "        self._phase_end = now + self._grace_period\n",
        "",
    ),
    Fault(
        "the proxy repeats what is not idempotent",
        "proxy/verdicts.py",
        "        and (not reached_origin or method in IDEMPOTENT)\n",
        "",
    ),
    Fault(
        "the proxy keeps the credit of what it held back",
        _PUMPS,
        "            self._give_credit(owed)  # of 0 bytes as well: the sender may have been told to hold\n",
        "",
    ),
    Fault(
        "tiny pieces wait each by itself",
        _PUMPS,
        "            join_task(self._inbox, task)\n",
        "            self._inbox.append(task)\n",
    ),
    Fault(
        "a timer that moved later is lost",
        "machine.py",
        "                if deadline != math.inf:\n                    self._order += 1\n                    heappush(timers, (deadline, self._order, member))\n        return due",
        "        return due",
    ),
    Fault(
        "missing deadline: a dial",
        "connectors/dial_plan.py",
        "        self.deadline = now + self._expiry[1]",
        "        self.deadline = math.inf",
    ),
)
