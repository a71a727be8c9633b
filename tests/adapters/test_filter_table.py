"""Each phase, in each form, on each runtime: what raises, is slow, is left, or never answers disturbs nobody else."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from sansio_pingora import HttpPeer
from sansio_pingora.errors import Error
from sansio_pingora.modules import HttpModule
from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES
from sansio_pingora.session import Call, Sleep, blocking
from tests.adapters.harness import CAN_AWAIT, PATIENCE, To, client, origin, served, until

WAITING = [name for name in PHASES if name not in PLAIN_PHASES]
FORMS = ["plain", "blocking", "generator", "async", "async-effects"]
BEHIND_HEAD = {
    "upstream_response_body_filter",
    "response_body_filter",
    "upstream_response_trailer_filter",
    "response_trailer_filter",
    "logging",
}
IN_THE_ANSWER = {"fail_to_proxy", "response_filter"}  # the page goes out without them, by what they raised
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
REFUSED = b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"


class Phased(To):
    """What the request's target names happens in that phase of it, and in no other."""

    def __init__(self, peer, runtime):
        super().__init__(peer)
        self.runtime = runtime
        self.begun: dict[bytes, threading.Event] = {}

    def persist_connection_context(self, session, ctx):
        return "kept"

    def init_upstream_modules(self, modules):
        modules.add_module(HttpModule)

    def act(self, phase, args):
        """The story of one phase, as a generator of effects; what it returns is the callback's result."""
        session = next(arg for arg in args if hasattr(arg, "req_header"))
        target = session.req_header.target if session.req_header is not None else b"/"
        _, where, what = target.decode().split("/") if target.count(b"/") == 2 else ("", "", "")
        if where == phase:
            self.begun.setdefault(target, threading.Event()).set()
            if what == "raises":
                raise Error.http_status(429)
            yield Sleep(0.002 if what == "slow" else 1000)
        return result_of(phase, self, args)


def result_of(phase, app, args):
    if phase == "upstream_peer":
        return HttpPeer(app.peer)
    if phase == "fail_to_proxy":
        return 502
    return app.ended.append(args[1]) if phase == "logging" else None


def in_form(form, phase):
    if form in ("plain", "blocking"):

        def plain(self, *args):
            steps = self.act(phase, args)
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            return result_of(phase, self, args)  # it does not wait

        return blocking(plain) if form == "blocking" else plain
    if form == "generator":

        def generator(self, *args):
            return (yield from self.act(phase, args))

        return generator
    if form == "async":

        async def coroutine(self, *args):
            import anyio

            steps = self.act(phase, args)
            try:
                effect = next(steps)
                await anyio.sleep(effect.seconds)
            except StopIteration as stop:
                return stop.value
            return result_of(phase, self, args)

        return coroutine

    async def with_effects(self, *args):
        await Call(lambda: None)
        steps = self.act(phase, args)
        try:
            await next(steps)
        except StopIteration as stop:
            return stop.value
        return result_of(phase, self, args)

    return with_effects


@contextlib.contextmanager
def proxy(runtime, form):
    """A proxy with every phase in *form*."""
    if form.startswith("async") and runtime not in CAN_AWAIT:
        pytest.skip("this runtime refuses it, as another test shows")

    def script(peer):
        while True:
            start, _, _ = peer.message()
            peer.send(REFUSED if b"/fail_to_proxy/" in start else ANSWER)

    with origin(script) as upstream:
        members = {phase: in_form(form, phase) for phase in WAITING}
        app = type("Made", (Phased,), members)(upstream.peer, runtime)
        with served(app, runtime) as server:
            yield app, server


def get(target):
    return b"POST %b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi" % target


def ask(peer, target=b"/"):
    peer.send(get(target))
    return peer.message()


@pytest.mark.parametrize("form", FORMS)
def test_what_raises_fails_its_own_request(runtime, form):
    with proxy(runtime, form) as (app, server), client(server.address) as other:
        for phase in WAITING:
            with client(server.address) as peer:
                if phase == "on_connection_reuse":
                    assert ask(peer)[2] == b"ok"
                peer.send(get(b"/%b/raises" % phase.encode()))
                if phase == "logging":
                    assert peer.message()[2] == b"ok"
                elif phase in BEHIND_HEAD:
                    assert b"X-Sum" not in peer.rest()
                else:
                    assert peer.status() == (429 if phase in IN_THE_ANSWER else 502)
            assert ask(other)[2] == b"ok"
        until(lambda: len(app.ended) == 2 * len(WAITING))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_slow_takes_its_time(runtime, form):
    with proxy(runtime, form) as (_, server), client(server.address) as peer, client(server.address) as other:
        assert ask(peer)[2] == b"ok"
        for phase in WAITING:
            if phase == "fail_to_proxy":
                continue
            assert ask(peer, b"/%b/slow" % phase.encode())[2] == b"ok"
            assert ask(other)[2] == b"ok"


@pytest.mark.parametrize("form", ["generator", "async", "async-effects"])
def test_what_never_answers_holds_up_nobody_and_ends_with_its_client(runtime, form):
    with proxy(runtime, form) as (app, server), client(server.address) as other:
        left = 0
        for phase in WAITING:
            target = b"/%b/never" % phase.encode()
            with client(server.address) as peer:
                if phase == "on_connection_reuse":
                    assert ask(peer)[2] == b"ok"
                peer.send(get(target))
                assert app.begun.setdefault(target, threading.Event()).wait(PATIENCE)
                assert ask(other)[2] == b"ok"
                peer.reset()
            left += phase != "logging"  # one that waits is done with the client, and is not disturbed
        until(lambda: sum(error is not None for error in app.ended) == left)
        assert ask(other)[2] == b"ok"


class Deciding(To):
    """What the request's target names raises."""

    nowhere = ""

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.nowhere if session.req_header.target == b"/fail_to_connect" else self.peer)


def raising(phase):
    default = getattr(Deciding, phase)

    def decides(self, *args):
        session = next(arg for arg in args if hasattr(arg, "req_header"))
        if session.req_header.target == b"/" + phase.encode():
            raise KeyError(phase)
        return default(self, *args)

    return decides


# The status of the answer, and whether the exchange is logged as failed. new_ctx has no request to name it by.
DECIDED = {
    "allow_spawning_subrequest": (500, True),
    "fail_to_connect": (500, True),
    "error_while_proxy": (500, True),
    "persist_connection_context": (200, False),
    "request_summary": (502, True),
    "suppress_error_log": (502, True),
}


def test_what_decides_and_raises_fails_its_own_request(runtime):
    assert DECIDED.keys() == PLAIN_PHASES - {"new_ctx"}

    def script(peer):
        while True:
            start, _, _ = peer.message()
            failing = any(name in start for name in (b"/error_while_proxy", b"/request_summary", b"/suppress"))
            peer.send(REFUSED if failing else ANSWER)

    app = type("Made", (Deciding,), {phase: raising(phase) for phase in DECIDED})
    with origin(script) as upstream, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        made = app(upstream.peer)
        made.nowhere = "{}:{}".format(*nobody.getsockname())
        with served(made, runtime) as server, client(server.address) as other:
            for phase, (status, failed) in DECIDED.items():
                before = len(made.ended)
                with client(server.address) as peer:
                    peer.send(get(b"/" + phase.encode()))
                    assert (phase, peer.status()) == (phase, status)
                    until(lambda before=before: len(made.ended) > before)
                    assert (made.ended[-1] is not None) is failed
                assert ask(other)[2] == b"ok"
