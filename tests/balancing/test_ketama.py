"""The ring: Pingora's vectors, nginx's choices, and what moves when the set changes."""

import json
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.balancing import MAX_RING_WEIGHT, Backend, Consistent, Continuum

NGINX = json.loads((Path(__file__).parents[1] / "vectors" / "ketama_nginx.json").read_text())


def ring(*addresses):
    return Continuum(sorted(Backend(address) for address in addresses))


def chosen(continuum, *keys):
    return [str(continuum.node(key.encode())) for key in keys]


# ── facts of the specification ───────────────────────────────────────────────────────


def test_pingoras_three_backends():
    b1, b2, b3 = "1.1.1.1:80", "1.0.0.1:80", "1.0.0.255:80"
    keys = [f"test{number}" for number in range(10)]
    assert chosen(ring(b1, b2, b3), *keys) == [b2, b1, b1, b1, b1, b3, b1, b3, b1, b2]
    assert chosen(ring(b1, b2), *keys) == [b2, b1, b1, b1, b1, b2, b1, b1, b1, b2]


def test_nginx_paths():
    two = ring("127.0.0.1:7777", "127.0.0.1:7778")
    found = chosen(two, "/some/path", "/some/longer/path", "/sad/zaidoon", "/g")
    assert [address[-4:] for address in found] == ["7778", "7777", "7778", "7777"]


def test_ten_hosts_and_an_eleventh():
    hosts = [f"127.0.0.{number}:6443" for number in range(1, 11)]
    for addresses in (hosts, [*hosts, "127.0.0.11:6443"]):
        assert chosen(ring(*addresses), "a", "b") == ["127.0.0.10:6443", "127.0.0.5:6443"]


def test_an_empty_ring_has_nobody_and_a_single_node_everything():
    assert Continuum([]).node(b"x") is None
    assert list(Continuum([]).iter(b"x")) == []
    cycle = ring("a:1").iter(b"x")
    assert {str(next(cycle)) for _ in range(1000)} == {"a:1"}


# ── an independent implementation ────────────────────────────────────────────────────


def test_a_thousand_keys_as_nginx_has_them():
    continuum = Continuum(sorted(Backend(address, weight) for address, weight in NGINX["servers"]))
    expected = [vector["server"] for vector in NGINX["vectors"]]
    assert len(expected) == 1000
    assert chosen(continuum, *(vector["id"] for vector in NGINX["vectors"])) == expected


@given(st.dictionaries(st.integers(1, 250), st.integers(1, 3), min_size=1, max_size=6), st.binary(max_size=20))
def test_a_key_goes_to_the_first_point_that_is_not_below_it(weights, key):
    """Against the definition, written out: every point of every node, and the least of those at or above the key."""
    backends = sorted(Backend(f"10.0.0.{last}:80", weight) for last, weight in weights.items())
    points = []
    for backend in backends:
        text = backend.addr.host.encode() + b"\0" + b"80"
        previous = 0
        for _ in range(160 * backend.weight):
            previous = crc32(text + previous.to_bytes(4, "little"))
            points.append((previous, backend))
    at = crc32(key)
    above = [point for point in points if point[0] >= at] or points
    expected = min(above, key=lambda point: point[0])[1]
    assert Continuum(backends).node(key) is expected


# ── what it is for ───────────────────────────────────────────────────────────────────


@given(st.sets(st.integers(1, 250), min_size=2, max_size=12), st.data())
def test_only_the_keys_of_a_backend_that_goes_move(lasts, data):
    backends = sorted(Backend(f"10.0.0.{last}:80") for last in lasts)
    gone = data.draw(st.sampled_from(backends))
    before = Continuum(backends)
    after = Continuum([backend for backend in backends if backend is not gone])
    for number in range(200):
        key = b"key %d" % number
        if before.node(key) is not gone:
            assert after.node(key) is before.node(key)
        else:  # and it moves to who would have been asked next
            assert after.node(key) is next(backend for backend in before.iter(key) if backend is not gone)


def test_keys_are_spread_by_weight():
    backends = [Backend("10.0.0.1:80", 1), Backend("10.0.0.2:80", 2), Backend("10.0.0.3:80", 5)]
    continuum = Continuum(backends)
    counted = dict.fromkeys(backends, 0)
    for number in range(8_000):
        counted[continuum.node(b"/path/%d" % number)] += 1
    for backend in backends:
        assert counted[backend] == pytest.approx(1_000 * backend.weight, rel=0.25)


def test_weights_that_would_make_too_large_a_ring_are_refused():
    with pytest.raises(ValueError, match="weights of 8193 together are too many for a ring"):
        Consistent().build([Backend("a:1", MAX_RING_WEIGHT), Backend("b:1")], lambda backend: 0)
