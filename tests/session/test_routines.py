"""Generators that wait: tokens, sleeps, the four forms, and that nothing is left."""

from __future__ import annotations

import gc
import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.machine import Lane, RunFilter, StopFilters
from sansio_pingora.session import Await, Call, Form, Routines, Sleep, as_error


class Ended:
    """Told how routines end."""

    def __init__(self):
        self.results = []

    def __call__(self, value, error):
        self.results.append((value, error))


def made(now=0.0):
    return Routines(Lane(), now)


def tell(routines, *effects):
    """A routine of *effects*; what each answered."""
    answers = []

    def routine():
        for effect in effects:
            try:
                answers.append((yield effect))
            except Error as error:
                answers.append(error)
        return answers

    ended = Ended()
    made_routine = routine()
    routines.start(made_routine, ended)
    return made_routine, answers, ended


def test_one_that_does_not_wait():
    routines = made()
    _, _, ended = tell(routines)
    assert ended.results == [([], None)]
    assert routines.take_commands() == []
    assert routines.deadline == math.inf


def test_await_is_answered_by_its_token():
    routines = made()
    token = routines.new_token()
    _, answers, ended = tell(routines, Await(token))
    routines.resume(token + 1, "stale", 1.0)
    assert answers == []
    routines.resume(token, "fresh", 2.0)
    routines.resume(token, "again", 3.0)
    assert answers == ["fresh"]
    assert routines.now == 2.0
    assert len(ended.results) == 1


def test_a_failure_is_raised():
    routines = made()
    token = routines.new_token()
    _, answers, _ = tell(routines, Await(token))
    error = Error(ErrorType.CONNECT_REFUSED)
    routines.fail(token, error, 1.0)
    routines.fail(token, error, 1.0)
    assert answers == [error]


def test_tokens_are_never_used_twice():
    routines = made()
    assert [routines.new_token() for _ in range(3)] == [1, 2, 3]
    routines.stop_routines()
    assert routines.new_token() == 4


def test_call_runs_off_the_lane():
    routines = made()
    _, answers, _ = tell(routines, Call(lambda: 42))
    [command] = routines.take_commands()
    assert isinstance(command, RunFilter)
    assert not command.is_async
    assert command.call() == 42
    assert routines.lane.dirty == [routines]
    routines.resume(command.token, 42, 0.0)
    assert answers == [42]


def test_sleeps_end_in_the_order_of_their_time():
    routines = made(100.0)
    order = []
    for name, seconds in (("c", 3), ("a", 1), ("b", 2), ("now", 0), ("before", -5)):

        def routine(name=name, seconds=seconds):
            yield Sleep(seconds)
            order.append(name)

        routines.start(routine())
    assert routines.deadline == 100.0
    routines.handle_timeout(99.0)
    assert order == []
    routines.handle_timeout(100.0)
    assert order == ["now", "before"]
    assert routines.deadline == 101.0
    routines.handle_timeout(102.5)
    assert order == ["now", "before", "a", "b"]
    assert routines.deadline == 103.0
    routines.handle_timeout(200.0)
    assert order[-1] == "c"
    assert routines.deadline == math.inf


def test_a_sleep_begins_when_it_is_asked_for():
    routines = made(0.0)
    _, answers, _ = tell(routines, Sleep(1), Sleep(1))
    routines.handle_timeout(5.0)
    assert answers == [None]
    assert routines.deadline == 6.0


def test_interrupt_raises_where_it_waits():
    routines = made()
    token = routines.new_token()
    routine, answers, ended = tell(routines, Await(token), Sleep(1))
    error = Error(ErrorType.CONNECTION_CLOSED)
    routines.interrupt(routine, error)
    assert answers == [error]
    routines.resume(token, "late", 0.0)
    assert answers == [error]
    assert ended.results == []
    routines.handle_timeout(1.0)
    assert len(ended.results) == 1
    routines.interrupt(routine, error)  # it waits no more: nothing
    assert len(ended.results) == 1


def test_interrupt_takes_a_call_back_that_nobody_has_begun():
    routines = made()
    routine, _, _ = tell(routines, Call(lambda: 1))
    routines.interrupt(routine, Error(ErrorType.CONNECTION_CLOSED))
    assert not any(isinstance(command, RunFilter) for command in routines.take_commands())


def test_stop_closes_everything():
    routines = made()
    closed = []

    def routine(effect):
        try:
            yield effect
        finally:
            closed.append(effect)

    effects = [Await(routines.new_token()), Sleep(5), Call(lambda: 1)]
    for effect in effects:
        routines.start(routine(effect))
    routines.stop_routines()
    assert sorted(map(str, closed)) == sorted(map(str, effects))
    assert routines.deadline == math.inf
    routines.resume(1, "late", 0.0)
    routines.handle_timeout(100.0)
    assert len(closed) == 3
    assert routines.take_commands() == []


def test_what_a_routine_raises_is_told():
    routines = made()
    ended = Ended()

    def routine():
        yield Sleep(0)
        raise ValueError("a bug")

    routines.start(routine(), ended)
    routines.handle_timeout(0.0)
    [(value, error)] = ended.results
    assert value is None
    assert error.etype is ErrorType.INTERNAL_ERROR
    assert error.esource is ErrorSource.INTERNAL
    assert isinstance(error.cause, ValueError)


def test_without_anybody_to_tell_it_is_raised():
    def routine():
        raise ValueError("a bug")
        yield

    with pytest.raises(ValueError, match="a bug"):
        made().start(routine())


def test_what_is_no_effect_is_raised_in_the_routine():
    routines = made()
    caught = []

    def routine():
        try:
            yield "nonsense"
        except LocalProtocolError as error:
            caught.append(str(error))
        yield Sleep(1)

    routines.start(routine())
    assert caught == ["'nonsense' is no effect that can be awaited here"]
    assert routines.deadline == 1.0


def test_effects_of_a_subclass():
    class Mine(Routines):
        def perform(self, effect):
            if effect == "at once":
                return 0, "here"
            if effect == "later":
                return self.new_token(), None
            raise Error.http_status(418)

    routines = Mine(Lane(), 0.0)
    _, answers, ended = tell(routines, "at once", "later", "never")
    assert answers == ["here"]
    routines.resume(1, "there", 0.0)
    assert answers[:2] == ["here", "there"]
    assert answers[2].status == 418
    assert ended.results == [(answers, None)]


def test_as_error():
    error = Error(ErrorType.READ_ERROR)
    assert as_error(error, "anywhere") is error
    wrapped = as_error(ValueError("a bug"), "in a test")
    assert str(wrapped) == "Internal InternalError context: in a test cause: ValueError: a bug"


# ── the four forms ───────────────────────────────────────────────────────────────────


def run(routines, form, call):
    ended = Ended()
    routines.start(routines.run_form(form, call), ended)
    return ended


def test_plain():
    assert run(made(), Form.PLAIN, lambda: 42).results == [(42, None)]


def test_generator():
    def callback():
        yield Sleep(1)
        return 42

    routines = made()
    ended = run(routines, Form.GENERATOR, callback)
    routines.handle_timeout(1.0)
    assert ended.results == [(42, None)]


def test_blocking():
    routines = made()
    ended = run(routines, Form.BLOCKING, lambda: 42)
    [command] = routines.take_commands()
    assert not command.is_async
    routines.resume(command.token, command.call(), 0.0)
    assert ended.results == [(42, None)]
    routines.stop_routines()
    assert routines.take_commands() == []


def drive(awaitable):
    """Run to the end what awaits nothing of a runtime's."""
    with pytest.raises(StopIteration) as stop:
        next(awaitable.__await__())
    return stop.value.value


def test_async_in_segments():
    async def callback():
        await Sleep(1)
        called = await Call(lambda: 20)
        await Sleep(1)
        return called + 22

    routines = made()
    ended = run(routines, Form.ASYNC, callback)
    for _ in range(50):
        for command in routines.take_commands():
            value = drive(command.call()) if command.is_async else command.call()
            routines.resume(command.token, value, routines.now)
        routines.handle_timeout(routines.now + 0.5)
    assert ended.results == [(42, None)]
    assert routines.now >= 2.0
    routines.stop_routines()
    assert routines.take_commands() == [StopFilters()]
    routines.stop_routines()
    assert routines.take_commands() == []


def test_async_gets_the_failure_of_its_effect_where_it_awaits():
    async def callback():
        try:
            await Call(lambda: 1)
        except Error as error:
            return error.etype

    routines = made()
    ended = run(routines, Form.ASYNC, callback)
    [command] = routines.take_commands()
    routines.resume(command.token, drive(command.call()), 0.0)
    [call] = routines.take_commands()
    routines.fail(call.token, Error(ErrorType.READ_ERROR), 0.0)
    [command] = routines.take_commands()
    routines.resume(command.token, drive(command.call()), 0.0)
    assert ended.results == [(ErrorType.READ_ERROR, None)]


@pytest.mark.parametrize("point", ["not begun", "in an effect"])
def test_async_leaves_no_coroutine_behind(point):
    closed = []

    async def callback():
        try:
            await Sleep(1)
        finally:
            closed.append(True)

    routines = made()
    run(routines, Form.ASYNC, callback)
    if point == "in an effect":
        [command] = routines.take_commands()
        routines.resume(command.token, drive(command.call()), 0.0)
        del command
    routines.stop_routines()
    gc.collect()  # a runtime's task would let it end within itself; here it ends when nobody knows it any more
    assert closed == ([True] if point == "in an effect" else [])
    assert routines.take_commands()[-1] == StopFilters()


def test_cancellation_reaches_the_callback():
    seen = []

    class Waits:
        def __await__(self):
            yield "the runtime's"

    async def callback():
        try:
            await Waits()
        except KeyboardInterrupt:
            seen.append("cancelled")
            raise

    routines = made()
    run(routines, Form.ASYNC, callback)
    [command] = routines.take_commands()
    steps = command.call().__await__()
    assert next(steps) == "the runtime's"
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert seen == ["cancelled"]
    routines.stop_routines()


# ── a model ──────────────────────────────────────────────────────────────────────────


class RoutinesModel(RuleBasedStateMachine):
    """Any number of routines against a list of who waits for what."""

    @initialize()
    def begin(self):
        self.routines = Routines(Lane(), 0.0)
        self.now = 0.0
        self.waiting = {}  # routine -> ("token", token) | ("sleep", until)
        self.order = []
        self.expected = []
        self.count = 0

    def make(self, effect, until):
        self.count += 1
        number = self.count

        def story():
            answer = yield effect
            self.order.append((number, answer))

        routine = story()
        self.routines.start(routine, lambda value, error: self.order.append((number, error)) if error else None)
        self.waiting[number] = (routine, until)

    @rule()
    def await_token(self):
        token = self.routines.new_token()
        self.make(Await(token), ("token", token))

    @rule(seconds=st.integers(-1, 10))
    def sleep(self, seconds):
        self.make(Sleep(seconds), ("sleep", self.now + max(seconds, 0)))

    def tokens(self):
        return [(number, until[1]) for number, (_, until) in self.waiting.items() if until[0] == "token"]

    @precondition(lambda self: self.tokens())
    @rule(data=st.data())
    def answer(self, data):
        number, token = data.draw(st.sampled_from(self.tokens()))
        self.routines.resume(token, token, self.now)
        self.expected.append((number, token))
        del self.waiting[number]

    @rule(token=st.integers(1, 50), late=st.booleans())
    def answer_nobody(self, token, late):
        if token not in dict(map(reversed, self.tokens())):
            stale = token if token <= self.routines._token else 10_000 + token
            if not any(entry == token for _, entry in self.routines._sleeping):
                self.routines.resume(stale, "stale", self.now)

    @rule(seconds=st.integers(0, 5))
    def time_passes(self, seconds):
        self.now += seconds
        self.routines.handle_timeout(self.now)
        due = [
            (until[1], number)
            for number, (_, until) in self.waiting.items()
            if until[0] == "sleep" and until[1] <= self.now
        ]
        for _, number in sorted(due):
            self.expected.append((number, None))
            del self.waiting[number]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def interrupt(self, data):
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        routine, _ = self.waiting.pop(number)
        error = Error(ErrorType.CONNECTION_CLOSED)
        self.routines.interrupt(routine, error)
        self.expected.append((number, error))

    @rule()
    def stop(self):
        self.routines.stop_routines()
        self.waiting.clear()

    @invariant()
    def they_agree(self):
        if not hasattr(self, "routines"):
            return
        assert self.order == self.expected
        assert len(self.routines._waiting) == len(self.waiting)
        sleeps = [until[1] for _, until in self.waiting.values() if until[0] == "sleep"]
        assert self.routines.deadline <= min(sleeps, default=math.inf)
        if not self.waiting and not self.routines._sleeping:
            assert self.routines.deadline == math.inf


TestRoutinesModel = RoutinesModel.TestCase
