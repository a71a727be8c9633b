"""The time of a whole request, and pauses between its attempts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.proxy.budget import backoff
from sansio_pingora.session import Sleep
from tests.proxy.harness import GET, HANGING, OK, App, Bench, post, status_of
from tests.proxy.test_filter_forms import RESPONSE, SPINE, app_with


def refused():
    return Error(ErrorType.CONNECT_REFUSED, "nobody listens")


class Stubborn(App):
    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


# ── the whole request ────────────────────────────────────────────────────────────────


def overdue(bench, client):
    assert client.take() == b""
    bench.advance(0.2)
    answer = client.take()
    assert status_of(answer) == 504
    [(_, error)] = bench.app.ended
    assert error.root_etype is ErrorType.READ_TIMEDOUT
    assert "request_timeout (5 s)" in str(error)
    assert len(bench.errors) == 1
    bench.assert_clean()


def test_an_origin_that_does_not_answer():
    bench = Bench(App(), request_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    overdue(bench, client)


def test_a_connection_that_is_not_there():
    bench = Bench(Stubborn(), request_timeout=5.0, connection_timeout=60.0, total_connection_timeout=60.0)
    bench.dial_outcomes.append(HANGING)
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    overdue(bench, client)
    assert len(bench.dials) == 1


def test_attempts_share_it():
    bench = Bench(Stubborn(), request_timeout=5.0, connection_timeout=2.0)
    bench.dial_outcomes.extend([HANGING] * 10)
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    assert len(bench.dials) == 3
    overdue(bench, client)
    assert len(bench.dials) == 3


@pytest.mark.parametrize("form", ["blocking", "async", "async-effects", "generator"])
@pytest.mark.parametrize("phase", sorted(SPINE - {"on_connection_reuse", "fail_to_proxy", "logging"}))
def test_a_filter_that_waits(phase, form):
    app = app_with(phase, form, lambda *args: None)
    bench = Bench(app, request_timeout=5.0)
    bench.hold_filters = True
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    overdue(bench, client)
    assert bool(bench.stopped) is form.startswith("async")  # the task of the runtime is free again


def test_a_filter_of_the_answer_that_waits():
    bench = Bench(app_with("upstream_response_filter", "blocking", lambda *args: None), request_timeout=5.0)
    bench.hold_filters = True
    client = bench.client()
    client.send(GET)
    bench.origin.send(RESPONSE)
    bench.advance(4.9)
    overdue(bench, client)


def test_a_filter_that_swallows_it_does_not_go_on():
    class Swallows(App):
        def request_filter(self, session, ctx):
            try:
                yield Sleep(100)
            except Error:
                return False

    bench = Bench(Swallows(), request_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    overdue(bench, client)
    assert bench.dials == []


def test_once_the_head_is_there_the_body_has_its_own_time():
    bench = Bench(App(), request_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK[:-1])
    bench.advance(20)
    bench.origin.send(OK[-1:])
    assert client.take().endswith(b"ok")
    bench.assert_clean()


def test_the_next_request_has_time_of_its_own():
    bench = Bench(App(), request_timeout=5.0)
    client = bench.client()
    for _ in range(3):
        client.send(GET)
        bench.advance(4)
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
        bench.advance(4)
    bench.assert_clean()


def test_a_request_that_waits_for_a_log_has_the_time_that_is_left():
    class Logs(App):
        def logging(self, session, error, ctx):
            yield Sleep(3)
            super().logging(session, error, ctx)

    bench = Bench(Logs(), request_timeout=5.0, max_unlogged=1)
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    client.send(GET)
    bench.advance(4.9)  # of which the log before it took 3
    assert client.take() == b""
    bench.advance(0.2)
    assert status_of(client.take()) == 504
    bench.advance(3)
    assert [session.record.duration for session, _ in bench.app.ended][1] == pytest.approx(5.0)
    bench.assert_clean()


def test_an_error_page_may_take_longer():
    class Slow(App):
        def response_filter(self, session, response, ctx):
            yield Sleep(10)

    bench = Bench(Slow(), request_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.advance(20)
    assert status_of(client.take()) == 504
    bench.assert_clean()


def test_the_task_of_async_filters_stays_one_up_to_the_log():
    async def act(self, *args):
        pass

    app = type("Async", (App,), {"request_filter": act, "logging": act})()
    bench = Bench(app, request_timeout=5.0)
    client = bench.client()
    client.send(GET)
    assert bench.stopped == []
    bench.hold_filters = True
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert bench.stopped == []  # the log waits in it
    bench.pending[0].run()
    assert len(bench.stopped) == 1
    bench.assert_clean()


# ── pauses ───────────────────────────────────────────────────────────────────────────


@given(
    base=st.floats(0.001, 10),
    most=st.floats(0.001, 100),
    failed=st.integers(1, 2000),
    seed=st.binary(max_size=10),
)
def test_pauses_double_up_to_a_ceiling_and_are_never_all_the_same(base, most, failed, seed):
    whole = min(base * 2.0 ** min(failed - 1, 100), most)
    assert whole / 2 <= backoff(base, most, failed, seed) <= whole
    assert backoff(0.0, most, failed, seed) == 0.0


def test_seeds_spread_them():
    pauses = {backoff(1.0, 1.0, 1, b"%d" % seed) for seed in range(100)}
    assert len(pauses) == 100
    assert min(pauses) < 0.55
    assert max(pauses) > 0.95


def test_attempts_wait_longer_and_longer():
    bench = Bench(Stubborn(), max_retries=5, retry_backoff=0.1, max_retry_backoff=0.3)
    bench.dial_outcomes.extend([refused() for _ in range(10)])
    client = bench.client()
    client.send(GET)
    at = []
    for _ in range(2000):
        if len(bench.dials) > len(at):
            at.append(bench.now)
        bench.advance(0.001)
    pauses = [later - before for before, later in pairwise(at)]
    for pause, whole in zip(pauses, (0.1, 0.2, 0.3, 0.3), strict=True):
        assert whole / 2 - 0.01 <= pause <= whole + 0.01
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_a_stale_connection_is_no_reason_to_wait():
    bench = Bench(App(), retry_backoff=1.0)
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    client.send(GET)
    bench.origin.eof()
    bench.origin.send(OK)
    assert client.take().count(b"200 OK") == 2
    assert len(bench.origins) == 2


def test_a_client_that_leaves_meanwhile():
    bench = Bench(Stubborn(), retry_backoff=1.0)
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(post(10))
    assert bench.exchanges[0].phase == "backing off"
    client.reset()
    bench.advance(10)
    assert len(bench.dials) == 1
    assert len(bench.app.ended) == 1
    bench.assert_clean()


def test_a_body_waits_for_the_next_attempt():
    bench = Bench(Stubborn(), retry_backoff=1.0)
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(post(100_000))
    bench.advance(2)
    assert bench.origin.take().endswith(b"x" * 100_000)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_the_whole_time_ends_a_pause_too():
    bench = Bench(Stubborn(), retry_backoff=60.0, max_retry_backoff=60.0, request_timeout=5.0)
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    overdue(bench, client)
    assert len(bench.dials) == 1
