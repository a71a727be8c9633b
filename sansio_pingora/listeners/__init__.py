"""What a service listens on, and when it accepts: values and decisions, no descriptor."""

from sansio_pingora.listeners.address import ServerAddress
from sansio_pingora.listeners.filters import AcceptAll, Admission, ConnectionFilter, ConnectionGate
from sansio_pingora.listeners.lane_end import LaneEnd
from sansio_pingora.listeners.log_limit import LogLimit
from sansio_pingora.listeners.options import TcpSocketOptions
from sansio_pingora.listeners.policy import AcceptPolicy
from sansio_pingora.listeners.tls import File, Tls

__all__ = [
    "AcceptAll",
    "AcceptPolicy",
    "Admission",
    "ConnectionFilter",
    "ConnectionGate",
    "File",
    "LaneEnd",
    "LogLimit",
    "ServerAddress",
    "TcpSocketOptions",
    "Tls",
]
