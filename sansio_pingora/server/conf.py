"""The configuration of a server as values; Pingora's names, and what a service of a file is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sansio_pingora.balancing import OutlierDetection
from sansio_pingora.listeners import ServerAddress, Tls
from sansio_pingora.services import FailurePolicy
from sansio_pingora.upstreams import ALPN

__all__ = [
    "AccessLogConf",
    "ConfError",
    "HealthCheckConf",
    "ListenerConf",
    "ServerConf",
    "ServiceConf",
    "UpstreamConf",
    "UpstreamTls",
]


class ConfError(ValueError):
    """A configuration that cannot be used. Each of *problems* is one line: the place, what is wrong, what to do."""

    def __init__(self, problems: list[str], rest: ServerConf | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.rest = rest
        """What could be made of the rest: to look for more problems in, not to be run."""


@dataclass(frozen=True, slots=True)
class ListenerConf:
    """Where a service listens."""

    address: ServerAddress
    h2c: bool = False
    """HTTP/2 without TLS, with prior knowledge, beside HTTP/1."""
    tls: Tls | None = None
    """TLS at the same address."""

    @property
    def listen(self) -> ServerAddress | Tls:
        """As a service takes it."""
        return self.address if self.tls is None else self.tls


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How one origin is spoken to over TLS; files by name."""

    sni: str = ""
    """The name that is asked for and checked; empty is the host of the address."""
    verify: bool = True
    """The chain of the certificate."""
    verify_hostname: bool = True
    """The name in the certificate."""
    alternative_cn: str | None = None
    """Another name that the certificate may be for."""
    ca: str | None = None
    """Whom to trust instead of ``ca_file`` or the system's authorities."""
    cert: str | None = None
    """What is shown to an origin that asks."""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class UpstreamConf:
    """One origin."""

    address: str
    weight: int = 1
    alpn: ALPN = ALPN.H1
    tls: UpstreamTls | None = None


@dataclass(frozen=True, slots=True)
class AccessLogConf:
    """Where the requests of a service are written down."""

    path: str
    format: str = "combined"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckConf:
    """How the upstreams of a service are checked, each as requests would reach it. Times are seconds."""

    kind: str = "tcp"
    """``tcp``: it can be connected to, over TLS where it has that; ``http``: it answers 200."""
    host: str = ""
    """Host of the request; ``http`` needs it."""
    path: str = "/"
    """Target of the request."""
    frequency: float = 5.0
    """Between two rounds."""
    timeout: float = 5.0
    """For one check."""
    success_threshold: int = 1
    """Successes in a row that bring an upstream back."""
    failure_threshold: int = 1
    """Failures in a row that take it out."""
    parallel: int = 4
    """Checks at once."""


@dataclass(frozen=True, slots=True)
class ServiceConf:
    """One entry of ``services``."""

    name: str
    kind: str
    listeners: tuple[ListenerConf, ...]
    upstreams: tuple[UpstreamConf, ...] = ()
    balance: str = "round_robin"
    balance_key: str = "path"
    discovery: str = "static"
    """``static``: the upstreams as they stand there; ``dns``: every address of their names."""
    update_frequency: float = 30.0
    """Seconds between two looks at the names."""
    health_check: HealthCheckConf | None = None
    outlier_detection: OutlierDetection | None = None
    threads: int | None = None
    failure: FailurePolicy = FailurePolicy.FAIL
    limits: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``serve()``: ``engine``, ``via`` and the like."""
    access_log: AccessLogConf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConf:
    """Pingora's ``ServerConf``, and what a file adds to it. Times are seconds."""

    version: int = 1
    """Of this format; 1 is the only one."""
    runtime: str = "asyncio"
    """asyncio, gevent or threads, for every service."""
    workers: int = 1
    """Processes that serve, on the same sockets; above 1 another one leads them, and starts again who breaks down."""
    daemon: bool = False
    """Go into the background: a session of its own, umask 007, standard streams to ``error_log`` or nowhere.
    The process that was started ends with 0 once the daemon is ready, or says why it is not."""
    daemon_wait_for_ready: bool = True
    """true is in force: the process that was started always waits. false is warned about."""
    daemon_ready_timeout_seconds: float = 600.0
    """So long; a daemon that is not ready by then is ended."""
    pid_file: str | None = None
    """File with the number of the process, as a daemon or not, which goes at the end. Pingora's /tmp/pingora.pid is no
    default here: in /tmp anybody could have put something."""
    user: str | None = None
    """Who the process is once it has bound its addresses, for good; only root can become another."""
    group: str | None = None
    """The same for its group; none is the user's own."""
    working_directory: str | None = None
    """Where relative paths start from, an absolute path; none is where it was started."""
    grace_period_seconds: float = 300.0
    """A graceful end takes no longer than this; it is over when the last exchange is. Pingora's EXIT_TIMEOUT."""
    graceful_shutdown_timeout_seconds: float = 5.0
    """For services that have not ended by then; afterwards they are left behind."""
    threads: int = 1
    """Lanes of each service on the threads runtime; the other runtimes have one each and refuse more."""
    listener_tasks_per_fd: int = 1
    """1 is in force: a lane accepts in batches. More is warned about."""
    work_stealing: bool = False
    """false is in force: a connection stays with its lane. true is warned about."""
    error_log: str | None = None
    """File for the log of the process; None is standard error. Opened again at SIGUSR1."""
    upgrade_sock: str = "/tmp/pingora_upgrade.sock"  # noqa: S108  # Pingora's; mode and credentials guard it
    """Unix socket by which an old process hands its sockets to a new one."""
    upgrade_sock_connect_accept_max_retries: int = 5
    """Attempts of the old process to reach the new one, a second apart, after the first."""
    upstream_keepalive_pool_size: int = 128
    """Idle connections to origins, over all of them; the limit of the same name, for every service."""
    max_retries: int = 16
    """Attempts for one request; the limit of the same name, for every service."""
    client_bind_to_ipv4: tuple[str, ...] = ()
    """Source addresses of connections to IPv4 origins, in turn."""
    client_bind_to_ipv6: tuple[str, ...] = ()
    """Source addresses of connections to IPv6 origins, in turn."""
    ca_file: str | None = None
    """PEM: whom origins are trusted by instead of the system's authorities."""
    upstream_debug_ssl_keylog: bool = False
    """Append the secrets of TLS sessions with origins to the file that the variable SSLKEYLOGFILE names."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Limits for every service."""
    services: tuple[ServiceConf, ...] = ()
    """What the command ``serve`` runs."""
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Where the values of a file stand, by their path."""
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """What is odd in the file, and is no error."""

    def place(self, path: str) -> str:
        """Where the value at *path* stands; the path itself where it came from no file."""
        return self.places.get(path, path)

    @property
    def common_limits(self) -> dict[str, Any]:
        """The limits for every service that has a use for them, by name; those under ``limits`` go first."""
        own = {"upstream_keepalive_pool_size": self.upstream_keepalive_pool_size, "max_retries": self.max_retries}
        return {**own, **self.limits}
