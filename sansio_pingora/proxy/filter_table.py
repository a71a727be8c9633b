"""Which callbacks a proxy overrides and in which form, settled once at start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES, ProxyHttp
from sansio_pingora.session import Form, check_form, form_of

__all__ = ["Filter", "FilterTable"]


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

    :raises TypeError: *app* is no ProxyHttp, lacks ``upstream_peer``, or waits where it must decide.
    """

    __slots__ = (
        "app",
        "request_body_filters",
        "request_body_inline",
        "response_body_filters",
        "response_body_inline",
        "response_head_filters",
        "response_head_inline",
        *PHASES,
    )

    app: ProxyHttp
    early_request_filter: Filter | None
    request_filter: Filter | None
    request_body_filter: Filter | None
    upstream_peer: Filter
    connected_to_upstream: Filter | None
    upstream_request_filter: Filter | None
    upstream_response_filter: Filter | None
    upstream_response_body_filter: Filter | None
    response_filter: Filter | None
    response_body_filter: Filter | None
    fail_to_proxy: Filter | None
    logging: Filter | None

    def __init__(self, app: ProxyHttp) -> None:
        if not isinstance(app, ProxyHttp):
            raise TypeError(f"{app!r} is not a ProxyHttp")
        self.app = app
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

        self.request_body_filters = _present(self.request_body_filter)
        self.response_head_filters = _present(self.upstream_response_filter, self.response_filter)
        self.response_body_filters = _present(self.upstream_response_body_filter, self.response_body_filter)
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


def _present(*found: Filter | None) -> tuple[Filter, ...]:
    return tuple(one for one in found if one is not None)
