"""The four forms of a callback, however it is written."""

from __future__ import annotations

import functools

import pytest

from sansio_pingora.apps import HttpServerApp, HttpService, RawService, ServerApp, WebSocketApp
from sansio_pingora.modules import HttpModule, HttpModules
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.session import Form, blocking, check_callbacks, check_form, form_of


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


# ── names and arguments ──────────────────────────────────────────────────────────────


class Base:
    def request_filter(self, session, ctx):
        """A callback."""

    def response_body_filter(self, session, body, end_of_stream, ctx):
        """Another one."""

    def logging(self, session, error, ctx):
        """And another one."""

    def peer(self, backend):
        """No callback, but known."""


CALLBACKS = ("request_filter", "response_body_filter", "logging")


def three(self, a, b):
    return a


def four(self, a, b, c):
    return a


def five(self, a, b, c, d):
    return a


@pytest.mark.parametrize(
    ("name", "function", "meant"),
    [
        ("reqest_filter", three, "request_filter"),
        ("request_fliter", three, "request_filter"),
        ("requestFilter", three, "request_filter"),
        ("reqest_filters", three, "request_filter"),
        ("request_filterr", three, "request_filter"),
        ("loging", four, "logging"),
        ("response_boddy_filter", five, "response_body_filter"),
        ("request_filtr", blocking(lambda self, session, ctx: None), "request_filter"),
        ("request_filtr", lambda self, *args: None, "request_filter"),
    ],
)
def test_a_name_that_is_nearly_that_of_a_callback(name, function, meant):
    for owner in (kind := type("Edge", (Base,), {name: function}), kind()):
        with pytest.raises(
            TypeError, match=rf"Edge\.{name} is no callback of Base: did you mean '{meant}'\?.* _{name}"
        ):
            check_callbacks(owner, Base, CALLBACKS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_reqest_filter", three),  # "I mean it"
        ("request_filters", three),  # its plural
        ("request_filtered", three),
        ("request_filter_s", three),
        ("request_filterd", lambda self, session, name="x", more=None: None),
        ("reqest_filter", lambda self: []),  # what nobody could call as the callback
        ("request_filters", ["a list"]),
        ("request_filters", property(lambda self: [])),
        ("log", four),
        ("log_line", four),
        ("header_filter", three),
        ("filter_request", three),
        ("response_chunk_filter", five),
        ("peer", three),
        ("request_filter", three),
        ("request_filter", lambda self, *args, **more: None),
        ("request_filter", lambda self, session, ctx, more=1: None),
        ("request_filter", staticmethod(lambda session, ctx: None)),
        ("request_filter", functools.partialmethod(four, 1)),
    ],
)
def test_names_and_arguments_that_are_good(name, value):
    check_callbacks(type("Edge", (Base,), {name: value})(), Base, CALLBACKS)


def test_callbacks_of_a_mixin_and_of_an_object():
    class Mixin:
        def reqest_filter(self, session, ctx):
            """Nobody would call it."""

    with pytest.raises(TypeError, match="did you mean 'request_filter'"):
        check_callbacks(type("Edge", (Mixin, Base), {}), Base, CALLBACKS)
    edge = Base()
    edge.logging = lambda session, error, ctx: None
    check_callbacks(edge, Base, CALLBACKS)
    edge.logging = print
    check_callbacks(edge, Base, CALLBACKS)


def test_a_name_in_the_present_of_a_callback_in_the_past():
    class Past:
        def received(self, stream, data):
            """A callback."""

    check_callbacks(type("Edge", (Past,), {"receive": three}), Past, ("received",))


def test_a_name_close_to_a_callback_that_is_there_as_well():
    both = {"request_filter": three, "reqest_filter": three}
    check_callbacks(type("Edge", (Base,), both), Base, CALLBACKS)
    with pytest.raises(TypeError, match="did you mean 'logging'"):
        check_callbacks(type("Edge", (Base,), {**both, "loging": four}), Base, CALLBACKS)
    edge = type("Edge", (Base,), {"loging": four})()
    edge.logging = lambda session, error, ctx: None
    check_callbacks(edge, Base, CALLBACKS)


@pytest.mark.parametrize("value", [None, ["a list"], property(lambda self: [])])
def test_a_method_of_a_mixin_that_something_else_shadows(value):
    mixin = type("Mixin", (), {"reqest_filter": three})
    check_callbacks(type("Edge", (mixin, Base), {"reqest_filter": value}), Base, CALLBACKS)


@pytest.mark.parametrize("function", [lambda self: None, four, lambda self, a, b, *, c: None])
def test_a_callback_that_does_not_take_what_it_is_given(function):
    for owner in (kind := type("Edge", (Base,), {"request_filter": function}), kind()):
        with pytest.raises(
            TypeError, match=r"Edge\.request_filter\(.* does not take .*: write request_filter\(self, session, ctx\)"
        ):
            check_callbacks(owner, Base, CALLBACKS)


def test_a_callback_that_is_none():
    with pytest.raises(TypeError, match=r"Edge\.logging is True: write a method logging\(self, session, error, ctx\)"):
        check_callbacks(type("Edge", (Base,), {"logging": True}), Base, CALLBACKS)


@pytest.mark.parametrize(
    ("base", "served", "name"),
    [
        (ProxyHttp, HttpProxy, "upstream_pear"),
        (HttpModule, HttpModules().add_module, "response_heder_filter"),
        (HttpServerApp, HttpService, "proces_new_http"),
        (WebSocketApp, lambda kind: kind.check("asyncio", can_await=True), "on_mesage"),
        (ServerApp, RawService, "recieved"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_who_looks_at_the_names(base, served, name):
    made = type("Edge", (base,), {name: lambda self, *args: None})
    with pytest.raises(TypeError, match=rf"Edge\.{name} is no callback of {base.__name__}: did you mean"):
        served(made if base is HttpModule else made())
