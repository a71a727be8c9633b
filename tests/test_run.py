"""What a Server refuses before it starts anything."""

from __future__ import annotations

import pytest

from sansio_pingora import HttpServerApp, Response
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.server import Opt, Server, ServerConf
from sansio_pingora.services import Service


def server(runtime: str, app: object, threads: int = 1, **options: object) -> Server:
    made = Server(conf=ServerConf(runtime=runtime, threads=threads))
    service = Service("web", app, **options)
    service.add_tcp("127.0.0.1:0")
    made.add_service(service)
    return made


class Awaits(HttpServerApp):
    async def process_new_http(self, session):
        pass


@pytest.mark.parametrize(
    ("made", "kind", "text"),
    [
        (server("gevent", Awaits()), TypeError, "async def"),
        (server("asyncio", Awaits(), threads=2), ValueError, "has one lane"),
        (server("asyncio", Awaits(), head_timeot=1), ValueError, "did you mean 'head_timeout'"),
        (server("asyncoi", Awaits()), ValueError, "did you mean 'asyncio'"),
    ],
)
def test_bootstrap_finds_out_before_the_run(made, kind, text):
    with pytest.raises(kind, match=text):
        made.bootstrap()
    with pytest.raises(kind, match=text):
        made.run()


def test_a_good_one():
    server("threads", lambda _: Response(204), threads=2).bootstrap()


def test_one_configuration():
    with pytest.raises(LocalProtocolError, match="leave one of them out"):
        Server(Opt(conf="a.yaml"), ServerConf())
    made = server("threads", Awaits())
    with pytest.raises(LocalProtocolError, match="already"):
        made.add_service(made.services["web"])


def test_options_from_a_command_line():
    assert Opt.parse_from_args(["-u", "-c", "a.yaml"]) == Opt(upgrade=True, conf="a.yaml")
