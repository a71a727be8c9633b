"""The examples of docs/balancing.md run."""

import re

from sansio_pingora.apps import Beside, HttpService, OriginApp
from sansio_pingora.balancing import SELECTIONS, Backend
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Raw, World
from tests.pages import blocks, page, run_blocks

PAGE = page("balancing.md")


def names():
    return run_blocks("balancing.md", blocks(PAGE))


def test_the_blocks_run_and_the_first_one_balances():
    found = names()
    world = World(seed=1)
    world.listen("127.0.0.1:9002", HttpService(OriginApp()))
    world.listen("10.0.0.1:80", Beside(HttpProxy(found["Balanced"]()), [found["upstreams"]]))
    client = Raw(world, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    world.client("10.0.0.1:80", client)
    world.run(5.0)
    assert client.data.startswith(b"HTTP/1.1 200 ")
    assert not found["upstreams"].backends.ready(Backend("127.0.0.1:9001"))
    world.listen("10.0.0.2:80", Beside(HttpProxy(found["Balanced"]()), [found["registry"]]))
    world.run(6.0)
    assert found["registry"].backends.get_backend() == [Backend("10.0.0.1:80"), Backend("10.0.0.2:80")]
    assert not found["registry"].backends.ready(Backend("10.0.0.2:80"))


def test_it_has_every_selection():
    assert tuple(re.findall(r"^\| `[^`]+` \| `(\w+)` \|", PAGE, re.MULTILINE)) == SELECTIONS
