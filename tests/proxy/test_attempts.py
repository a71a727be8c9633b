"""Who observes an attempt hears of its beginning and its end, once each, however it ends."""

import pytest

from sansio_pingora import Error, ErrorType, HttpPeer, Limits, ProxyHttp
from sansio_pingora.apps import HttpService, OriginApp
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Raw, World

GET = b"GET /status/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Observer:
    def __init__(self, log, address):
        self.log = log
        self.address = address

    def began(self, now):
        self.log.append(("began", self.address))

    def ended(self, error, status, now):
        self.log.append((None if error is None else error.etype, status))


class Watched(ProxyHttp):
    def __init__(self, *addresses):
        self.addresses = addresses
        self.log = []

    def new_ctx(self):
        return iter(self.addresses)

    def upstream_peer(self, session, ctx):
        peer = HttpPeer(next(ctx))
        peer.attempt = Observer(self.log, str(peer.address))
        return peer

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


def exchange(app, request, limits=None):
    world = World(seed=1)
    world.listen("10.0.0.9:80", HttpService(OriginApp()))
    world.listen("10.0.0.1:80", HttpProxy(app, limits))
    client = Raw(world, request)
    world.client("10.0.0.1:80", client)
    world.settle()
    return client.data


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_answer(status):
    app = Watched("10.0.0.9:80")
    assert exchange(app, GET % status).startswith(b"HTTP/1.1 %d " % status)
    assert app.log == [("began", "10.0.0.9:80"), (None, status)]


def test_a_second_attempt():
    app = Watched("10.0.0.2:80", "10.0.0.9:80")
    assert exchange(app, GET % 200).startswith(b"HTTP/1.1 200 ")
    assert app.log == [
        ("began", "10.0.0.2:80"),
        (ErrorType.CONNECT_REFUSED, None),
        ("began", "10.0.0.9:80"),
        (None, 200),
    ]


def test_an_origin_that_does_not_answer():
    app = Watched("10.0.0.9:80")
    request = b"GET /delay/100 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert exchange(app, request, Limits(read_timeout=1.0)).startswith(b"HTTP/1.1 504 ")
    assert app.log == [("began", "10.0.0.9:80"), (ErrorType.READ_TIMEDOUT, None)]


def test_a_filter_that_breaks_the_attempt_off():
    class Broken(Watched):
        def connected_to_upstream(self, *args):
            raise RuntimeError("no")

        def error_while_proxy(self, *args):
            raise RuntimeError("nor here")

    app = Broken("10.0.0.9:80")
    assert exchange(app, GET % 200).startswith(b"HTTP/1.1 500 ")
    assert app.log == [("began", "10.0.0.9:80"), (ErrorType.INTERNAL_ERROR, None)]


def test_a_peer_that_was_never_tried_is_not_heard_of():
    class Refusing(Watched):
        def upstream_peer(self, session, ctx):
            super().upstream_peer(session, ctx)
            raise Error.http_status(503)

    app = Refusing("10.0.0.9:80")
    assert exchange(app, GET % 200).startswith(b"HTTP/1.1 503 ")
    assert app.log == []
