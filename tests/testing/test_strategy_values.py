"""What the strategies give prints as what makes it, and shrinks to the simplest there is."""

import inspect
import math

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as hypothesis_strategies

import sansio_pingora.testing as kit
from sansio_pingora.testing import strategies as st
from sansio_pingora.testing.strategies import parties
from sansio_pingora.transport import SocketAddr, TcpKeepalive
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions, Proxy
from sansio_pingora.websocket import Deflate

NAMES = {
    **{name: getattr(kit, name) for name in kit.__all__},
    **{name: getattr(st, name) for name in st.__all__},
    **{kind.__name__: kind for kind in (ALPN, Deflate, HttpPeer, PeerOptions, Proxy, SocketAddr, TcpKeepalive)},
    "inf": math.inf,
}
ARGUMENTS = {"illegal_websocket_frames": {"server": True}, "websocket_frames": {"server": True, "deflate": Deflate()}}
FUNCTIONS = {"http2_frame", "websocket_frame"}  # any one frame, made by hand
STRATEGIES = [name for name in st.__all__ if inspect.isfunction(getattr(st, name)) and name not in FUNCTIONS]
GET = "b'GET / HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n'"
OK = "b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'"

SIMPLEST = {
    "bodies": "b''",
    "chunked": "b'0\\r\\n\\r\\n'",
    "chunkings": "Chunking(CutAt([]))",
    "clients": f"ClientScript((Asks({GET}),))",
    "cuts": "CutAt([])",
    "fault_plans": "()",
    "field_values": "b''",
    "filter_scripts": "FilterScript()",
    "http1_pipelines": GET,
    "http1_request_heads": GET,
    "http1_requests": GET,
    "http1_response_heads": OK,
    "http1_responses": OK,
    "link_profiles": "LinkProfile()",
    "origins": f"OriginScript((Answers({OK}),))",
    "peer_pairs": "(HttpPeer('10.0.0.1:80'), HttpPeer('10.0.0.1:80'), True)",
    "peers": "HttpPeer('10.0.0.1:80')",
    "targets": "b'/'",
    "weathers": "Weather()",
    "websocket_conversations": "WebSocketConversation([])",
    "websocket_deflates": "None",
    "websocket_frames": "[]",
}
# The first that is tried is the one that all others shrink to.
FIRST = settings(max_examples=1, phases=[Phase.generate], database=None)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
QUICK = settings(max_examples=5, phases=[Phase.generate], suppress_health_check=SLOW)


def made(name):
    return getattr(st, name)(**ARGUMENTS.get(name, {}))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_value_prints_as_what_makes_it(name):
    @QUICK
    @given(made(name))
    def prints(value):
        assert repr(eval(repr(value), dict(NAMES))) == repr(value)

    prints()


@pytest.mark.parametrize("name", STRATEGIES)
def test_hypothesis_prints_a_value_as_what_makes_it(name):
    """It knows how a value was made, and would print that: no more than what others can write may be said of it."""
    told = []

    @QUICK
    @given(hypothesis_strategies.tuples(made(name)))
    def fails(value):
        told.append(value)
        assert len(told) < 3

    with pytest.raises(AssertionError) as caught:
        fails()
    value = "\n".join(caught.value.__notes__).partition("value=")[2].rpartition(",\n)")[0]
    assert eval(value, dict(NAMES))


@pytest.mark.parametrize("name", SIMPLEST)
def test_shrinks_to_the_simplest(name):
    assert repr(find(made(name), lambda _: True, settings=FIRST)) == SIMPLEST[name]


@pytest.mark.parametrize("name", sorted({*STRATEGIES} - {*SIMPLEST}))
def test_others_shrink_to_something_short(name):
    """What is wrong in them has to stay."""
    assert len(repr(find(made(name), lambda _: True, settings=FIRST))) < 200


@pytest.mark.parametrize(
    ("parties_of", "manner"),
    [
        *((st.clients, manner) for manner in parties.CLIENT_MANNERS),
        *((st.origins, manner) for manner in parties.ORIGIN_MANNERS),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_party_has_the_manner_that_was_asked_for(parties_of, manner):
    script = find(parties_of(manners=[manner]), lambda _: True, settings=FIRST)
    plain = find(parties_of(manners=["polite"]), lambda _: True, settings=FIRST)

    assert (script == plain) is (manner == "polite")
    assert len(repr(script)) < 300


@pytest.mark.parametrize("strategy", [st.clients, st.origins])
@pytest.mark.parametrize("manners", [[], ["rude"]])
def test_an_unknown_manner_is_refused(strategy, manners):
    with pytest.raises(ValueError, match=r"manners .*: they are one or more of polite, "):
        find(strategy(manners=manners), lambda _: True)


def test_an_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="'rest' is no phase that follows a script: early_request_filter, "):
        find(st.filter_scripts(["rest"]), lambda script: script.acts)


@QUICK
@given(st.peer_pairs())
def test_pairs_share_connections_where_they_say_so(pair):
    one, other, shared = pair

    assert (one.reuse_key == other.reuse_key) is shared
