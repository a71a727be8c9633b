"""TLS in simulated worlds: the stand-in for the library, scripted peers above it, and what goes wrong."""

from __future__ import annotations

import ssl

import pytest

from sansio_pingora.apps import HttpService, OriginApp
from sansio_pingora.errors import ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.testing import LinkProfile, Random, Raw, Weather, World
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.testing.tls_library import TlsLibrary, authority, issue
from sansio_pingora.testing.tls_peers import ClientOverTls, OriginOverTls, SimulatedTls, TlsMood
from sansio_pingora.tls import (
    Certificate,
    Certificates,
    ClientSettings,
    ClientTls,
    ServerSettings,
    ServerTls,
    TlsTarget,
)
from tests.tls.pairs import End, pump


def pair(*, name="a.test", alpn=("h2", "http/1.1"), served=("h2",), shown=None, ca=None, shared=None, library=None):
    """Our two layers, on the stand-in."""
    library = library or TlsLibrary()
    settings = ServerSettings(cert_key=shown or issue("a.test"), alpn=served)
    theirs = End(ServerTls(Certificates(library, settings)), Limits())
    shared = shared or ClientTls(library, Limits())
    maker = shared.maker(ClientSettings(ca=ca or authority(), alpn=alpn), TlsTarget(name), "key")
    ours = End(maker, Limits())
    return ours, theirs, shared


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_the_layers_work_on_it_as_on_the_real_one(cut):
    ours, theirs, _ = pair()
    pump(ours, theirs, cut=cut)
    ours.send(b"GET" * 10_000)
    theirs.send(b"answer", end=True)
    pump(ours, theirs, cut=cut)

    assert (theirs.data, ours.data, ours.ended) == (b"GET" * 10_000, b"answer", True)
    assert ours.layer.alpn == theirs.layer.alpn == "h2"
    assert ours.digest.ssl_digest.organization == "main"


def test_nothing_of_the_plain_text_is_on_the_wire():
    ours, theirs, _ = pair()
    pump(ours, theirs)
    ours.send(b"GET / HTTP/1.1")
    assert b"GET" not in ours.take()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "b.test"}, "hostname mismatch: it is for a.test"),
        ({"shown": issue("a.test", "nobody")}, "unable to get local issuer certificate"),
        ({"alpn": ("h2",), "served": ("http/1.1",)}, "does not speak HTTP/2"),
    ],
)
def test_what_is_refused(changes, text):
    ours, theirs, _ = pair(**changes)
    pump(ours, theirs)
    assert text in str(ours.error)


def test_a_damaged_record_is_told():
    ours, theirs, _ = pair()
    pump(ours, theirs)
    ours.send(b"data")
    raw = bytearray(ours.take())
    raw[-1] ^= 1
    theirs.endpoint.receive_data(bytes(raw), 0.0)
    assert theirs.error.etype is ErrorType.READ_ERROR
    ours.endpoint.receive_data(theirs.take(), 0.0)
    assert "bad record mac" in str(ours.error)


def test_sessions_are_resumed():
    library = TlsLibrary()
    ours, theirs, shared = pair(library=library)
    pump(ours, theirs)
    theirs.send(b"x")
    pump(ours, theirs)
    again, theirs, _ = pair(library=library, shared=shared)
    pump(again, theirs)
    assert not ours.layer._ssl.session_reused
    assert again.layer._ssl.session_reused


def test_its_bytes_are_equal_in_every_run():
    def run():
        ours, theirs, _ = pair()
        said = [ours.take()]
        theirs.endpoint.receive_data(said[0], 0.0)
        return [*said, theirs.take()]

    assert run() == run()


def test_a_certificate_parses():
    found = Certificate.parse(ssl.PEM_cert_to_DER_cert(issue("a.test", "x" * 200).cert.decode()))
    assert (found.dns_names, found.organization) == (("a.test",), "x" * 200)


# ── scripted peers ───────────────────────────────────────────────────────────────────


def world(chance=0.0):
    made = World(7, Weather((LinkProfile(latency=0.01, cuts=20),)))
    tls = SimulatedTls(made, Random(1), calm=True)
    tls.chance, tls.front, tls.back = chance, True, True
    return made, tls


def over_tls(script, made, tls):
    made.listen("10.0.0.2:443", HttpService(OriginApp()), tls.layers())
    made.client("10.0.0.2:443", ClientOverTls(tls, script, ("http/1.1",)))
    made.run()


@pytest.fixture
def mood(monkeypatch):
    def have(fails="", truncates=False, damages=0):
        def make(self, rng, side, chance):
            own = (side == "origin") is (fails == "agrees on nothing")
            self.fails, self.truncates, self.damages = fails if own else "", truncates, damages

        monkeypatch.setattr(TlsMood, "__init__", make)

    return have


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_script_sees_plain_text():
    made, tls = world()
    raw = Raw(made, GET, 1.0, shut=True)
    over_tls(raw, made, tls)
    assert raw.data.startswith(b"HTTP/1.1 200")
    assert raw.eof
    assert raw.error is None


@pytest.mark.parametrize("fails", ["stalls", "sends garbage", "speaks plain text", "leaves amid the handshake"])
def test_a_handshake_that_fails_is_over_in_time(mood, fails):
    mood(fails)
    made, tls = world()
    raw = Raw(made, GET)
    over_tls(raw, made, tls)
    assert raw.error is not None
    assert raw.data == b""
    assert made.faults.counts[f"tls client {fails}"] == 1
    assert not any(driver.sockets for driver in made.drivers)


def test_a_client_that_ends_without_close_notify_is_answered(mood):
    mood(truncates=True)
    made, tls = world()
    raw = Raw(made, GET, shut=True)
    over_tls(raw, made, tls)
    assert raw.data.startswith(b"HTTP/1.1 200")
    assert made.faults.counts["tls client ends without close_notify"]


def test_a_record_that_is_damaged_is_no_request(mood):
    mood(damages=1)
    made, tls = world()
    raw = Raw(made, GET)
    over_tls(raw, made, tls)
    assert raw.data == b""
    assert "BAD_RECORD_MAC" in str(raw.error)


def test_who_does_not_agree_is_served_by_the_other_listener(mood):
    mood("agrees on nothing")
    made, tls = world()
    first, other = Raw(made), Raw(made)
    made.listen("10.0.0.3:443", OriginOverTls(tls, first, "h2", other))
    made.client("10.0.0.3:443", ClientOverTls(tls, Raw(made, b"x"), ("h2",)))
    made.run()
    assert (first.data, other.data) == (b"", b"x")


def test_moods_are_all_drawn():
    drawn = [TlsMood(Random(seed), "origin", 1.0) for seed in range(300)]
    assert len({each.fails for each in drawn}) == 8
    assert any(each.truncates for each in drawn)
    assert any(each.damages for each in drawn)
    assert not any(each.fails or each.truncates or each.damages for each in (TlsMood(Random(1), "client", 0.0),))


def test_a_share_of_the_worlds_has_tls():
    cases = [build_world(seed)[1] for seed in range(60)]
    found = [case.tls for case in cases if case.tls is not None]
    assert 10 < len(found) < 40
    assert {(tls.front, tls.back) for tls in found} == {(True, True), (True, False), (False, True)}
    assert all(
        tls.chance == 0.0 for case, tls in zip(cases, (case.tls for case in cases), strict=True) if case.calm and tls
    )
