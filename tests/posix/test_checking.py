from __future__ import annotations

import os
import socket

import pytest

from sansio_pingora.server import conf_from_yaml
from sansio_pingora_posix import check_conf, checking, is_numeric


def problems(text: str) -> list[str]:
    return check_conf(conf_from_yaml(text, "c.yaml"))


def edge(listener: str, more: str = "") -> str:
    return f"services:\n  - {{name: a, kind: origin, listeners: [{listener}]{more}}}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("error_log: /nowhere/at/all\n", "c.yaml:1:12 the directory /nowhere/at does not exist: make it"),
        ("error_log: /tmp\n", "c.yaml:1:12 /tmp is a directory: name a file in it"),
        ("upgrade_sock: /etc/passwd\n", "c.yaml:1:15 /etc/passwd is there and is no socket"),
        ("upgrade_sock: /nowhere/a\n", "the directory /nowhere does not exist"),
        ("client_bind_to_ipv4: [192.0.2.1]\n", "c.yaml:1:23 192.0.2.1: no interface of this host has that address"),
        (edge('{tcp: "192.0.2.1:80"}'), "c.yaml:2:47 192.0.2.1:80: no interface of this host has that address"),
        (edge('{tcp: "name.invalid:80"}'), "name.invalid:80: the name cannot be resolved"),
        (edge("{uds: /etc/passwd}"), "/etc/passwd is there and is no socket"),
        (
            'services:\n  - {name: a, kind: proxy, listeners: [{tcp: "127.0.0.1:0"}], upstreams: [{address: "a.invalid:1"}]}\n',
            "a.invalid:1: the name cannot be resolved",
        ),
    ],
)
def test_what_is_not_there_is_said_with_its_place(text, line):
    (problem,) = problems(text)

    assert line in problem


def test_a_reload_asks_no_name_server(monkeypatch):
    def resolve(address):
        assert is_numeric(address.host)
        return [address]

    monkeypatch.setattr(checking, "resolve", resolve)
    upstreams = '[{address: "a.invalid:1"}, {address: "127.0.0.1:1"}]'
    text = "client_bind_to_ipv4: [192.0.2.1]\n" + edge('{tcp: "b.invalid:80"}', f", upstreams: {upstreams}").replace(
        "origin", "proxy"
    )
    (problem,) = check_conf(conf_from_yaml(text, "c.yaml"), is_start=False)

    assert "192.0.2.1: no interface" in problem


def test_an_address_in_use_is_no_fault_and_nothing_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = tmp_path / "log"
        listeners = f'{{tcp: "127.0.0.1:{port}"}}, {{uds: {tmp_path}/sock}}'
        text = f"error_log: {log}\n{edge(listeners)}"

        assert problems(text) == []
    assert os.listdir(tmp_path) == []
