"""Operation sequences: properties and models of the tests, whose choices are read from the bytes of an input.

What a sequence of bytes means is hypothesis' own affair and may change with it: these inputs are kept
for the next campaign, and the tests do not replay them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test

from fuzz.target import Target
from tests.connectors.conftest import FakeNet

__all__ = ["TARGETS"]

_MODELS = {
    "http1-server": ("tests.http1.test_states:ServerModel", "A server of HTTP/1 does what its table says, whatever is asked in whatever order."),
    "http1-client": ("tests.http1.test_states:ClientModel", "A client of HTTP/1 does what its table says, whatever is asked in whatever order."),
    "http2-towards-server": ("tests.http2.test_any_input:test_towards_a_server", "A server sends legal frames within the windows, and one end for each answer (I-6, I-12)."),
    "http2-towards-client": ("tests.http2.test_any_input:test_towards_a_client", "A client sends legal frames within the windows, and each request has one end (I-6, I-12)."),
    "http2-server-ends": ("tests.http2.test_any_input:test_a_server_comes_to_its_end", "No wait of a server is without a clock (I-9)."),
    "http2-flow": ("tests.http2.test_model:Model", "Windows and credits are what a ledger of them says (I-12)."),
    "http2-outflow": ("tests.http2.test_outflow_model:Model", "What waits for a window goes out in turns, whole, once."),
    "websocket-pair": ("sansio_pingora.testing.stateful:WebSocketMachine", "Two ends agree on every message, ping and close."),
    "server-connection": ("sansio_pingora.testing.stateful:HttpServerMachine", "Each request is told once, each answer goes out whole, once, in order."),
    "pool": ("tests.connectors.test_connection_pool_model:PoolModel", "A pool hands out what a slow one would, and no connection twice (I-4)."),
    "connector": ("tests.connectors.test_connector_model:ConnectorModel", "A connector keeps every lease and dial in its books, whatever comes when (I-4, I-10)."),
    "sharing": ("tests.connectors.test_sharing_model:SharingModel", "Connections of many streams are shared within their bounds."),
    "layers": ("tests.connectors.test_layered_model:LayeredModel", "Tunnels and TLS below a connection open, fail or are given up, once."),
    "proxy-any-order": ("tests.proxy.test_model:AnyOrder", "A proxy answers once and runs its phases in order, whatever its two sides do when (I-1, I-11)."),
    "proxy-streams": ("tests.proxy.test_h2_model:ManyStreams", "Many streams over a proxy do not touch each other (I-1, I-3)."),
    "lifecycle": ("sansio_pingora.testing.stateful:LifecycleMachine", "A server goes through its phases in order, whatever signals come (I-13)."),
    "routines": ("tests.session.test_routines:RoutinesModel", "Routines of a session end once, and nothing of theirs is left."),
    "subrequest": ("tests.session.test_subrequest:ASubrequest", "A subrequest and its parent see each byte once."),
}  # fmt: skip

_SETTINGS = settings(deadline=None, database=None, stateful_step_count=60, suppress_health_check=list(HealthCheck))


@cache
def _entry(where: str) -> Callable[[bytes], Any]:
    module, _, name = where.partition(":")
    found = getattr(import_module(module), name)
    if hasattr(found, "net_type"):
        found.net_type = FakeNet
    if isinstance(found, type) and issubclass(found, RuleBasedStateMachine):
        return get_state_machine_test(found, settings=_SETTINGS).hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return _SETTINGS(found).hypothesis.fuzz_one_input


def _target(name: str, where: str, invariant: str) -> Target:
    def run(data: bytes) -> None:
        _entry(where)(data)

    run.__doc__ = invariant
    return Target(
        f"model-{name}",
        run,
        lambda: [Random(seed).randbytes(40 * 2 ** (seed % 6)) for seed in range(24)],
        replays=False,
    )


TARGETS = tuple(_target(name, *row) for name, row in _MODELS.items())
