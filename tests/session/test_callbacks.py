"""The four forms of a callback, however it is written."""

from __future__ import annotations

import functools

import pytest

from sansio_pingora.session import Form, blocking, check_form, form_of


def plain(x=None):
    return x


@blocking
def blocks(x=None):
    return x


async def coroutine(x=None):
    return x


def generator(x=None):
    yield x


async def async_generator(x=None):
    yield x


class Methods:
    plain = plain
    blocks = blocks
    coroutine = coroutine
    generator = generator

    @staticmethod
    def static():
        pass

    @classmethod
    async def of_class(cls):
        pass


@blocking
class Whole:
    def plain(self):
        pass

    async def coroutine(self):
        pass

    def generator(self):
        yield


class Heir(Whole):
    pass


class CallPlain:
    def __call__(self):
        pass


class CallAsync:
    async def __call__(self):
        pass


class CallGenerator:
    def __call__(self):
        yield


class CallBlocking:
    @blocking
    def __call__(self):
        pass


@blocking
class CallOfBlockingClass:
    def __call__(self):
        pass


PLAIN, BLOCKING, ASYNC, GENERATOR = Form.PLAIN, Form.BLOCKING, Form.ASYNC, Form.GENERATOR


@pytest.mark.parametrize(
    ("callback", "form"),
    [
        (plain, PLAIN),
        (blocks, BLOCKING),
        (coroutine, ASYNC),
        (generator, GENERATOR),
        (lambda: None, PLAIN),
        (print, PLAIN),
        (Methods().plain, PLAIN),
        (Methods().blocks, BLOCKING),
        (Methods().coroutine, ASYNC),
        (Methods().generator, GENERATOR),
        (Methods.static, PLAIN),
        (Methods.of_class, ASYNC),
        (functools.partial(plain, 1), PLAIN),
        (functools.partial(blocks, 1), BLOCKING),
        (functools.partial(coroutine, 1), ASYNC),
        (functools.partial(functools.partial(generator), 1), GENERATOR),
        (functools.partial(Methods().coroutine), ASYNC),
        (CallPlain(), PLAIN),
        (CallAsync(), ASYNC),
        (CallGenerator(), GENERATOR),
        (CallBlocking(), BLOCKING),
        (CallPlain, PLAIN),
    ],
)
def test_form(callback, form):
    assert form_of(callback) is form


@pytest.mark.parametrize("owner", [Whole(), Heir()], ids=["marked", "heir"])
@pytest.mark.parametrize(("name", "form"), [("plain", BLOCKING), ("coroutine", ASYNC), ("generator", GENERATOR)])
def test_a_class_marked_whole_has_blocking_methods(owner, name, form):
    assert form_of(getattr(owner, name), owner) is form


def test_a_callable_of_a_marked_class():
    made = CallOfBlockingClass()
    assert form_of(made, made) is BLOCKING


def test_a_partial_that_is_marked_itself():
    assert form_of(blocking(functools.partial(plain, 1))) is BLOCKING


def test_a_callable_object_that_is_marked_itself():
    assert form_of(blocking(CallPlain())) is BLOCKING


def test_an_async_generator_is_none_of_the_four():
    with pytest.raises(TypeError, match="is an async generator: write it as async def or as a generator of effects"):
        form_of(async_generator)


def test_blocking_returns_what_it_marks():
    assert blocking(blocks) is blocks


@pytest.mark.parametrize("form", [PLAIN, BLOCKING, GENERATOR])
def test_every_runtime_runs_what_does_not_await(form):
    check_form("name", form, "threads", can_await=False)


def test_async_needs_a_runtime_that_awaits():
    check_form("App.filter", ASYNC, "asyncio", can_await=True)
    with pytest.raises(TypeError, match=r"App\.filter is async def, which the gevent runtime cannot run"):
        check_form("App.filter", ASYNC, "gevent", can_await=False)
