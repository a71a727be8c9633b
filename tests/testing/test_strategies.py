import subprocess
import sys
from collections import Counter

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as hst
from wsproto import ConnectionType
from wsproto.connection import Connection as WsprotoConnection

from sansio_pingora.http1 import Http1Client
from sansio_pingora.limits import Limits
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import feed
from sansio_pingora.testing import strategies as st
from sansio_pingora.testing.known_bad import KNOWN_BAD
from sansio_pingora.testing.strategies.websocket import ILLEGAL_FRAMES, _illegal
from sansio_pingora.websocket import Closed, MessagePart, WebSocketSession
from sansio_pingora.wire import Failed, Fields, Header, RequestHeader
from tests.pages import page


@given(st.http1_pipelines(), st.cuts())
def test_cutting_never_matters(raw, cuts):
    assert feed(ServerConnection(now=0.0), [raw]) == feed(ServerConnection(now=0.0), cuts(raw))


@given(st.http1_requests())
def test_requests_are_legal(raw):
    events, out = feed(ServerConnection(now=0.0), [raw])

    assert out.startswith(b"HTTP/1.1 204 ")
    assert sum(1 for _, value in events if isinstance(value, Header)) == 1


@given(st.http1_responses(), st.cuts())
def test_responses_are_legal(raw, cuts):
    connection = Http1Client(Limits())
    connection.open_stream(0.0)
    connection.send(1, Header(RequestHeader("GET", "/", [("Host", "h")]), True), 0.0)

    events, _ = feed(connection, cuts(raw))

    assert not any(isinstance(getattr(value, "value", value), Failed) for _, value in events)


@given(st.almost_valid_requests(), st.cuts())
def test_almost_valid_requests_are_answered_alike_however_they_are_cut(raw, cuts):
    assert feed(ServerConnection(now=0.0), [raw]) == feed(ServerConnection(now=0.0), cuts(raw))


@given(st.field_names(), st.field_values())
def test_names_and_values_are_legal(name, value):
    assert Fields([(name, value)]).get(name) == value


@given(st.targets())
def test_targets_are_legal(target):
    assert RequestHeader("GET", target).target == target


@given(st.bodies().flatmap(lambda body: hst.tuples(hst.just(body), st.chunked(body))))
def test_chunked_bodies_hold_their_body(pair):
    body, raw = pair
    connection = ServerConnection(now=0.0)

    events, _ = feed(connection, [b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", raw])

    assert b"".join(getattr(value, "data", b"") for _, value in events) == body


@given(hst.binary(max_size=3000), st.cuts())
def test_cuts_lose_nothing_and_yield_no_empty_piece(raw, cuts):
    pieces = cuts(raw)

    assert b"".join(pieces) == raw
    assert all(pieces)


def test_the_package_does_not_load_hypothesis():
    code = "import sys, sansio_pingora.testing; sys.exit('hypothesis' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_hypothesis_the_command_to_install_it_is_named():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "try:\n    from sansio_pingora.testing import strategies\n"
        "except ModuleNotFoundError as exc:\n    print(exc)"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "the strategies need hypothesis: pip install 'sansio-pingora[testing]'"


@given(st.known_bad_requests(), st.cuts())
def test_known_bad_requests_are_refused_and_nothing_behind_them_is_served(raw, cuts):
    _, out = feed(ServerConnection(now=0.0), cuts(raw))

    assert out[9:10] in (b"4", b"5")
    assert out.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("name", KNOWN_BAD)
def test_each_known_bad_request_has_the_verdicts_of_the_page(name):
    """Of our server, and of the one on h11."""
    native, hyper = (
        feed(ServerConnection(now=0.0, engine=engine), [KNOWN_BAD[name]])[1] for engine in ("native", "hyper")
    )
    second = "served" if hyper[9:10] == b"2" else hyper[9:12].decode()

    assert native.count(b"HTTP/1.1 ") == 1
    assert f"| {name} | {native[9:12].decode()} | {second} |" in page("strategies/bad-requests.md")


def test_the_page_has_no_other_known_bad_requests():
    rows = page("strategies/bad-requests.md").partition("|---|---|---|\n")[2].partition("\n\n")[0]

    assert [row.split(" | ")[0].removeprefix("| ") for row in rows.splitlines()] == [*KNOWN_BAD]


@settings(max_examples=40)
@given(st.http2_frames(), st.cuts())
def test_http2_frames_are_legal(frames, cuts):
    server = ServerConnection(now=0.0)
    events, _ = feed(server, cuts(b"".join(frames)))

    asked = {stream for stream, value in events if isinstance(value, Header)}
    judge = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    judge.initiate_connection()
    found = [event for frame in frames for event in judge.receive_data(frame)]
    assert asked == {event.stream_id for event in found if isinstance(event, RequestReceived)}
    assert not server.closing


@settings(max_examples=40)
@given(st.illegal_http2_frames(), st.cuts())
def test_illegal_http2_frames_end_in_goaway(frames, cuts):
    _, out = feed(ServerConnection(now=0.0), cuts(b"".join(frames)))
    kinds = []
    while out:
        size = 9 + int.from_bytes(out[:3], "big")
        kinds.append((out[3], out[13:17]))
        out = out[size:]

    assert kinds[-1][0] == 7
    assert kinds[-1][1] != bytes(4)


@settings(max_examples=60)
@given(hst.booleans(), st.websocket_deflates(), hst.data(), st.cuts())
def test_websocket_frames_are_legal_and_only_the_last_is_a_close(server, deflate, data, cuts):
    frames = data.draw(st.websocket_frames(server=server, deflate=deflate))
    session = WebSocketSession(0.0, Limits(), mask=None if server else lambda: b"mask", deflate=deflate)
    told = [event for piece in cuts(b"".join(frames)) for event in session.receive_data(piece, 0.0)]

    closes = [frame for frame in frames if frame[0] == 0x88]
    assert closes in ([], frames[-1:])
    ends = [event.code for event in told if isinstance(event, Closed)]
    assert len(ends) == len(closes)
    assert not {1002, 1007} & {*ends}


@pytest.mark.parametrize("deflate", [True, False, "permessage-deflate"])
def test_what_is_no_settlement_of_compression_is_refused(deflate):
    with pytest.raises(TypeError, match="websocket_deflates"):
        find(st.websocket_frames(server=True, deflate=deflate), lambda _: True)


@settings(max_examples=40)
@given(hst.booleans(), hst.data(), st.cuts())
def test_illegal_websocket_frames_end_in_a_close(server, data, cuts):
    before, illegal, behind = data.draw(st.illegal_websocket_frames(server=server))
    session = WebSocketSession(0.0, Limits(), mask=None if server else lambda: b"mask")

    def receive(frames):
        return [event for piece in cuts(b"".join(frames)) for event in session.receive_data(piece, 0.0)]

    assert not any(isinstance(event, Closed) for event in receive(before))
    *told, end = receive([*illegal, *behind])
    assert end.code in (1002, 1007)
    assert not any(event.last for event in told if isinstance(event, MessagePart))


@pytest.mark.parametrize("server", [True, False])
def test_a_hundred_examples_have_every_kind_of_illegal_frame(server):
    seen = Counter()

    @settings(max_examples=100, phases=[Phase.generate], database=None, derandomize=True)
    @given(st.illegal_websocket_frames(server=server))
    def count(frames):
        _, illegal, _ = frames
        seen.update(kind for kind in ILLEGAL_FRAMES if tuple(illegal) in _written(kind, server))

    count()

    assert set(seen) == set(ILLEGAL_FRAMES)


def _written(kind, server):
    """What that kind of illegal frames can be."""
    return {tuple(_illegal(kind, frames, form, server=server)) for frames in ILLEGAL_FRAMES[kind] for form in range(3)}


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("kind", ILLEGAL_FRAMES)
def test_every_illegal_frame_is_refused_by_us_and_by_wsproto(kind, server):
    for frames in _written(kind, server):
        session = WebSocketSession(0.0, Limits(), mask=None if server else lambda: b"mask")
        closed = session.receive_data(b"".join(frames), 0.0)[-1]
        other = WsprotoConnection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
        other.receive_data(b"".join(frames))

        assert closed.code in (1002, 1007)
        assert list(other.events())[-1].code in (1002, 1007)
