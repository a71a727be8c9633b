"""Load balancing: backends, ways to choose between them, and what is known of their health."""

from sansio_pingora.balancing.backend import MAX_WEIGHT, Backend
from sansio_pingora.balancing.backends import MAX_BACKENDS, Backends, BackendState
from sansio_pingora.balancing.discovery import (
    CallDiscovery,
    Discovery,
    DnsDiscovery,
    DnsSrvDiscovery,
    Found,
    StaticDiscovery,
)
from sansio_pingora.balancing.health import HealthCheck, HttpHealthCheck, TcpHealthCheck
from sansio_pingora.balancing.ketama import MAX_RING_WEIGHT, POINTS_PER_WEIGHT, Continuum
from sansio_pingora.balancing.load_balancer import LoadBalancer
from sansio_pingora.balancing.outliers import OutlierDetection
from sansio_pingora.balancing.schedule import MAX_TURNS, smooth_schedule
from sansio_pingora.balancing.selection import (
    SELECTIONS,
    Below,
    Consistent,
    Hashing,
    LeastConnections,
    Load,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    Selection,
    Selector,
    UniqueIterator,
    fnv_1a,
    selection,
)

__all__ = [
    "MAX_BACKENDS",
    "MAX_RING_WEIGHT",
    "MAX_TURNS",
    "MAX_WEIGHT",
    "POINTS_PER_WEIGHT",
    "SELECTIONS",
    "Backend",
    "BackendState",
    "Backends",
    "Below",
    "CallDiscovery",
    "Consistent",
    "Continuum",
    "Discovery",
    "DnsDiscovery",
    "DnsSrvDiscovery",
    "Found",
    "Hashing",
    "HealthCheck",
    "HttpHealthCheck",
    "LeastConnections",
    "Load",
    "LoadBalancer",
    "OutlierDetection",
    "PowerOfTwoChoices",
    "RandomChoice",
    "RoundRobin",
    "Selection",
    "Selector",
    "StaticDiscovery",
    "TcpHealthCheck",
    "UniqueIterator",
    "fnv_1a",
    "selection",
    "smooth_schedule",
]
