"""RunFilter and StopFilters: async calls in the task of their coordinator, blocking ones in threads."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading

import anyio
import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import LogLine, RunFilter, StopFilters
from sansio_pingora_asyncio import run
from sansio_pingora_asyncio.filters import FilterTask
from tests.asyncio_adapter.machines import WAIT, Steps


def told(story, uv) -> list:
    """The answers of a story of filters."""
    steps = Steps(story)
    steps.run(uv)
    return [answer for _, answer in steps.answers]


def test_async_filters_run_in_order_in_one_task(uv):
    tasks = []

    async def call(number):
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        return number

    def story(steps):
        for number in range(3):
            assert (yield RunFilter(number, lambda number=number: call(number), is_async=True)) == number
        yield StopFilters()

    assert told(story, uv) == [0, 1, 2]
    assert len(set(tasks)) == 1


def test_filters_that_wait_for_each_other_are_answered_in_order(uv):
    async def call(number):
        await asyncio.sleep(0.001 if number == 0 else 0)
        return number

    def story(steps):
        steps.commands += [RunFilter(number, lambda number=number: call(number), is_async=True) for number in range(3)]
        yield None
        for _ in range(2):
            yield None
        yield StopFilters()

    assert told(story, uv) == [0, 1, 2]


def test_each_coordinator_has_its_own_task(uv):
    """Two that meet at a barrier can only both get there at the same time."""
    answers = []

    def start(lane, now):
        barrier = asyncio.Barrier(2)

        async def call():
            await barrier.wait()
            return "met"

        def story(steps):
            answers.append((yield RunFilter(1, call, is_async=True)))
            yield StopFilters()

        for _ in range(2):
            Steps(story).start(lane, now)

    run(start, uvloop=uv)
    assert answers == ["met", "met"]


def test_filters_of_a_coordinator_share_its_context(uv):
    name = contextvars.ContextVar("name", default="unset")

    async def put():
        name.set("kept")

    async def get():
        return name.get()

    def story(steps):
        yield RunFilter(1, put, is_async=True)
        yield RunFilter(2, get, is_async=True)
        yield StopFilters()

    assert told(story, uv) == [None, "kept"]


def test_async_filters_use_asyncio_and_anyio_as_usual(uv):
    async def call():
        async with asyncio.timeout(WAIT), anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
            with anyio.move_on_after(0.001) as scope:
                await anyio.sleep_forever()
            return scope.cancelled_caught, await anyio.to_thread.run_sync(threading.get_ident)

    def story(steps):
        yield RunFilter(1, call, is_async=True)
        yield StopFilters()

    [(caught, thread)] = told(story, uv)
    assert caught
    assert thread != threading.get_ident()


def test_blocking_calls_run_elsewhere(uv):
    def story(steps):
        yield RunFilter(1, threading.get_ident)
        yield RunFilter(2, lambda: "second")

    thread, second = told(story, uv)
    assert thread != threading.get_ident()
    assert second == "second"


def test_a_call_that_never_returns_does_not_hold_up_the_end_of_the_program():
    program = """
import asyncio, contextvars, threading
from sansio_pingora_asyncio.filters import BlockingCalls

async def main():
    calls = BlockingCalls(asyncio.get_running_loop(), contextvars.copy_context())
    begun = threading.Event()
    calls.run(lambda: (begun.set(), threading.Event().wait()), print)
    begun.wait()
    calls.close()

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=WAIT)


def test_the_lane_goes_on_while_a_call_blocks(uv):
    """The one that blocks is let go by another that runs on the lane meanwhile."""
    gate = threading.Event()

    def start(lane, now):
        def stuck(steps):
            assert (yield RunFilter(1, lambda: gate.wait(WAIT))) is True

        async def let_go():
            gate.set()

        def free(steps):
            yield RunFilter(1, let_go, is_async=True)
            yield StopFilters()

        for story in (stuck, free):
            Steps(story).start(lane, now)

    run(start, uvloop=uv)
    assert gate.is_set()


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_filter_raises_is_its_answer(uv, is_async):
    refusal = Error.http_status(403, "not you")

    def raising(exc):
        def plain():
            raise exc

        async def coroutine():
            raise exc

        return coroutine if is_async else plain

    def story(steps):
        assert (yield RunFilter(1, raising(refusal), is_async)) is refusal
        error = yield RunFilter(2, raising(KeyError("gone")), is_async)
        assert isinstance(error, Error)
        assert error.etype is ErrorType.INTERNAL_ERROR
        assert isinstance(error.cause, KeyError)
        steps.answers.append((0, "told"))
        yield StopFilters()

    assert told(story, uv)[-1] == "told"


def test_a_call_that_gives_no_awaitable_is_an_error(uv):
    def story(steps):
        yield RunFilter(1, lambda: 5, is_async=True)
        yield StopFilters()

    [error] = told(story, uv)
    assert error.etype is ErrorType.INTERNAL_ERROR
    assert isinstance(error.cause, TypeError)


def test_something_cancelled_within_a_filter_fails_it_alone(uv):
    async def call():
        victim = asyncio.get_running_loop().create_task(asyncio.sleep(WAIT))
        asyncio.get_running_loop().call_soon(victim.cancel)
        await victim

    async def after():
        return "goes on"

    def story(steps):
        yield RunFilter(1, call, is_async=True)
        yield RunFilter(2, after, is_async=True)
        yield StopFilters()

    error, after_it = told(story, uv)
    assert error.etype is ErrorType.INTERNAL_ERROR
    assert isinstance(error.cause, asyncio.CancelledError)
    assert after_it == "goes on"


def test_stop_cancels_the_filter_that_runs(uv):
    heard = []
    started = threading.Event()

    async def call():
        started.set()
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    def story(steps):
        steps.commands.append(RunFilter(1, call, is_async=True))
        assert (yield RunFilter(2, lambda: started.wait(WAIT))) is True
        yield StopFilters()
        yield StopFilters()  # once more is harmless

    assert told(story, uv) == [True]
    assert heard == ["cancelled"]


def test_stop_from_within_a_filters_own_answer_ends_the_task_quietly(uv):
    """The answer is given in the task itself: it must not cancel what the answer still does."""
    tasks = []

    async def call():
        tasks.append(asyncio.current_task())

    def story(steps):
        yield RunFilter(1, call, is_async=True)
        yield StopFilters()
        yield RunFilter(2, call, is_async=True)  # a new task, then
        yield StopFilters()

    assert told(story, uv) == [None, None]
    assert len(set(tasks)) == 2
    assert not any(task.cancelled() for task in tasks)


def test_log_lines_go_to_their_logger(uv, caplog):
    def story(steps):
        yield LogLine("ERROR", "100 % of it", "sansio_pingora.proxy")

    told(story, uv)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("sansio_pingora.proxy", "ERROR", "100 % of it")
    ]


def test_a_task_that_has_nothing_to_do_ends_without_being_cancelled():
    async def call():
        return "done"

    async def main():
        answers = []
        task = FilterTask(
            asyncio.get_running_loop(), contextvars.copy_context(), lambda *answer: answers.append(answer), lambda: None
        )
        task.add(1, call)
        for _ in range(3):
            await asyncio.sleep(0)
        assert answers == [(1, "done")]
        task.stop()
        await task.task  # raises if it was cancelled

    asyncio.run(main())
