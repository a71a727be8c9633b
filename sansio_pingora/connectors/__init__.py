"""Connections to upstreams: dialling them, keeping them, and handing them out."""

from sansio_pingora.connectors.address_race import AddressRace
from sansio_pingora.connectors.clients import HttpClients
from sansio_pingora.connectors.connector import Connector
from sansio_pingora.connectors.dial_plan import DialPlan
from sansio_pingora.connectors.lease import Lease, UpstreamConnection, Waiter
from sansio_pingora.connectors.pool import ConnectionPool
from sansio_pingora.connectors.pool_commands import CloseConnection, CloseReason, Grant, PoolCommand, WaitTimedOut

__all__ = [
    "AddressRace",
    "CloseConnection",
    "CloseReason",
    "ConnectionPool",
    "Connector",
    "DialPlan",
    "Grant",
    "HttpClients",
    "Lease",
    "PoolCommand",
    "UpstreamConnection",
    "WaitTimedOut",
    "Waiter",
]
