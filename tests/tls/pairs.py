"""Two ends of a TLS connection in memory, their bytes cut as a test wants."""

from __future__ import annotations

import math

from sansio_pingora.digests import Digest
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Endpoint, Established, Lane
from sansio_pingora.session import RawConnection
from sansio_pingora.tls import Certificates, ClientSettings, ClientTls, ServerSettings, ServerTls, TlsTarget
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import UpgradedBody
from sansio_pingora_posix import StdlibTls
from tests.tls.certs import ca, cert

BACKEND = StdlibTls()
INFO = TransportInfo(SocketAddr("10.0.0.1", 4000), SocketAddr("10.0.0.2", 443), 0.0)


class End:
    """One end: an endpoint whose layers carry a raw stream, or what *above* makes, and what its receiver was told."""

    def __init__(self, maker, limits, deadline=math.inf, above=RawConnection):
        self.events = []
        self.data = b""
        self.ended = False
        self.digest = Digest()
        layer = maker(lambda _layer, now: above(now, limits), limits, self.digest, deadline)
        self.endpoint = Endpoint(Lane(), layer, self, INFO)
        self.endpoint.lane.attach(self.endpoint)
        self.inner = None

    def receive_event(self, stream_id, value, now):
        self.events.append(value)
        if type(value) is Established:
            self.inner = value.connection
        elif type(value) is UpgradedBody:
            self.data += value.data
            self.ended = self.ended or value.end
            self.inner.consumed(1, len(value.data), now)

    @property
    def layer(self):
        return self.endpoint.connection

    @property
    def kinds(self):
        return [type(event).__name__ for event in self.events]

    @property
    def error(self):
        return next((event.error for event in self.events if hasattr(event, "error") and event.error), None)

    def take(self):
        return b"".join(self.layer.data_to_send())

    def send(self, data, end=False):
        self.inner.send(1, UpgradedBody(data, end), 0.0)


def server_settings(**changes):
    return ServerSettings(**{"cert_key": cert(), **changes})


def server(
    certificates=None,
    *,
    limits=None,
    choose=None,
    completed=None,
    deadline=math.inf,
    above=RawConnection,
    offload=False,
    **settings,
):
    if certificates is None:
        certificates = Certificates(BACKEND, server_settings(**settings))
    return End(ServerTls(certificates, choose, completed, offload=offload), limits or Limits(), deadline, above)


def client(
    name="localhost",
    *,
    shared=None,
    key=None,
    alternative=None,
    verify_name=True,
    completed=None,
    limits=None,
    above=RawConnection,
    **settings,
):
    limits = limits or Limits()
    shared = shared or ClientTls(BACKEND, limits)
    target = TlsTarget(name, alternative, verify_name, completed)
    return End(shared.maker(ClientSettings(**{"ca": ca(), **settings}), target, key), limits, above=above)


def pieces(data, cut):
    """*data* in pieces of *cut* bytes; all at once where that is 0."""
    size = cut or len(data) or 1
    return [data[at : at + size] for at in range(0, len(data), size)]


def pump(a, b, now=0.0, cut=0):
    """Carry bytes until neither end has any."""
    while True:
        moved = False
        for source, sink in ((a, b), (b, a)):
            for piece in pieces(source.take(), cut):
                moved = True
                sink.endpoint.receive_data(piece, now)
        if not moved:
            return
