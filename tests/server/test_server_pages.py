"""The examples of the pages on the server run, and say what is so."""

from __future__ import annotations

from sansio_pingora.server import ACCESS_FIELDS, KEYS, AccessFormat, Server, conf_from_yaml
from tests.pages import blocks, page, run_blocks


def test_the_configuration_of_the_page_can_be_read():
    (text,) = blocks(page("configuration.md"), "yaml")
    conf = conf_from_yaml(text, "c.yaml")

    assert conf.warnings == ()
    assert [one.weight for one in conf.services[0].upstreams] == [2, 1]


def test_the_server_of_the_page_can_be_run():
    (block,) = blocks(page("server.md"))
    server = run_blocks("server.md", [block])["server"]

    assert isinstance(server, Server)
    assert server.graph.order() == ["cache", "web"]


def test_the_page_names_every_key_of_a_service():
    text = page("configuration.md")
    service = KEYS["services"].item  # type: ignore[attr-defined]

    assert [key for key in service.keys if f"`{key}`" not in text] == []


def test_every_field_of_an_access_log_can_be_named():
    AccessFormat(" ".join(f"{{{name}}}" for name in ACCESS_FIELDS))
