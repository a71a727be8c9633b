"""Services in DNS: what a name server over UDP says, and what goes wrong."""

from __future__ import annotations

import sys

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.transport import ServiceRecord, SocketAddr
from sansio_pingora_posix import resolve_service, services
from tests.name_server import name_server

SERVICE = "_http._tcp.app.test"
ZONE = {
    (SERVICE, "SRV"): ["1 5 80 one.app.test.", "1 0 81 two.app.test.", "2 9 82 one.app.test."],
    ("one.app.test", "A"): ["10.0.0.1", "10.0.0.2"],
    ("one.app.test", "AAAA"): ["fd00::1"],
    ("two.app.test", "A"): ["10.0.0.3"],
    ("_none._tcp.app.test", "SRV"): ["0 0 0 ."],
    ("_lost._tcp.app.test", "SRV"): ["0 0 80 nowhere.test."],
    ("app.test", "A"): ["10.0.0.9"],
}


def look_up(server, name=SERVICE):
    return resolve_service(name, (SocketAddr.parse(server.address),))


def test_records_and_the_addresses_of_their_targets():
    with name_server(ZONE) as server:
        found = look_up(server)
        assert {(record.priority, record.weight, str(record.address)) for record in found} == {
            (1, 5, "10.0.0.1:80"),
            (1, 5, "10.0.0.2:80"),
            (1, 5, "[fd00::1]:80"),
            (1, 0, "10.0.0.3:81"),
            (2, 9, "10.0.0.1:82"),
            (2, 9, "10.0.0.2:82"),
            (2, 9, "[fd00::1]:82"),
        }
        assert sorted(server.asked) == sorted(
            [(SERVICE, "SRV"), *((name, kind) for name in ("one.app.test", "two.app.test") for kind in ("A", "AAAA"))]
        )
        assert isinstance(found[0], ServiceRecord)


def test_a_service_that_is_not_offered():
    with name_server(ZONE) as server:
        assert look_up(server, "_none._tcp.app.test") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_gone._tcp.app.test", "does not exist"),
        ("app.test", "does not contain an answer"),
        ("_lost._tcp.app.test", "does not exist"),
        ("_a..b", "empty"),
    ],
)
def test_what_cannot_be_looked_up(name, text):
    with name_server(ZONE) as server, pytest.raises(Error, match=text) as caught:
        look_up(server, name)
    assert caught.value.etype is ErrorType.CONNECT_NO_ROUTE
    assert repr(name) in str(caught.value)


def test_a_server_that_is_silent(monkeypatch):
    monkeypatch.setattr(services, "LIFETIME", 0.1)
    with name_server(ZONE) as server:
        server.silent = True
        with pytest.raises(Error, match="lifetime expired"):
            look_up(server)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    with pytest.raises(Error, match=r"pip install 'sansio-pingora\[dns\]'"):
        resolve_service(SERVICE)
