"""What the runtimes share and the core must not do: sockets, signals, and the driving of lanes."""

from sansio_pingora_posix.addresses import is_numeric, resolve, sockaddr, socket_addr, transport_info
from sansio_pingora_posix.binding import bind, close_listener
from sansio_pingora_posix.client import ClientCall
from sansio_pingora_posix.connecting import Connecting
from sansio_pingora_posix.control import Control, Stop, install_signals
from sansio_pingora_posix.dialing import connect_result, dial_socket, start_connect
from sansio_pingora_posix.faults import connect_error, errno_name, lost_error
from sansio_pingora_posix.lane_runner import LaneRunner, call_error, contain
from sansio_pingora_posix.listener import Listener
from sansio_pingora_posix.listening import ListeningSet
from sansio_pingora_posix.logs import write_log
from sansio_pingora_posix.socket_lane import SocketLane
from sansio_pingora_posix.socket_options import prepare_accepted, prepare_connected, set_dscp, unsent_bytes
from sansio_pingora_posix.socket_probe import SocketProbe
from sansio_pingora_posix.stream_transport import Poller, StreamTransport, Watched
from sansio_pingora_posix.tls_contexts import StdlibTls, read_ca, read_cert_key

__all__ = [
    "ClientCall",
    "Connecting",
    "Control",
    "LaneRunner",
    "Listener",
    "ListeningSet",
    "Poller",
    "SocketLane",
    "SocketProbe",
    "StdlibTls",
    "Stop",
    "StreamTransport",
    "Watched",
    "bind",
    "call_error",
    "close_listener",
    "connect_error",
    "connect_result",
    "contain",
    "dial_socket",
    "errno_name",
    "install_signals",
    "is_numeric",
    "lost_error",
    "prepare_accepted",
    "prepare_connected",
    "read_ca",
    "read_cert_key",
    "resolve",
    "set_dscp",
    "sockaddr",
    "socket_addr",
    "start_connect",
    "transport_info",
    "unsent_bytes",
    "write_log",
]
