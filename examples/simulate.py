"""A test of a proxy of one's own without a socket and without waiting: an hour of virtual time takes no time.

pytest examples/simulate.py
"""

from sansio_pingora import Error, HttpPeer, ProxyHttp, Response, ServeHttp, Sleep
from sansio_pingora.apps import HttpService
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Raw, World


class OpenAtNight(ProxyHttp):
    def request_filter(self, session, ctx):
        yield Sleep(3600)
        if session.get_header("x-key") is None:
            raise Error.http_status(401)

    def upstream_peer(self, session, ctx):
        return HttpPeer("origin.test:80")


def ask(fields=b""):
    world = World(seed=1)
    world.listen("origin.test:80", HttpService(ServeHttp(lambda request: Response(200, body=b"hello"))))
    world.listen("10.0.0.1:80", HttpProxy(OpenAtNight()))
    client = Raw(world, b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + b"Connection: close\r\n\r\n")
    world.client("10.0.0.1:80", client)
    world.settle()
    return client.data


def test_who_has_a_key_gets_in():
    assert ask(b"X-Key: 1\r\n").endswith(b"hello")


def test_who_has_none_does_not():
    assert ask().startswith(b"HTTP/1.1 401 ")
