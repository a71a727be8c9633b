"""TLS with clients: which certificate, decided by what the client says first."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.layers import Above
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Command, Event, RunFilter, StopFilters
from sansio_pingora.tls.backend import ServerSettings, TlsBackend
from sansio_pingora.tls.client_hello import ClientHello, HelloFault, HelloReader, NotTls
from sansio_pingora.tls.faults import alert_record
from sansio_pingora.tls.layer import TlsHandshake, TlsLayer
from sansio_pingora.upstreams import CertKey
from sansio_pingora.wire import error_page

__all__ = ["Certificates", "ChooseCertificate", "ChooseLater", "ServerTls", "TlsServer"]

_INTERNAL_ERROR, _UNRECOGNIZED_NAME, _NO_APPLICATION_PROTOCOL = 80, 112, 120


@dataclass(frozen=True, slots=True)
class ChooseLater:
    """What a callback returns that has to wait for its answer: *call* is run as :class:`RunFilter` says."""

    call: Callable[[], Any]
    is_async: bool = False


ChooseCertificate = Callable[[ClientHello], "CertKey | ChooseLater | None"]
"""Chooses by what the client said: a certificate, or None for the one that is configured for the name.

An :class:`Error` that it raises refuses the client.
"""


class Certificates:
    """Contexts by the names for which they are: the exact one, one with a wildcard, the default.

    *names* has certificates by host name, ``*.example.com`` among them. *strict*: a client that wants a name which is
    not here is refused, instead of being shown the default one.

    :raises ValueError: a certificate cannot be used, or a name is none.
    """

    __slots__ = ("_backend", "_default", "_names", "_settings", "_strict", "alpn")

    def __init__(
        self,
        backend: TlsBackend,
        settings: ServerSettings,
        names: Mapping[str, CertKey] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._strict = strict
        self._default = backend.server_context(settings)
        self._names: dict[str, Any] = {}
        self.alpn = settings.alpn
        for name, cert_key in (names or {}).items():
            bare = name.removeprefix("*.")
            if not bare or "*" in bare or "." not in name or not name.isascii():
                raise ValueError(f"certificate name {name!r}: write a host name, or *.example.com for one label more")
            self._names[name.lower().rstrip(".")] = backend.server_context(replace(settings, cert_key=cert_key))

    def context(self, server_name: str | None) -> Any | None:
        """The context for the name that a client wants; None: it is refused."""
        names = self._names
        if server_name is not None and (names or self._strict):
            name = server_name.rstrip(".")
            found = names.get(name) or names.get("*." + name.partition(".")[2])
            if found is not None or self._strict:
                return found
        return self._default

    def chosen(self, cert_key: CertKey) -> Any:
        """The context for a certificate that a callback brought.

        :raises ValueError: it cannot be used.
        """
        return self._backend.server_context(replace(self._settings, cert_key=cert_key))


class ServerTls:
    """TLS as one listener has it: makes the layer of every connection that it accepts.

    *certificates* may be put in the place of the old ones at any time and from any thread: handshakes that begin
    afterwards take the new ones, and nothing else notices.
    """

    __slots__ = ("certificates", "choose", "completed", "offload")

    def __init__(
        self,
        certificates: Certificates,
        choose: ChooseCertificate | None = None,
        completed: Callable[[TlsHandshake], object] | None = None,
        *,
        offload: bool = False,
    ) -> None:
        self.offload = offload
        """Answer clients off the lane: signing is most of what a handshake costs."""
        self.certificates = certificates
        self.choose = choose
        self.completed = completed
        """Told of every handshake; what it returns lands in the digest's extension."""

    def __call__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> TlsServer:
        """See :class:`sansio_pingora.layers.LayerMaker`."""
        return TlsServer(self, above, limits, digest, deadline)


class TlsServer(TlsLayer):
    """The server's side."""

    __slots__ = ("_certificates", "_choice", "_gives_up", "_lookup", "_offer", "_reader", "_tls")

    source = ErrorSource.DOWNSTREAM

    def __init__(self, tls: ServerTls, above: Above, limits: Limits, digest: Digest, deadline: float) -> None:
        super().__init__(above, limits, digest, deadline)
        self._tls = tls
        self._certificates = tls.certificates
        self._reader: HelloReader | None = HelloReader(limits.max_client_hello)
        self._offer: ClientHello | None = None
        self._lookup: _Lookup | None = None
        self._choice: Any = None
        self._gives_up = deadline  # kept while the answer of a callback is to be taken at once

    def _receive(self, data: bytes, now: float) -> list[Event]:
        reader = self._reader
        if reader is None:
            return super()._receive(data, now)
        if self._offer is not None:  # while the certificate is looked up
            reader.raw += data
            if len(reader.raw) > 2 * self.limits.max_client_hello:
                return self._refuse("the client sends on and on before it is answered", 10, now)
            return []
        try:
            hello = reader.feed(data)
            if hello is None:
                return []
            self._offer = hello
            return self._choose(hello, now)
        except NotTls as fault:
            return self._not_tls(fault, now)
        except HelloFault as fault:
            return self._refuse(fault.reason, fault.alert, now)

    # ── choosing ─────────────────────────────────────────────────────────────────────

    def _choose(self, hello: ClientHello, now: float) -> list[Event]:
        if self._certificates.alpn == ("h2",) and "h2" not in hello.alpn:
            return self._refuse("the client does not speak HTTP/2, and nothing else is served here", 120, now)
        choose = self._tls.choose
        if choose is None:
            return self._begin(None, now)
        try:
            choice = choose(hello)
        except Exception as exc:
            return self._begin(exc, now)
        if isinstance(choice, ChooseLater):
            self._lookup = _Lookup(self, choice)
            return []
        return self._begin(choice, now)

    def looked_up(self, choice: Any) -> None:
        """The callback's answer, a certificate, None, or what it raised. The handshake goes on at the next turn."""
        if self._closing:
            return
        self._choice = choice
        self._lookup = None
        self._gives_up, self._deadline = self._deadline, AT_ONCE
        if self._endpoint is not None:
            self._endpoint.lane.enlist(self._endpoint)

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        if self._deadline == AT_ONCE and self.inner is None and not self._closing:
            self._deadline = self._gives_up
            choice, self._choice = self._choice, None
            return self._begin(choice, now)
        return super().handle_timeout(now)

    def _begin(self, choice: Any, now: float) -> list[Event]:
        """The certificate is known: give the library all that came."""
        hello, reader = self._offer, self._reader
        assert hello is not None  # it was what the choice was made by
        assert reader is not None  # as above
        if type(choice) is _Answered:
            self._reader = None
            self._ssl = choice.session
            self._incoming.write(bytes(reader.raw))  # what has come meanwhile
            return self._handshake(now, choice.failed)
        if isinstance(choice, Error):
            return self._refuse("the client was refused", 49, now, choice)  # access_denied
        if isinstance(choice, Exception):
            return self._refuse("the choice of a certificate failed", _INTERNAL_ERROR, now, choice)
        try:
            certificates = self._certificates
            if choice is None:
                context = certificates.context(hello.server_name)
            else:
                context = certificates.chosen(choice)
        except (AttributeError, TypeError, ValueError) as exc:
            return self._refuse("the certificate that was chosen cannot be used", _INTERNAL_ERROR, now, exc)
        if context is None:
            return self._refuse(f"there is no certificate for {hello.server_name!r}", _UNRECOGNIZED_NAME, now)
        session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if self._tls.offload and self._endpoint is not None:
            self._incoming.write(bytes(reader.raw))
            reader.raw.clear()
            self._lookup = _Lookup(self, ChooseLater(partial(_Answered, session)))
            return []
        self._reader = None
        self._ssl = session
        return super()._receive(bytes(reader.raw), now)

    def _refuse(self, reason: str, alert: int, now: float, cause: Exception | None = None) -> list[Event]:
        self._output.append(alert_record(alert))
        source = self.source if cause is None or isinstance(cause, Error) else ErrorSource.INTERNAL
        return self._fail(Error(ErrorType.TLS_HANDSHAKE_FAILURE, reason, cause=cause, esource=source), now)

    def _not_tls(self, fault: NotTls, now: float) -> list[Event]:
        """Who speaks HTTP without TLS is told so, as by other servers; whatever else it is, it would not understand."""
        if fault.is_http:
            head = error_page(400)
            head.insert("Connection", "close")
            self._output.append(head.to_bytes())
        return self._fail(Error(ErrorType.TLS_HANDSHAKE_FAILURE, str(fault), esource=self.source), now)

    # ── the session ──────────────────────────────────────────────────────────────────

    def _completed(self, handshake: TlsHandshake) -> object:
        self._offer = None
        completed = self._tls.completed
        return None if completed is None else completed(handshake)

    def _hello(self) -> ClientHello | None:
        return None if self._tls.completed is None else self._offer

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        if self._lookup is not None:
            self._lookup.stop()
            self._lookup = None
        return super().transport_lost(reason, now)

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, and what stands above."""
        return (0 if self._reader is None else len(self._reader.raw)) + super().held


class _Answered:
    """A session that has heard the client and answered it, which takes its time; *failed* is what came of it.

    Made off the lane: until it is there, the lane touches neither the session nor its buffers.
    """

    __slots__ = ("failed", "session")

    def __init__(self, session: Any) -> None:
        self.session = session
        self.failed: Exception | None = None
        try:
            session.do_handshake()
        except (ssl.SSLError, OSError) as exc:
            self.failed = exc


class _Lookup:
    """The coordinator of one call that waits."""

    __slots__ = ("_commands", "_lane", "_layer", "armed", "deadline", "listed")

    def __init__(self, layer: TlsServer, later: ChooseLater) -> None:
        endpoint = layer.endpoint
        if endpoint is None:
            raise TypeError("a certificate callback that waits needs a lane: serve on one, or write it plain")
        self.deadline = math.inf
        self.armed = math.inf
        self.listed = False
        self._layer: TlsServer | None = layer
        self._lane = endpoint.lane
        self._commands: list[Command] = [RunFilter(1, later.call, later.is_async)]
        self._lane.enlist(self)

    def take_commands(self) -> list[Command]:
        """See :class:`sansio_pingora.machine.Coordinator`."""
        commands, self._commands = self._commands, []
        return commands

    def resume(self, token: int, value: Any, now: float) -> None:
        """See :class:`sansio_pingora.machine.Coordinator`."""
        if self._layer is not None:
            self._layer.looked_up(value)
        self.stop()

    def fail(self, token: int, error: Error, now: float) -> None:
        """See :class:`sansio_pingora.machine.Coordinator`."""
        if self._layer is not None:
            # What the callback raised, where it is not an Error of its own, comes as the cause of one.
            wrapped = error.cause if error.etype is ErrorType.INTERNAL_ERROR else error
            self._layer.looked_up(wrapped if isinstance(wrapped, Exception) else error)
        self.stop()

    def handle_timeout(self, now: float) -> None:
        """See :class:`sansio_pingora.machine.Coordinator`."""

    def stop(self) -> None:
        """Nobody waits for the answer."""
        self._layer = None
        self._commands.append(StopFilters())
        self._lane.enlist(self)
