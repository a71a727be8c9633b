"""Effects that machines of the same lane carry out."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import Lane
from sansio_pingora.session import Effect, Form, LaneEffect, Routines
from tests.apps.bench import drive

FAULT = Error(ErrorType.READ_ERROR, "on purpose")


class Later(LaneEffect):
    """Answers when it is told to."""

    def __init__(self, at_once=None):
        self.at_once = at_once
        self.waiter = None
        self.token = 0
        self.cancelled = 0

    def begin(self, waiter, token):
        if isinstance(self.at_once, Exception):
            raise self.at_once
        if self.at_once is not None:
            return 0, self.at_once
        self.waiter, self.token = waiter, token
        return token, None

    def cancel(self):
        self.cancelled += 1

    def answer(self, value):
        self.waiter.resume(self.token, value, 0.0)


def run(effect, *, how="yield from"):
    """A routine that waits for *effect*, and how it ended."""
    routines, ended = Routines(Lane(), 0.0), []

    def routine():
        return (yield effect) if how == "yield" else (yield from effect)

    async def callback():
        return await effect

    started = routines.run_form(Form.ASYNC, callback) if how == "await" else routine()
    routines.start(started, lambda value, error: ended.append((value, error)))
    for command in routines.take_commands():
        routines.resume(command.token, drive(command.call()), 0.0)
    return routines, started, ended


def go_on(routines):
    """The task of an async callback goes on."""
    for command in routines.take_commands():
        if hasattr(command, "call"):
            try:
                value = drive(command.call())
            except Exception as exc:
                routines.fail(command.token, Error(ErrorType.INTERNAL_ERROR, cause=exc), 0.0)
            else:
                routines.resume(command.token, value, 0.0)


HOW = pytest.mark.parametrize("how", ["yield", "yield from", "await"])


@HOW
def test_its_result_comes_later(how):
    effect = Later()
    assert isinstance(effect, Effect)
    routines, _, ended = run(effect, how=how)
    assert ended == []
    effect.answer("done")
    go_on(routines)
    assert ended == [("done", None)]
    assert effect.cancelled == 0


@HOW
def test_its_result_is_there_already(how):
    routines, _, ended = run(Later("done"), how=how)
    go_on(routines)
    assert ended == [("done", None)]


@HOW
@pytest.mark.parametrize("error", [FAULT, LocalProtocolError("not now")], ids=["Error", "LocalProtocolError"])
def test_it_cannot_be_carried_out(how, error):
    routines, _, [*ended] = run(Later(error), how=how)
    go_on(routines)
    if how != "await":
        [(_, found)] = ended
        assert found is error or found.cause is error


@pytest.mark.parametrize("how", ["yield from", "await"])
def test_who_waits_is_interrupted(how):
    effect = Later()
    routines, routine, ended = run(effect, how=how)
    routines.interrupt(routine, FAULT)
    go_on(routines)
    assert len(ended) == 1
    assert effect.cancelled == 1
    effect.answer("too late")
    assert len(ended) == 1


def test_one_must_say_how_it_is_carried_out():
    with pytest.raises(NotImplementedError):
        LaneEffect().begin(None, 1)
    LaneEffect().cancel()


def test_nothing_unread_is_kept_by_routines_without_a_body():
    assert Routines(Lane(), 0.0).take_unread() == []
