"""The examples of the pages on the server run, and say what is so."""

from __future__ import annotations

import re
from pathlib import Path

from sansio_pingora.server import ACCESS_FIELDS, KEYS, AccessFormat, Server, conf_from_yaml

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_configuration_of_the_page_can_be_read():
    (text,) = examples("configuration.md", "yaml")
    conf = conf_from_yaml(text, "c.yaml")

    assert conf.warnings == ()
    assert [one.weight for one in conf.services[0].upstreams] == [2, 1]


def test_the_server_of_the_page_can_be_run():
    (text,) = examples("server.md", "python")
    names: dict[str, object] = {}
    exec(text, names)
    server = names["server"]

    assert isinstance(server, Server)
    assert server.graph.order() == ["cache", "web"]


def test_the_page_names_every_key_of_a_service():
    page = (DOCS / "configuration.md").read_text()
    service = KEYS["services"].item  # type: ignore[attr-defined]

    assert [key for key in service.keys if f"`{key}`" not in page] == []


def test_every_field_of_an_access_log_can_be_named():
    AccessFormat(" ".join(f"{{{name}}}" for name in ACCESS_FIELDS))
