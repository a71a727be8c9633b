"""Every route of the built-in origin."""

import json
from zlib import crc32

import pytest

from sansio_pingora.apps import OriginApp
from sansio_pingora.websocket.frames import Opcode, write_frame
from tests.apps.bench import body_of, get, http, post, status_of
from tests.memory import counting, cut


def ask(raw, **limits):
    return http(OriginApp(), **limits).receive(raw)


def test_hello():
    out = ask(get()).out
    assert status_of(out) == 200
    assert body_of(out) == b"Hello, world!"
    assert b"Content-Length: 13\r\n" in out


def test_hello_again_and_pipelined():
    bench = ask(get() * 3).sleep(0)
    assert bench.out.count(b"Hello, world!") == 3
    assert not bench.held


def test_hello_with_a_query_is_the_same():
    assert body_of(ask(get("/?x")).out) == b"Hello, world!"


@pytest.mark.parametrize("target", ["/", "/bytes/1000000000000", "/status/404", "/headers", "/echo", "/trailers"])
def test_head_has_no_body(target):
    bench = ask(get(target, method="HEAD"))
    assert body_of(bench.out) == b""
    assert not bench.held
    assert not bench.connection.closing


def test_echo_with_a_length():
    out = ask(post(b"hello", "/echo", "Content-Type: text/x")).out
    assert b"Content-Length: 5\r\n" in out
    assert b"Content-Type: text/x\r\n" in out
    assert body_of(out) == b"hello"


def test_echo_in_chunks():
    out = ask(get("/echo", "Transfer-Encoding: chunked", method="PUT") + b"5\r\nhello\r\n0\r\n\r\n").out
    assert b"Transfer-Encoding: chunked\r\n" in out
    assert body_of(out) == b"5\r\nhello\r\n0\r\n\r\n"


def test_echo_of_nothing():
    out = ask(get("/echo")).out
    assert b"Content-Length: 0\r\n" in out


def test_echo_lets_the_client_wait_for_its_invitation():
    bench = ask(get("/echo", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert bench.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert body_of(bench.receive(b"ok").out) == b"ok"


def test_echo_holds_no_more_than_there_is_room_for():
    bench = http(OriginApp(), high_water=1000)
    bench.receive(get("/echo", "Content-Length: 1000000", method="POST"))
    bench.pause()
    fed = 0
    while bench.connection.want_read:
        bench.receive(b"x" * 500)
        fed += 500
    assert fed < 5000


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_bytes(size):
    out = ask(get(f"/bytes/{size}")).out
    assert f"Content-Length: {size}\r\n".encode() in out
    assert body_of(out) == (bytes(range(256)) * (size // 256 + 1))[:size]


def test_bytes_hold_no_more_than_there_is_room_for():
    bench = http(OriginApp())
    bench.pause()
    bench.receive(get("/bytes/1000000000000"))
    assert bench.connection.held < 200_000
    bench.lose()
    assert not bench.held


def test_status():
    for status in (200, 204, 304, 404, 599, 999):
        out = ask(get(f"/status/{status}")).out
        assert status_of(out) == status
        assert b"Content-Length" in out or status in (204, 304)


def test_headers():
    out = ask(get("/headers?x", "X-One: 1", "x-ONE: \xe9", method="DELETE")).out
    seen = json.loads(body_of(out))
    assert seen["method"] == "DELETE"
    assert seen["target"] == "/headers?x"
    assert seen["version"] == "1.1"
    assert seen["headers"] == [["Host", "x"], ["X-One", "1"], ["x-ONE", "\xc3\xa9"]]


def test_delay():
    bench = ask(get("/delay/1.5"))
    assert bench.sleep(1.4).out == b""
    assert body_of(bench.sleep(0.2).out) == b"waited 1.5 s\n"


def test_drip():
    bench = ask(get("/drip?n=3&interval=2"))
    assert bench.out.count(b"drop") == 1
    assert bench.sleep(2).out.count(b"drop") == 2
    assert bench.sleep(2).out.endswith(b"7\r\ndrop 3\n\r\n0\r\n\r\n")


def test_drip_by_default():
    assert ask(get("/drip")).sleep(1).out.count(b"drop") == 5
    assert ask(get("/drip?n=0")).out.endswith(b"\r\n\r\n0\r\n\r\n")


def test_trailers():
    out = ask(get("/trailers")).out
    body = b"a body that is checked at its end\n"
    assert out.endswith(b"0\r\nX-Crc32: %08x\r\n\r\n" % crc32(body))


def test_early_hints():
    out = ask(get("/early-hints")).out
    assert status_of(out) == 103
    assert b"HTTP/1.1 200 OK\r\n" in out


def test_websocket_without_a_handshake():
    out = ask(get("/ws")).out
    assert status_of(out) == 426
    assert b"Upgrade: websocket\r\n" in out


def test_websocket_sends_back_frame_by_frame():
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    bench = ask(handshake)
    assert status_of(bench.out) == 101
    frames = write_frame(Opcode.TEXT, b"ab", fin=False, mask=b"1234") + write_frame(
        Opcode.CONTINUATION, b"cd", mask=b"1234"
    )
    before = len(bench.out)
    for byte in frames:
        bench.receive(bytes((byte,)))

    assert bench.out[before:] == b"\x01\x02ab\x80\x02cd"

    text = "ж" * 2_000  # a frame that comes in pieces of a character
    pieces = cut(write_frame(Opcode.TEXT, text.encode(), mask=b"1234"), 2)
    before = len(bench.out)
    with counting() as held:
        for piece in pieces[:-1]:
            bench.receive(piece)
        assert held() < 1.5 * 4_000 + 30_000
    bench.receive(pieces[-1])
    assert bench.out[before:].endswith(text.encode())


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/bytes",
        "/bytes/1/2/3/",
        "//",
        "/status",
        "/echo/x",
        "/delay",
        "/%2e",
        "/\xe9".encode().decode("latin-1"),
    ],
)
def test_nothing_there(target):
    raw = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1")
    assert status_of(ask(raw).out) in (400, 404)


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [("POST", "/", b"GET, HEAD"), ("DELETE", "/bytes/1", b"GET, HEAD"), ("OPTIONS", "/echo", b"GET, HEAD, POST")],
)
def test_the_wrong_method(method, target, allow):
    out = ask(get(target, method=method)).out
    assert status_of(out) == 405
    assert b"Allow: " + allow in out


@pytest.mark.parametrize(
    "target",
    [
        "/bytes/-1",
        "/bytes/x",
        "/bytes/1000000000001",
        "/bytes/" + "9" * 5000,
        "/status/99",
        "/status/103",
        "/status/1000",
        "/delay/-1",
        "/delay/x",
        "/delay/nan",
        "/delay/inf",
        "/delay/1e9",
        "/drip?n=x",
        "/drip?interval=-1",
        "/drip?count=1",
    ],
)
def test_arguments_that_make_no_sense(target):
    bench = ask(get(target))
    assert status_of(bench.out) == 400
    assert bench.log == []
    assert not bench.held


def test_a_body_where_none_is_wanted_does_no_harm():
    bench = ask(get("/headers", "Content-Length: 3", method="POST") + b"abc" + get())
    bench.sleep(0)
    assert bench.out.endswith(b"Hello, world!")
