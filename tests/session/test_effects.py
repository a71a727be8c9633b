"""Effects are values, and can be awaited."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.session import Call, Drain, Effect, ReadBody, Sleep


@pytest.mark.parametrize("effect", [Sleep(1), Call(print), ReadBody(), Drain()], ids=repr)
def test_an_effect_awaits_to_itself(effect):
    assert isinstance(effect, Effect)
    steps = effect.__await__()
    assert next(steps) is effect
    with pytest.raises(StopIteration) as stop:
        steps.send("the answer")
    assert stop.value.value == "the answer"


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_nobody_sleeps_for_ever(seconds):
    with pytest.raises(ValueError, match="finite number of seconds"):
        Sleep(seconds)


def test_seconds_are_a_number():
    with pytest.raises(TypeError):
        Sleep("1")
