"""The server's side of :mod:`sansio_pingora.session.controls`: time-outs, keep-alive, draining, the retry buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sansio_pingora.digests import Digest
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.session.controls import FOREVER, SessionControls
from sansio_pingora.session.draining import drain_body
from sansio_pingora.session.effects import ReadBody
from sansio_pingora.session.replay import ReplayBuffer

if TYPE_CHECKING:
    from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = ["Held", "ServerControls"]


class Held(dict[int, Any]):
    """The exchanges under way of one connection by their stream, and what lasts from one to the next."""

    __slots__ = ("digest", "on_room", "unlogged", "user_context")

    digest: Digest
    user_context: Any

    def __init__(self) -> None:
        super().__init__()
        self.unlogged = 0
        """Exchanges that are over but for their log, those of streams that are gone among them."""
        self.on_room: Callable[[float], None] | None = None
        """Told when there is one less."""


class Extras:
    """The state of an exchange that uses what is here."""

    __slots__ = (
        "close_early",
        "downstream_modules",
        "held",
        "record",
        "retry",
        "spawner",
        "unlogged",
        "upstream_modules",
    )

    def __init__(self) -> None:
        self.close_early = False
        self.held: Held | None = None
        self.retry: ReplayBuffer | None = None
        self.downstream_modules: Any = None
        self.upstream_modules: Any = None
        self.record: Any = None
        self.spawner: Any = None
        self.unlogged = False


class ServerControls(SessionControls):
    """What a :class:`ServerSession` can do beyond reading a request and writing a response."""

    __slots__ = ("_extras", "ignore_info_resp")

    _extras: Extras | None
    _held: dict[int, Any]
    _body_done: bool
    _header_end: bool
    upgraded: bool
    req_header: RequestHeader | None
    ignore_info_resp: bool
    """Informational heads go nowhere, but for a 100 that the client waits for."""

    # ── the request, by Pingora's names ──────────────────────────────────────────────

    def read_request(self) -> bool:
        """There is a request: a session begins with its head."""
        return self.req_header is not None

    def get_header_bytes(self, name: bytes | str) -> bytes:
        """The first value of a request field, or ``b""``."""
        return b"" if self.req_header is None else self.req_header.fields.get(name) or b""

    def read_request_body(self) -> ReadBody:
        """The effect that brings the next bytes, or None at the end: ``data = yield session.read_request_body()``."""
        return ReadBody()

    def read_body_or_idle(self, no_body_expected: bool) -> ReadBody:
        """As :meth:`read_request_body`, while there is a body to wait for.

        :raises LocalProtocolError: there is none. A client that leaves needs no reading to be noticed: its
            error comes as the last task, and is raised in a callback wherever that waits.
        """
        if no_body_expected or self._body_done:
            raise LocalProtocolError(
                "the request is complete: a client that leaves is told of wherever the callback waits, without reading"
            )
        return ReadBody()

    def drain_request_body(self) -> bool:
        """Throw away what still comes of the body; True: all of it has come.

        The exchange hears of the body's end, and of nothing before it. As long as the response is not
        complete, the clocks over a body and ``max_body`` hold; from then on ``linger_timeout`` and
        ``linger_bytes``, or :meth:`set_total_drain_timeout`.

        :raises LocalProtocolError: the exchange has become a tunnel.
        """
        if self.upgraded:
            raise LocalProtocolError("a tunnel has no body to throw away: end it with shutdown()")
        return drain_body(self)  # type: ignore[arg-type]  # a ServerSession

    def held_exchange(self) -> Any:
        """What gets the events of this stream; None while it is still being begun, and behind the end."""
        return self._held.get(self.stream_id)

    def interpose(self, exchange: Any) -> None:
        """*exchange* gets the events of this stream from here on.

        One that is put there while the request's own is being begun is told of it by its attribute ``behind``.
        """
        self._held[self.stream_id] = exchange

    def to_h1_raw(self) -> bytes:
        """The head as HTTP/1 has it, whatever version it came with: what a parser of HTTP/1 reads as the same request.

        :raises LocalProtocolError: HTTP/1 has no form for it.
        """
        head = self.req_header
        if head is None:
            raise LocalProtocolError("the request's head broke the rules: there is none to be written")
        if head.protocol is not None:
            raise LocalProtocolError("an extended CONNECT is an Upgrade in HTTP/1: see sansio_pingora.session.bridge")
        if head.version == b"1.0":
            return head.to_bytes().replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
        extra = b""
        if head.version == b"2" and not self._header_end and b"content-length" not in head.fields.index:
            extra = b"Transfer-Encoding: chunked\r\n"  # HTTP/2 frames its bodies itself
        return head.to_bytes(extra)

    # ── a body for another attempt ───────────────────────────────────────────────────

    def enable_retry_buffering(self) -> None:
        """Keep the body that comes from here on, up to the limit ``replay_buffer``."""
        extras = self._with_extras()
        if extras.retry is None:
            extras.retry = ReplayBuffer(self._connection.limits.replay_buffer)

    def retry_buffer_truncated(self) -> bool:
        """More has come than the buffer holds: it holds nothing."""
        extras = self._extras
        return extras is not None and extras.retry is not None and not extras.retry.complete

    def get_retry_buffer(self) -> bytes | None:
        """All that has come since :meth:`enable_retry_buffering`; None when that is nothing, or too much."""
        retry = None if self._extras is None else self._extras.retry
        body = None if retry is None else retry.body()
        return None if body is None else body.data

    # ── keep-alive ───────────────────────────────────────────────────────────────────

    def set_keepalive(self, seconds: float | None) -> None:
        """How long the connection waits for another request behind this one; 0: for ever; None: it closes.

        None is final, and no number brings back what the client or the framing ruled out. Of HTTP/2 and of a
        custom protocol None drains the connection: the requests under way are the last.

        :raises LocalProtocolError: a number, and the connection takes none.
        """
        if seconds is not None:
            if self.is_subrequest:
                self._cannot("set_keepalive", "no request follows on it")
            self._tune("set_keepalive", "keepalive_timeout", keepalive_timeout=seconds or FOREVER)
        elif (machine := self.as_http1()) is not None:
            machine.keep = False
        elif not self.is_subrequest:
            self._connection.drain(self.now)

    def get_keepalive(self) -> float | None:
        """How long the connection will wait for another request, as far as it is known now; 0: for ever; None: not."""
        machine = self._machine
        if self.is_subrequest or machine.closing:
            return None
        if not getattr(machine, "keep", True) or getattr(machine, "draining", False):  # HTTP/1, and the others
            return None
        timeout = machine.limits.keepalive_timeout
        return 0 if timeout >= FOREVER else timeout

    def set_keepalive_reuses_remaining(self, reuses: int | None) -> None:
        """How many requests may follow on this connection; None: any number.

        :raises LocalProtocolError: not HTTP/1.
        """
        machine = self.as_http1()
        if machine is None:
            self._cannot("set_keepalive_reuses_remaining", "set the limit keepalive_request_limit for the service")
        machine.requests_left = reuses
        if reuses is not None and reuses <= 0:
            machine.keep = False

    def get_keepalive_reuses_remaining(self) -> int | None:
        """How many requests may follow on this connection; None: any number, or it is not HTTP/1."""
        machine = self.as_http1()
        return None if machine is None else machine.requests_left

    def set_connection_user_context(self, context: Any) -> None:
        """Keep *context* for the other requests of this connection, those at the same time and those to come."""
        self._lasting().user_context = context

    @property
    def connection_user_context(self) -> Any:
        """What was kept for the requests of this connection, or None."""
        return getattr(self._lasting(), "user_context", None)

    def take_connection_user_context(self) -> Any:
        """As :attr:`connection_user_context`, and keep it no longer."""
        context = self.connection_user_context
        self._lasting().user_context = None
        return context

    def digest(self) -> Digest:
        """What is known of the transport, the same object for every stream of the connection: it may be changed."""
        lasting = self._lasting()
        found = getattr(lasting, "digest", None)
        if found is None:
            found = lasting.digest = Digest.of(self.info)
        return found

    # ── time ─────────────────────────────────────────────────────────────────────────

    def set_read_timeout(self, seconds: float | None) -> None:
        """How long the client may send nothing while its body, or a tunnel, is read; None: for ever.

        It replaces ``body_idle_timeout``, ``read_timeout`` and ``min_body_rate`` for this exchange.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike.
        """
        timeout = FOREVER if seconds is None else seconds
        limits: dict[str, Any] = dict(body_idle_timeout=timeout, read_timeout=timeout, min_body_rate=None)
        self._tune("set_read_timeout", "body_idle_timeout", **limits)

    def get_read_timeout(self) -> float | None:
        """See :meth:`set_read_timeout`."""
        return _seconds(self._machine.limits.body_idle_timeout)

    def set_write_timeout(self, seconds: float | None) -> None:
        """How long the client may take nothing of what waits for it; None: for ever.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike.
        """
        limit = "h2_stall_timeout" if self.is_http2 else "write_idle_timeout"
        self._tune("set_write_timeout", limit, write_idle_timeout=FOREVER if seconds is None else seconds)

    def get_write_timeout(self) -> float | None:
        """See :meth:`set_write_timeout`."""
        limits = self._machine.limits
        return _seconds(limits.h2_stall_timeout if self.is_http2 else limits.write_idle_timeout)

    @property
    def share(self) -> int:
        """Bytes of a response that may wait for the client, were all that share its connection slow to take theirs."""
        return self._machine.share if self.is_http2 else self._machine.limits.high_water  # type: ignore[no-any-return]

    @property
    def takes(self) -> int:
        """Bytes of a response that the client has room for at once, as far as that can be known."""
        machine = self._machine
        return machine.takes(self.stream_id) if self.is_http2 else machine.limits.high_water  # type: ignore[no-any-return]

    def set_total_drain_timeout(self, seconds: float | None) -> None:
        """How long the rest of a body is read and thrown away behind a complete response; None: for ever.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike.
        """
        timeout = FOREVER if seconds is None else seconds
        self._tune("set_total_drain_timeout", "linger_timeout", linger_timeout=timeout)

    def get_total_drain_timeout(self) -> float | None:
        """See :meth:`set_total_drain_timeout`."""
        return _seconds(self._machine.limits.linger_timeout)

    def set_min_send_rate(self, rate: float | None) -> None:
        """Least bytes per second that the client is to take, in place of the write time-out; 0 or None: none.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike, or sends no bytes.
        """
        if self.is_subrequest:
            self._cannot("set_min_send_rate", "it sends no bytes")
        self._tune("set_min_send_rate", "min_send_rate", min_send_rate=rate or None)

    # ── when the client is not as it should be ───────────────────────────────────────

    def set_ignore_info_resp(self, ignore: bool) -> None:
        """See :attr:`ignore_info_resp`."""
        self.ignore_info_resp = ignore

    def set_close_on_response_before_downstream_finish(self, close: bool) -> None:
        """A final head that goes out before the whole request has come is the last of its connection.

        Without it the rest of the request is read on, within ``linger_timeout`` and ``linger_bytes``.

        :raises LocalProtocolError: not HTTP/1, where a body alone does not hold up the connection.
        """
        if self.as_http1() is None:
            self._cannot("set_close_on_response_before_downstream_finish", "an early response ends its stream alone")
        self._with_extras().close_early = close

    def set_abort_on_close(self, abort: bool) -> None:
        """A client that shuts its side while it waits for the answer has given up; what is under way fails.

        :raises LocalProtocolError: not HTTP/1.
        """
        if self.as_http1() is None:
            self._cannot("set_abort_on_close", "set the option abort_on_close for the service")
        self._tune("set_abort_on_close", "abort_on_close", abort_on_close=abort)

    # ── what a proxy puts here ───────────────────────────────────────────────────────

    @property
    def downstream_modules_ctx(self) -> Any:
        """The :class:`~sansio_pingora.modules.HttpModuleCtx` of this exchange; None where no module is registered."""
        return None if self._extras is None else self._extras.downstream_modules

    @downstream_modules_ctx.setter
    def downstream_modules_ctx(self, modules: Any) -> None:
        self._with_extras().downstream_modules = modules

    @property
    def upstream_modules_ctx(self) -> Any:
        """The same of the attempt under way, from before ``connected_to_upstream`` on."""
        return None if self._extras is None else self._extras.upstream_modules

    @upstream_modules_ctx.setter
    def upstream_modules_ctx(self, modules: Any) -> None:
        self._with_extras().upstream_modules = modules

    @property
    def record(self) -> Any:
        """In ``logging``: what became of this exchange, an :class:`~sansio_pingora.proxy.ExchangeRecord`."""
        return None if self._extras is None else self._extras.record

    @record.setter
    def record(self, record: Any) -> None:
        self._with_extras().record = record

    @property
    def subrequest_spawner(self) -> Any:
        """A :class:`~sansio_pingora.proxy.SubrequestSpawner`, where ``allow_spawning_subrequest`` allowed it."""
        return None if self._extras is None else self._extras.spawner

    @subrequest_spawner.setter
    def subrequest_spawner(self, spawner: Any) -> None:
        self._with_extras().spawner = spawner

    # ── how it is done ───────────────────────────────────────────────────────────────

    def _tune(self, what: str, limit: str, **changes: Any) -> None:
        machine = self._machine
        tune = getattr(machine, "tune", None)
        if tune is None:
            self._cannot(what, f"its exchanges share the limits of their connection, set {limit} for the service")
        tune(self.stream_id, self.now, **changes)

    def _with_extras(self) -> Extras:
        if self._extras is None:
            self._extras = Extras()
        return self._extras

    def _lasting(self) -> Held:
        if isinstance(self._held, Held):
            return self._held
        extras = self._with_extras()  # somebody made the session without a dispatcher: it lasts as long as the session
        if extras.held is None:
            extras.held = Held()
        return extras.held

    def _body_came(self, data: bytes) -> None:
        """Body bytes have arrived, and this exchange uses something of what is here."""
        assert self._extras is not None  # asked by who calls
        if self._extras.retry is not None:
            self._extras.retry.add(data)

    def _head_goes(self, head: ResponseHeader) -> None:
        """A head is sent next, and this exchange uses something of what is here."""
        assert self._extras is not None  # asked by who calls
        if self._extras.close_early and not self._body_done and not head.informational:
            self._machine.keep = False


def _seconds(limit: float) -> float | None:
    return None if limit >= FOREVER else limit
