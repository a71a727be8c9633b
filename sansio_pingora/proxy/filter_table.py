"""Which callbacks a proxy overrides and in which form, settled once at start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sansio_pingora.modules import HttpModules, ModuleFilter
from sansio_pingora.proxy.options import ProxyOptions
from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES, ProxyHttp
from sansio_pingora.session import Form, check_callbacks, check_form, form_of

__all__ = ["Filter", "FilterTable"]

_CALLBACKS = (*PHASES, "init_downstream_modules", "init_upstream_modules")


class Filter:
    """One overridden callback. ``inline``: it is called in place."""

    __slots__ = ("call", "form", "inline", "name")

    def __init__(self, name: str, call: Callable[..., Any], form: Form) -> None:
        self.name = name
        self.call = call
        self.form = form
        self.inline = form is Form.PLAIN


class FilterTable:
    """A filter for each phase of :class:`ProxyHttp`, or None where it is not overridden.

    :raises TypeError: *app* is no ProxyHttp, lacks ``upstream_peer``, waits where it must decide, or has a callback
        whose name or arguments are wrong.
    """

    __slots__ = (
        "app",
        "changes_heads",
        "downstream_modules",
        "epilogue",
        "error_template",
        "forwarding",
        "informational_head_filters",
        "prologue",
        "request_body_filters",
        "request_body_inline",
        "request_filters",
        "response_body_filters",
        "response_body_inline",
        "response_head_filters",
        "response_head_inline",
        "response_tails",
        "upstream_modules",
        "upstream_request_filters",
        *PHASES,
    )

    app: ProxyHttp
    on_connection_reuse: Filter | None
    allow_spawning_subrequest: Filter | None
    early_request_filter: Filter | None
    request_filter: Filter | None
    request_body_filter: Filter | None
    proxy_upstream_filter: Filter | None
    upstream_peer: Filter
    connected_to_upstream: Filter | None
    upstream_request_filter: Filter | None
    adjust_upstream_modules: Filter | None
    upstream_response_filter: Filter | None
    upstream_response_body_filter: Filter | None
    upstream_response_trailer_filter: Filter | None
    response_filter: Filter | None
    response_body_filter: Filter | None
    response_trailer_filter: Filter | None
    fail_to_proxy: Filter | None
    persist_connection_context: Filter | None
    logging: Filter | None

    def __init__(self, app: ProxyHttp, options: ProxyOptions | None = None) -> None:
        options = options or ProxyOptions()
        self.forwarding = options.forwarding()
        self.error_template = options.template()
        if not isinstance(app, ProxyHttp):
            raise TypeError(f"{app!r} is not a ProxyHttp")
        self.app = app
        check_callbacks(app, ProxyHttp, _CALLBACKS)
        for name in PHASES:
            call = getattr(app, name)
            found = None
            if getattr(call, "__func__", call) is not getattr(ProxyHttp, name):
                form = form_of(call, app)
                if name in PLAIN_PHASES:
                    if form in (Form.ASYNC, Form.GENERATOR):
                        raise TypeError(
                            f"{type(app).__name__}.{name} decides and must not wait: write it as a plain method"
                        )
                    form = Form.PLAIN
                found = Filter(name, call, form)
            setattr(self, name, found)
        if self.upstream_peer is None:
            raise TypeError(f"{type(app).__name__} must override upstream_peer(session, ctx) and return an HttpPeer")

        downstream, upstream = HttpModules(), HttpModules(upstream=True)
        app.init_downstream_modules(downstream)
        app.init_upstream_modules(upstream)
        self.downstream_modules = downstream if len(downstream) else None
        self.upstream_modules = upstream if len(upstream) else None
        if self.adjust_upstream_modules is not None and self.upstream_modules is None:
            raise TypeError(
                f"{type(app).__name__}.adjust_upstream_modules has nothing to adjust: init_upstream_modules adds none"
            )
        self._settle(downstream, upstream)

    def _settle(self, downstream: HttpModules, upstream: HttpModules) -> None:
        """Which filters run one after the other, the modules' among the callbacks."""
        self.prologue = bool(
            self.on_connection_reuse or self.allow_spawning_subrequest or self.downstream_modules is not None
        )
        self.epilogue = bool(downstream.filters("done") or self.persist_connection_context)
        self.request_filters = (*_of_modules(downstream, "request_header_filter"), *_present(self.request_filter))
        self.upstream_request_filters = (
            *_present(self.upstream_request_filter),
            *_of_modules(upstream, "request_header_filter"),
        )
        self.request_body_filters = (
            *_of_modules(downstream, "request_body_filter"),
            *_present(self.request_body_filter),
        )
        self.response_head_filters = (
            *_adjusting(self.adjust_upstream_modules),
            *_of_modules(upstream, "response_header_filter"),
            *_present(self.upstream_response_filter, self.response_filter),
        )
        self.changes_heads = bool(self.response_head_filters or downstream.filters("response_header_filter"))
        self.informational_head_filters = _present(self.upstream_response_filter, self.response_filter)
        self.response_body_filters = (
            *_of_modules(upstream, "response_body_filter"),
            *_present(self.upstream_response_body_filter, self.response_body_filter),
        )
        tails = (
            *((_of_module(body), _of_module(trailers)) for body, trailers in upstream.tails),
            (self.upstream_response_body_filter, self.upstream_response_trailer_filter),
            (self.response_body_filter, self.response_trailer_filter),
        )
        self.response_tails = tails if any(trailers is not None for _, trailers in tails) else ()
        """For each stage its filters of the body and of the trailers; empty when no stage filters trailers."""
        self.request_body_inline = all(found.inline for found in self.request_body_filters)
        self.response_head_inline = all(found.inline for found in self.response_head_filters)
        self.response_body_inline = all(found.inline for found in self.response_body_filters)

    def check(self, runtime: str, *, can_await: bool) -> None:
        """Refuse a runtime that cannot run one of the filters.

        :raises TypeError: ``async def`` where nothing awaits.
        """
        for name in PHASES:
            found: Filter | None = getattr(self, name)
            if found is not None:
                check_form(f"{type(self.app).__name__}.{name}", found.form, runtime, can_await=can_await)
        for modules in (self.downstream_modules, self.upstream_modules):
            if modules is not None:
                modules.check(runtime, can_await=can_await)


def _present(*found: Filter | None) -> tuple[Filter, ...]:
    return tuple(one for one in found if one is not None)


def _of_modules(modules: HttpModules, name: str) -> tuple[Filter, ...]:
    made = (_of_module(found) for found in modules.filters(name))
    return tuple(one for one in made if one is not None)


def _of_module(found: ModuleFilter | None) -> Filter | None:
    """A module's method as a callback of the proxy: the module is the exchange's own."""
    if found is None:
        return None
    at, function, upstream = found.at, found.function, found.upstream
    if found.name == "request_header_filter" and not upstream:

        def on_request(session: Any, _: Any) -> Any:
            return function(session.downstream_modules_ctx.modules[at], session, session.req_header)

        return Filter(found.full_name, on_request, found.form)
    if found.name == "response_header_filter":

        def on_response(session: Any, head: Any, _: Any) -> Any:
            modules = session.upstream_modules_ctx
            return function(modules.modules[at], session, head, modules.end_of_stream)

        return Filter(found.full_name, on_response, found.form)

    def call(session: Any, *args: Any) -> Any:
        modules = session.upstream_modules_ctx if upstream else session.downstream_modules_ctx
        return function(modules.modules[at], session, *args[:-1])  # without the ctx

    return Filter(found.full_name, call, found.form)


def _adjusting(found: Filter | None) -> tuple[Filter, ...]:
    if found is None:
        return ()

    def call(session: Any, head: Any, ctx: Any) -> Any:
        return found.call(session, head, session.upstream_modules_ctx.end_of_stream, ctx)

    return (Filter(found.name, call, found.form),)
