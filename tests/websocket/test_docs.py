"""The code in the page on WebSocket runs."""

from __future__ import annotations

from sansio_pingora.cli.client import Client
from tests.apps.serving import serving
from tests.pages import blocks, page

PAGE = page("websocket.md")
APPLICATION, STORY, MACHINE = blocks(PAGE)


def test_the_application():
    names: dict = {}
    exec(APPLICATION, names)
    with serving(names["Echo"](), "threads", h2c=True) as server:
        for http2 in (False, True):
            with Client(server.addresses[0], http2=http2) as client:
                assert client.converse("/", ["hello", b"there"]) == ["hello", b"there"]


def test_the_story():
    names: dict = {}
    exec(STORY, names)
    with serving(names["Greeter"](), "threads") as server, Client(server.addresses[0]) as client:
        answers = client.converse("/", ["Ann", "hello"])
    assert answers == ["who are you?", "Ann, you said hello"]


def test_the_machine():
    exec(MACHINE, {})
