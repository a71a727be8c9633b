"""State machines for hypothesis, to be subclassed for an implementation of your own.

Override ``make`` (of a WebSocket ``make_client`` and ``make_server``), add rules, and run it as
``TestName = Name.TestCase``. What fails is printed by hypothesis as the steps of the shortest story that it found.
"""

try:
    import hypothesis  # noqa: F401  # said here what is missing, rather than in the middle of it
except ModuleNotFoundError as exc:  # pragma: no cover  # the tests have it
    raise ModuleNotFoundError(
        "the state machines need hypothesis: pip install 'sansio-pingora[testing]'", name="hypothesis"
    ) from exc

from sansio_pingora.testing.stateful.flow import FlowMachine, FlowSide
from sansio_pingora.testing.stateful.http_server import HttpServerMachine
from sansio_pingora.testing.stateful.lifecycle import LifecycleMachine
from sansio_pingora.testing.stateful.pool import PoolMachine
from sansio_pingora.testing.stateful.websocket import WebSocketMachine, WebSocketSide

__all__ = [
    "FlowMachine",
    "FlowSide",
    "HttpServerMachine",
    "LifecycleMachine",
    "PoolMachine",
    "WebSocketMachine",
    "WebSocketSide",
]
