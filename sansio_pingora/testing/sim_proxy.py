"""A proxy application with random filters, which records the phases that run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import HttpOptions
from sansio_pingora.errors import Error
from sansio_pingora.modules import HttpModule, HttpModules
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.session import Sleep, blocking
from sansio_pingora.testing.faults import Faults
from sansio_pingora.testing.filter_calls import sleep
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

if TYPE_CHECKING:
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.http_oracles import Case
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["random_proxy"]


class _Exchange:
    """The ctx of one exchange."""

    __slots__ = ("phases", "tries")

    def __init__(self) -> None:
        self.phases = ["new_ctx"]
        self.tries = 0


_WAITING = (
    "early_request_filter",
    "request_filter",
    "proxy_upstream_filter",
    "request_body_filter",
    "connected_to_upstream",
    "upstream_request_filter",
    "upstream_response_filter",
    "upstream_response_body_filter",
    "upstream_response_trailer_filter",
    "response_filter",
    "response_body_filter",
    "response_trailer_filter",
)
_DECIDING = ("fail_to_connect", "error_while_proxy", "fail_to_proxy")


def random_proxy(world: World, case: Case, addresses: list[str]) -> Application:
    """A proxy with filters of every form, chosen by the world's seed."""
    rng = world.rng.fork("proxy")
    faults = world.faults
    deferred = faults.enabled("filter late")
    methods: dict[str, Any] = {}

    def new_ctx(_: ProxyHttp) -> _Exchange:
        exchange = _Exchange()
        case.exchanges.append(exchange.phases)
        return exchange

    methods["new_ctx"] = new_ctx
    methods["upstream_peer"] = _upstream_peer(world, rng, case, addresses)
    logs = world.rng.fork("logging")
    methods["logging"] = _logging(logs, faults, deferred=deferred)
    for name in (*_WAITING, *_DECIDING):
        if rng.chance(0.25 if deferred else 0.15) or faults.enabled(f"exception in {name}"):
            form = (
                "plain" if name in _DECIDING or not deferred else rng.pick(("plain", "blocking", "generator", "async"))
            )
            methods[name] = _hook(name, form, rng, faults)
    for side in ("downstream", "upstream"):
        if rng.chance(0.2):
            methods[f"init_{side}_modules"] = _modules(rng, upstream=side == "upstream")
    proxy_class = type("SimulatedProxy", (ProxyHttp,), methods)
    tls = None if case.tls is None else case.tls.library
    limits = replace(case.limits, max_unlogged=logs.pick((1, 2, 100)))
    return HttpProxy(proxy_class(), limits, _options(case), tls=tls)


def _options(case: Case) -> HttpOptions:
    return HttpOptions(
        h2c=bool(case.http2_clients or case.http2_origins or case.talks), allow_connect_method_proxying=bool(case.talks)
    )


class _Passing(HttpModule):
    """Looks at a response and changes nothing."""

    def response_header_filter(self, session: Any, response: Any, end_of_stream: bool) -> None:
        pass

    def response_body_filter(self, session: Any, body: bytes, end_of_stream: bool) -> bytes:
        return bytes(bytearray(body))  # equal, and another object

    def response_trailer_filter(self, session: Any, trailers: Any) -> None:
        pass


class _Reading(_Passing):
    """And at a request."""

    def request_header_filter(self, session: Any, request: Any) -> Any:
        yield Sleep(0.01)

    def request_body_filter(self, session: Any, body: bytes, end_of_stream: bool) -> bytes:
        return bytes(bytearray(body))


def _modules(rng: Random, *, upstream: bool) -> Callable[..., Any]:
    kind = _Passing if upstream or rng.chance(0.5) else _Reading

    def init_modules(_: ProxyHttp, modules: HttpModules) -> None:
        modules.add_module(kind)

    return init_modules


def _note(name: str, ctx: Any, faults: Faults) -> None:
    if ctx is not None:
        ctx.phases.append(name)
    if faults.fires(f"exception in {name}"):
        raise RuntimeError(f"{name} failed by order of the simulator")


def _upstream_peer(world: World, rng: Random, case: Case, addresses: list[str]) -> Callable[..., Any]:
    faults = world.faults
    most = case.limits.max_per_peer
    http2 = PeerOptions(alpn=ALPN.H2, max_h2_streams=rng.pick((1, 3, 100)))
    first = rng.below(len(addresses))
    bridges = rng.chance(0.5)
    tls = case.tls if case.tls is not None and case.tls.back else None

    def upstream_peer(_: ProxyHttp, session: Any, ctx: Any) -> HttpPeer:
        _note("upstream_peer", ctx, faults)
        ctx.tries += 1
        target = session.req_header.target
        kind = "websocket" if target.startswith(b"/ws") else "tunnel"
        if target.startswith((b"/ws", b"/tunnel")) or session.req_header.method == b"CONNECT":
            if kind in case.talk_origins:
                if tls is not None and kind == "tunnel":
                    return tls.peer(case.talk_origins[kind], http2=False)
                spoken = http2 if kind == "websocket" and bridges else None
                return HttpPeer(case.talk_origins[kind], options=spoken)
        address = addresses[(first + ctx.tries - 1) % len(addresses)]
        if most is not None and world.drivers[0].upstreams(address) >= most:
            faults.count("pool full")
        speaks_http2 = address in case.http2_origins
        if tls is not None:
            return tls.peer(address, http2=speaks_http2)
        return HttpPeer(address, options=http2 if speaks_http2 else None)

    return upstream_peer


def _logging(rng: Random, faults: Faults, *, deferred: bool) -> Callable[..., Any]:
    def logging(_: ProxyHttp, __: Any, ___: Error | None, ctx: Any) -> None:
        _note("logging", ctx, faults)

    def waits(_: ProxyHttp, __: Any, ___: Error | None, ctx: Any) -> Generator[Sleep, None, None]:
        yield Sleep(rng.pick((0.0, 0.2, 1.0)))
        _note("logging", ctx, faults)

    return waits if deferred else logging


def _hook(name: str, form: str, rng: Random, faults: Faults) -> Callable[..., Any]:
    retries = rng.chance(0.6)

    def result(ctx: Any, args: tuple[Any, ...]) -> Any:
        _note(name, ctx, faults)
        if name == "fail_to_connect":
            return args[-1].with_retry(retries)
        if name == "error_while_proxy":
            error: Error = args[2]
            return error.with_retry(True) if retries else error.decide_reuse(args[-1])
        if name == "request_filter" and faults.enabled("filter error") and rng.chance(0.05):
            args[0].respond_error(403)
            return True
        return None

    def plain(_: ProxyHttp, *args: Any) -> Any:
        return result(_ctx_of(args), args)

    def generator(_: ProxyHttp, *args: Any) -> Generator[Sleep, None, Any]:
        yield Sleep(rng.pick((0.0, 0.01, 0.5)))
        return result(_ctx_of(args), args)

    async def coroutine(_: ProxyHttp, *args: Any) -> Any:
        await sleep(rng.pick((0.0, 0.01, 0.5)))
        return result(_ctx_of(args), args)

    if name == "fail_to_proxy":
        # None would say that the answer was written here: leave the choice to the default.
        def fail_to_proxy(_: ProxyHttp, session: Any, error: Error, ctx: Any) -> int | None:
            _note(name, ctx, faults)
            return ProxyHttp.fail_to_proxy(_, session, error, ctx)

        return fail_to_proxy
    if form == "generator":
        return generator
    if form == "async":
        return coroutine
    return blocking(plain) if form == "blocking" else plain


def _ctx_of(args: tuple[Any, ...]) -> Any:
    for arg in args:
        if type(arg) is _Exchange:
            return arg
    return None
