"""What a server runs: services that listen, and services that work in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from enum import Enum
from typing import Any, Protocol

from sansio_pingora.listeners import ConnectionFilter, File, ServerAddress, TcpSocketOptions, Tls

__all__ = ["AnyService", "BackgroundService", "FailurePolicy", "ReadyNotifier", "Service", "ShutdownWatch"]


class FailurePolicy(Enum):
    """What follows when a service breaks down."""

    FAIL = "fail"  # the start of the server fails, or the running server ends; its exit code is 1
    RETRY = "retry"  # it is started again, after 0.1 s, then twice as long each time, 30 s at most
    RESTART = "restart"  # as FAIL until every service was ready, as RETRY from then on
    CONTINUE = "continue"  # the others go on without it; who depends on it starts all the same


class ShutdownWatch(Protocol):
    """Tells a background service that the server ends; a :class:`threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether it does."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it does, or *timeout* seconds; whether it does."""


class ReadyNotifier(Protocol):
    """Tells the server that a service is ready, once; who depends on it starts then."""

    def notify_ready(self) -> None:
        """It is."""


Working = Generator[Any, Any, None] | Awaitable[None] | None
"""What is left to be done when a callback of a :class:`BackgroundService` has returned."""


class _AnyService:
    def __init__(self, name: str, failure: FailurePolicy) -> None:
        if not name:
            raise ValueError("a service needs a name")
        self.name = name
        self.failure = failure

    def on_startup_delay(self, seconds: float) -> None:
        """It has waited *seconds* for what it depends on, and starts now. To be overridden or replaced."""


class Service(_AnyService):
    """Serves *app* on the addresses that are added: one runtime of its own, in a thread of its own.

    *app* and *options* as in :func:`sansio_pingora.serve`. It is ready when all its addresses are bound.
    """

    def __init__(
        self,
        name: str,
        app: Any,
        *,
        threads: int | None = None,
        connection_filter: ConnectionFilter | None = None,
        failure: FailurePolicy = FailurePolicy.FAIL,
        **options: Any,
    ) -> None:
        super().__init__(name, failure)
        self.app = app
        self.threads = threads
        """Lanes, on the threads runtime; None is the configuration's ``threads``."""
        self.connection_filter = connection_filter
        self.options = options
        self.addresses: list[ServerAddress | Tls] = []

    def add_tcp(self, address: str, options: TcpSocketOptions | None = None) -> None:
        """Listen on *address* too, like ``127.0.0.1:8080``.

        :raises ValueError: not such an address.
        """
        self.addresses.append(ServerAddress.tcp(address, options))

    def add_uds(self, path: str, permissions: int | None = None) -> None:
        """Listen on the Unix socket at *path* too.

        :raises ValueError: *path* cannot be one.
        """
        self.addresses.append(ServerAddress.uds(path, permissions))

    def add_tls(
        self, address: str, cert: File, key: File, options: TcpSocketOptions | None = None, **settings: Any
    ) -> None:
        """Listen on *address* too, over TLS, with a certificate and its private key in PEM files.

        *settings*: as of :class:`~sansio_pingora.listeners.Tls`, which :meth:`add_address` takes as well.

        :raises ValueError: not such an address, or settings that contradict each other.
        """
        self.addresses.append(Tls(ServerAddress.tcp(address, options), cert=cert, key=key, **settings))

    def add_address(self, address: ServerAddress | Tls | str) -> None:
        """Listen on *address* too.

        :raises ValueError: not an address.
        """
        self.addresses.append(ServerAddress.parse(address) if isinstance(address, str) else address)

    def endpoints(self) -> list[str]:
        """The addresses, as text."""
        return [str(one.address if isinstance(one, Tls) else one) for one in self.addresses]


class BackgroundService(_AnyService):
    """Works in a thread of its own. Override :meth:`start`, or :meth:`start_with_ready_notifier`, in any form:

    * **plain**, which may block as it likes;
    * a **generator** of effects, on a lane of the server's runtime: ``yield Sleep(60)``, ``yield Call(shutdown.wait)``;
    * **async def**, where that runtime is asyncio: it awaits the same effects, and whatever else can be awaited.

    Pingora calls it ready when it begins, and so does :meth:`start_with_ready_notifier` unless it is overridden.
    """

    def __init__(self, name: str, *, failure: FailurePolicy = FailurePolicy.FAIL) -> None:
        super().__init__(name, failure)

    def start(self, shutdown: ShutdownWatch) -> Working:
        """Work until it is done, or *shutdown* is set."""
        raise NotImplementedError(f"{type(self).__name__} must override start(shutdown)")

    def start_with_ready_notifier(self, shutdown: ShutdownWatch, ready: ReadyNotifier) -> Working:
        """The same, and say when others may count on it."""
        ready.notify_ready()
        return self.start(shutdown)


AnyService = Service | BackgroundService
