"""gRPC by grpcio's client and server through the proxy over HTTP/2, and gRPC-Web by the bridge."""

from __future__ import annotations

import contextlib
import threading
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from sansio_pingora.modules import GrpcWebBridge
from sansio_pingora.upstreams import ALPN, PeerOptions
from tests.adapters.harness import PATIENCE, To, client, served

HTTP2 = PeerOptions(alpn=ALPN.H2, max_h2_streams=100)


def unary(request, context):
    context.set_trailing_metadata([("x-trailing", dict(context.invocation_metadata()).get("x-said", "nothing"))])
    return request[::-1]


def refuses(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.decode()} here")


def counts(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def sums(requests, context):
    return b"%d" % sum(map(int, requests))


def echoes(requests, context):
    for request in requests:
        yield b"<" + request + b">"


class Handler(grpc.GenericRpcHandler):
    def __init__(self):
        self.cancelled = threading.Event()

    def waits(self, request, context):
        context.add_callback(self.cancelled.set)
        assert self.cancelled.wait(PATIENCE)
        return b""

    def service(self, details):
        return {
            "/test/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test/Refuses": grpc.unary_unary_rpc_method_handler(refuses),
            "/test/Counts": grpc.unary_stream_rpc_method_handler(counts),
            "/test/Sums": grpc.stream_unary_rpc_method_handler(sums),
            "/test/Echoes": grpc.stream_stream_rpc_method_handler(echoes),
            "/test/Waits": grpc.unary_unary_rpc_method_handler(self.waits),
        }.get(details.method)


@contextlib.contextmanager
def grpc_origin():
    """A server of grpcio's: its address, and the handler."""
    handler = Handler()
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", handler
        finally:
            handler.cancelled.set()
            server.stop(None).wait(PATIENCE)


class Bridged(To):
    def init_downstream_modules(self, modules):
        modules.add_module(GrpcWebBridge)


@contextlib.contextmanager
def through(runtime):
    """A channel of grpcio's to the origin through a proxy."""
    with grpc_origin() as (origin, handler), served(Bridged(origin, options=HTTP2), runtime, h2c=True) as server:
        # A pool of subchannels of this process would remember ports that tests before have used.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.peer, options=options) as channel:
            yield channel, handler, server


def test_unary_with_metadata_both_ways(runtime):
    with through(runtime) as (channel, _, _):
        for size in (0, 5, 1_000_000):
            body = bytes(size - 1) + b"!" if size else b""
            call = channel.unary_unary("/test/Unary").with_call
            answer, outcome = call(body, metadata=[("x-said", "hello")], timeout=PATIENCE)
            assert answer == body[::-1]
            assert dict(outcome.trailing_metadata())["x-trailing"] == "hello"
            assert outcome.code() is grpc.StatusCode.OK


def test_a_status_without_a_message(runtime):
    with through(runtime) as (channel, _, _):
        for method, code in (("Refuses", grpc.StatusCode.NOT_FOUND), ("Unknown", grpc.StatusCode.UNIMPLEMENTED)):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/test/{method}")(b"it", timeout=PATIENCE)
            assert caught.value.code() is code
        assert channel.unary_unary("/test/Unary")(b"ab", timeout=PATIENCE) == b"ba"


def test_streams_of_each_direction(runtime):
    with through(runtime) as (channel, _, _):
        counted = channel.unary_stream("/test/Counts")(b"500", timeout=PATIENCE)
        assert list(counted) == [b"%d" % number for number in range(500)]
        numbers = (b"%d" % number for number in range(500))
        assert channel.stream_unary("/test/Sums")(numbers, timeout=PATIENCE) == b"%d" % sum(range(500))


def test_both_directions_in_turn(runtime):
    """Each message is sent when the answer to the one before has come: nothing may be held back on the way."""
    with through(runtime) as (channel, _, _):
        go = threading.Semaphore(1)

        def requests():
            for number in range(50):
                assert go.acquire(timeout=PATIENCE)
                yield b"%d" % number

        for number, answer in enumerate(channel.stream_stream("/test/Echoes")(requests(), timeout=PATIENCE)):
            assert answer == b"<%d>" % number
            go.release()


def test_many_calls_at_once(runtime):
    with through(runtime) as (channel, _, _):
        call = channel.unary_unary("/test/Unary")
        calls = [call.future(b"%d" % number, timeout=PATIENCE) for number in range(200)]
        assert [made.result() for made in calls] == [(b"%d" % number)[::-1] for number in range(200)]


def test_a_deadline_of_the_client_reaches_the_origin(runtime):
    with through(runtime) as (channel, handler, _):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/test/Waits")(b"", timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert handler.cancelled.wait(PATIENCE)


def framed(message):
    return b"\x00" + len(message).to_bytes(4, "big") + message


def frames(data):
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        found.append((data[0], data[5 : 5 + size]))
        data = data[5 + size :]
    return found


@pytest.mark.parametrize("text", [False, True])
def test_grpc_web(runtime, text):
    kind = b"application/grpc-web-text" if text else b"application/grpc-web"

    def ask(peer, method, message):
        body = b64encode(framed(message)) if text else framed(message)
        peer.send(
            b"POST /test/%b HTTP/1.1\r\nHost: a.test\r\nContent-Type: %b+proto\r\nContent-Length: %d\r\n\r\n%b"
            % (method, kind, len(body), body)
        )
        start, fields, answer = peer.message()
        assert start == b"HTTP/1.1 200 OK"
        assert fields[b"content-type"].startswith(kind)
        if text:
            answer = b"".join(b64decode(answer[at : at + 4]) for at in range(0, len(answer), 4))
        return fields, frames(answer)

    with through(runtime) as (_, _, server), client(server.address) as peer:
        _, [(flag, message), (last, trailers)] = ask(peer, b"Unary", b"abc")
        assert (flag, message, last) == (0, b"cba", 0x80)
        assert b"grpc-status:0\r\n" in trailers
        _, counted = ask(peer, b"Counts", b"3")
        assert [message for _, message in counted[:-1]] == [b"0", b"1", b"2"]
        assert counted[-1][0] == 0x80
        fields, nothing = ask(peer, b"Refuses", b"it")
        status = fields.get(b"grpc-status") or dict(line.split(b":") for line in nothing[0][1].split())[b"grpc-status"]
        assert status == b"5"
