"""Filters of every form that a runtime supports, under its real scheduler."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from contextlib import ExitStack

import pytest

from sansio_pingora import HttpPeer
from sansio_pingora.errors import Error
from sansio_pingora.session import Call, Sleep, blocking
from tests.adapters.harness import CAN_AWAIT, GET, OK, PATIENCE, To, answering, client, origin, post, served, until

FORMS = ["plain", "blocking", "generator", "async", "async-effects"]
PHASES = [
    "early_request_filter",
    "request_filter",
    "upstream_peer",
    "connected_to_upstream",
    "upstream_request_filter",
    "request_body_filter",
    "upstream_response_filter",
    "upstream_response_body_filter",
    "response_filter",
    "response_body_filter",
]


@pytest.fixture
def form(request, runtime):
    """A form that the runtime supports."""
    if request.param.startswith("async") and runtime not in CAN_AWAIT:
        pytest.skip("this runtime refuses it, as another test shows")
    return request.param


def in_form(form, act):
    """*act* as a method of *form*."""
    if form == "plain":
        return act
    if form == "blocking":
        return blocking(act)
    if form == "generator":

        def generator(self, *args):
            yield Sleep(0.001)
            return (yield Call(lambda: act(self, *args)))

        return generator
    if form == "async":

        async def coroutine(self, *args):
            import anyio

            await anyio.sleep(0.001)
            return await anyio.to_thread.run_sync(act, self, *args)

        return coroutine

    async def with_effects(self, *args):
        await Sleep(0.001)
        return await Call(lambda: act(self, *args))

    return with_effects


def proxy_with(form, act, phases, peer):
    members = {phase: in_form(form, lambda self, *args, phase=phase: act(self, phase, *args)) for phase in phases}
    return type("Made", (To,), members)(peer)


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_every_phase(runtime, form):
    seen = []

    def act(self, phase, *args):
        seen.append(phase)
        return HttpPeer(self.peer) if phase == "upstream_peer" else None

    with origin(answering()) as upstream:
        app = proxy_with(form, act, PHASES, upstream.peer)
        with served(app, runtime) as server, client(server.address) as peer:
            for turn in range(3):
                peer.send(post(5, b"hello"))
                assert peer.message()[2] == b"ok"
                assert sorted(seen, key=PHASES.index) == [phase for phase in PHASES for _ in range(turn + 1)]
        assert app.ended == [None] * 3


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.parametrize("raised", [ValueError("a bug"), Error.http_status(429)], ids=["exception", "error"])
@pytest.mark.parametrize("phase", ["request_filter", "request_body_filter", "response_filter", "response_body_filter"])
def test_a_filter_that_raises(runtime, form, phase, raised):
    def act(self, phase, *args):
        raise raised

    with origin(answering()) as upstream:
        app = proxy_with(form, act, [phase], upstream.peer)
        with served(app, runtime) as server:
            for _ in range(2):
                with client(server.address) as peer:
                    peer.send(post(5, b"hello"))
                    if phase == "response_body_filter":
                        assert b"ok" not in peer.rest()
                    else:
                        assert peer.status() == (500 if isinstance(raised, ValueError) else 429)
            until(lambda: len(app.ended) == 2)


def event_of(runtime):
    """What a blocking call may wait for without harm: on gevent it is a greenlet of the lane's own thread."""
    if runtime == "gevent":
        import gevent.event

        return gevent.event.Event()
    return threading.Event()


@pytest.mark.parametrize("form", FORMS[1:], indirect=True)
def test_a_filter_that_waits_does_not_stop_the_others(runtime, form):
    waits = threading.Event()
    events = []

    def act(self, phase, session, ctx):
        if session.req_header.target == b"/wait":
            events.append(event_of(runtime))
            waits.set()
            assert events[0].wait(PATIENCE)
        elif session.req_header.target == b"/go":
            events[0].set()

    with origin(answering()) as upstream:
        app = proxy_with(form, act, ["request_filter"], upstream.peer)
        with served(app, runtime) as server, client(server.address) as slow, client(server.address) as fast:
            slow.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            assert waits.wait(PATIENCE)
            for target in (b"/", b"/", b"/go"):
                fast.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
                assert fast.status() == 200
            assert slow.status() == 200


@pytest.mark.parametrize("form", ["generator", "async-effects"], indirect=True)
def test_a_client_that_leaves_while_a_filter_waits(runtime, form):
    begun = threading.Event()
    if form == "generator":

        def request_filter(self, session, ctx):
            begun.set()
            yield Sleep(1000)
    else:

        async def request_filter(self, session, ctx):
            begun.set()
            await Sleep(1000)

    with origin(answering()) as upstream:
        app = type("Waits", (To,), {"request_filter": request_filter})(upstream.peer)
        with served(app, runtime) as server:
            with client(server.address) as peer:
                peer.send(GET)
                assert begun.wait(PATIENCE)
                peer.reset()
            until(lambda: app.ended)
            assert app.ended[0].esource.name == "DOWNSTREAM"
        assert upstream.connections == 0


def test_a_task_of_its_own_that_the_client_ends(runtime):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to cancel")
    begun, ended = threading.Event(), threading.Event()

    class Waits(To):
        async def request_filter(self, session, ctx):
            import anyio

            try:
                begun.set()
                await anyio.sleep(1000)
            finally:
                ended.set()

    with origin(answering()) as upstream:
        app = Waits(upstream.peer)
        with served(app, runtime) as server:
            with client(server.address) as peer:
                peer.send(GET)
                assert begun.wait(PATIENCE)
                peer.reset()
            assert ended.wait(PATIENCE)
            until(lambda: app.ended)


def test_async_filters_share_one_task_and_its_context(runtime):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    tasks, values = [], []
    variable = contextvars.ContextVar("variable")

    class Notes(To):
        async def request_filter(self, session, ctx):
            tasks.append(asyncio.current_task())
            variable.set("set in the request filter")
            async with asyncio.timeout(10):
                await Sleep(0.001)

        async def response_filter(self, session, response, ctx):
            tasks.append(asyncio.current_task())
            values.append(variable.get("lost"))

    with (
        origin(answering()) as upstream,
        served(Notes(upstream.peer), runtime) as server,
        client(server.address) as peer,
    ):
        peer.send(GET)
        assert peer.status() == 200
    assert tasks[0] is tasks[1]
    assert values == ["set in the request filter"]


@pytest.mark.parametrize("waits_for", ["a connection", "a log"])
def test_what_async_filters_set_in_their_context_is_not_seen_by_other_exchanges(runtime, waits_for):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    variable = contextvars.ContextVar("variable", default="nothing")
    seen, of_plain = [], []

    def dawdling(peer):
        while True:
            peer.message()
            time.sleep(0.02)
            peer.send(OK)

    class Sets(To):
        async def upstream_request_filter(self, session, request, ctx):
            seen.append(variable.get())
            variable.set("another's")

        def upstream_response_filter(self, session, response, ctx):
            of_plain.append(variable.get())

        async def response_filter(self, session, response, ctx):
            variable.set("a response filter's")
            await asyncio.sleep(0.01)

        async def logging(self, session, error, ctx):
            variable.set("a log's")
            await asyncio.sleep(0.01)

    limits = {"max_per_peer": 1} if waits_for == "a connection" else {"max_unlogged": 1}
    with (
        origin(dawdling) as upstream,
        served(Sets(upstream.peer), runtime, **limits) as server,
        ExitStack() as stack,
    ):
        peers = [stack.enter_context(client(server.address)) for _ in range(3)]
        for _ in range(2):
            for peer in peers:
                peer.send(GET)
            for peer in peers:
                assert peer.status() == 200
    assert seen == ["nothing"] * 6
    assert set(of_plain) == {"nothing"}


def test_what_a_blocking_filter_sets_in_its_context_ends_with_it(runtime):
    variable = contextvars.ContextVar("variable", default="nothing")
    seen = []

    class Sets(To):
        @blocking
        def request_filter(self, session, ctx):
            seen.append(variable.get())
            variable.set("another's")

    with (
        origin(answering()) as upstream,
        served(Sets(upstream.peer), runtime) as server,
        client(server.address) as peer,
    ):
        for _ in range(3):
            peer.send(GET)
            assert peer.status() == 200
    assert seen == ["nothing"] * 3


@pytest.mark.parametrize("library", ["asyncio", "anyio"])
@pytest.mark.parametrize("effect", [lambda: Sleep(1000), lambda: Call(lambda: time.sleep(0.5))], ids=["sleep", "call"])
def test_a_timeout_around_an_effect(runtime, library, effect):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    outcomes = []

    class TimesOut(To):
        async def request_filter(self, session, ctx):
            outcomes.append(await timed_out(library, effect()))
            outcomes.append(await timed_out(library, asyncio.sleep(1000)))
            await Sleep(0.001)  # the task takes no harm

        async def response_filter(self, session, response, ctx):
            outcomes.append(asyncio.current_task().cancelling())

    with (
        origin(answering()) as upstream,
        served(TimesOut(upstream.peer), runtime) as server,
        client(server.address) as peer,
    ):
        for turn in (1, 2):
            peer.send(GET)
            assert peer.status() == 200
            assert outcomes == [True, True, 0] * turn


async def timed_out(library, awaitable):
    """Whether *awaitable* had to be cancelled."""
    if library == "asyncio":
        try:
            async with asyncio.timeout(0.01):
                await awaitable
        except TimeoutError:
            return True
        return False
    import anyio

    with anyio.move_on_after(0.01) as scope:
        await awaitable
    return scope.cancelled_caught


@pytest.mark.parametrize("library", ["asyncio", "anyio"])
def test_a_timeout_around_an_effect_of_one_filter_while_another_runs(runtime, library):
    """The task of both is one: what cancels it must reach the filter that it is meant for."""
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    outcomes = []

    class TimesOut(To):
        async def request_body_filter(self, session, data, end, ctx):
            outcomes.append(await timed_out(library, Sleep(1000)))

        async def upstream_response_filter(self, session, response, ctx):
            await asyncio.sleep(0.05)
            outcomes.append("response")

    def early(peer):
        peer.head()
        peer.send(OK)
        peer.take(5)

    with origin(early) as upstream:
        app = TimesOut(upstream.peer)
        with served(app, runtime) as server, client(server.address) as peer:
            peer.send(post(5, b"hello"))
            assert peer.status() == 200
        until(lambda: app.ended)
        assert app.ended == [None]
    assert outcomes == [True, "response"]


def test_a_filter_that_waits_for_an_effect_cleans_up_in_its_own_task(runtime):
    if runtime not in CAN_AWAIT:
        pytest.skip("nothing to await with")
    tasks = []
    begun, ended = threading.Event(), threading.Event()

    class Waits(To):
        async def request_body_filter(self, session, data, end, ctx):
            import anyio

            begun.set()
            tasks.append(asyncio.current_task())
            try:
                with anyio.move_on_after(1000):
                    await Sleep(1000)
            finally:
                await asyncio.sleep(0)
                tasks.append(asyncio.current_task())
                ended.set()

    def refuses(peer):
        peer.head()
        assert begun.wait(PATIENCE)
        peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with (
        origin(refuses) as upstream,
        served(Waits(upstream.peer), runtime) as server,
        client(server.address) as peer,
    ):
        peer.send(post(5, b"hello"))
        assert peer.status() == 413
        assert ended.wait(PATIENCE)
    assert tasks[0] is tasks[1]


@pytest.mark.parametrize("phase", [*PHASES, "fail_to_proxy", "logging"])
def test_async_is_refused_at_the_start_where_nothing_awaits(runtime, phase):
    async def waits(self, *args):
        return None

    app = type("Waits", (To,), {phase: waits})("127.0.0.1:1")
    if runtime in CAN_AWAIT:
        with served(app, runtime):
            return
    refusal = rf"Waits\.{phase} is async def, which the {runtime} runtime cannot run"
    with pytest.raises(TypeError, match=refusal), served(app, runtime):
        pytest.fail("it started")


@pytest.mark.parametrize("form", ["blocking", "async"], indirect=True)
def test_a_graceful_stop_waits_for_what_is_logged(runtime, form):
    begun = threading.Event()
    logged = []

    if form == "blocking":

        @blocking
        def logging(self, session, error, ctx):
            pause = event_of(runtime).wait
            begun.set()
            while not server.control.asked:
                pause(0.01)
            for _ in range(5):  # and takes its time
                pause(0.01)
            logged.append(error)
    else:

        async def logging(self, session, error, ctx):
            stopped, loop = asyncio.Event(), asyncio.get_running_loop()
            server.control.on_stop(lambda: loop.call_soon_threadsafe(stopped.set))
            begun.set()
            await stopped.wait()
            for _ in range(5):
                await asyncio.sleep(0.01)
            logged.append(error)

    with origin(answering()) as upstream:
        app = type("Logs", (To,), {"logging": logging})(upstream.peer)
        with served(app, runtime) as server:
            with client(server.address) as peer:
                peer.send(GET)
                assert peer.status() == 200
            assert begun.wait(PATIENCE)
            server.stop()
            server.join()
            assert logged == [None]
