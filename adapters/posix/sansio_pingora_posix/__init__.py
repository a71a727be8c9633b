"""What the runtimes share and the core must not do: sockets, signals, and the driving of lanes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora_posix.addresses import is_numeric, resolve, sockaddr, socket_addr, transport_info
    from sansio_pingora_posix.binding import bind, close_listener
    from sansio_pingora_posix.certificate_checks import check_certificates
    from sansio_pingora_posix.checking import check_conf
    from sansio_pingora_posix.client import ClientCall
    from sansio_pingora_posix.connecting import Connecting
    from sansio_pingora_posix.control import Control, Stop, install_signals
    from sansio_pingora_posix.daemon import Daemon, PidFile
    from sansio_pingora_posix.descriptors import DescriptorTable
    from sansio_pingora_posix.dialing import connect_result, dial_socket, start_connect
    from sansio_pingora_posix.faults import connect_error, errno_name, lost_error
    from sansio_pingora_posix.handover import HandOverFailed, Receiver, Sender
    from sansio_pingora_posix.identity import Identity
    from sansio_pingora_posix.lane_runner import LaneRunner, call_error, contain
    from sansio_pingora_posix.listener import Listener
    from sansio_pingora_posix.listening import ListeningSet
    from sansio_pingora_posix.log_files import LineFile, ReopeningHandler
    from sansio_pingora_posix.logs import write_log
    from sansio_pingora_posix.server_runner import Launcher, ServerRunner
    from sansio_pingora_posix.server_signals import (
        forget_waker,
        handle_signals,
        hear_signals,
        wake_at_signals,
        watch_shutdown,
    )
    from sansio_pingora_posix.service_threads import ServiceControl, ServiceThreads
    from sansio_pingora_posix.services import resolve_service
    from sansio_pingora_posix.socket_lane import SocketLane
    from sansio_pingora_posix.socket_options import prepare_accepted, prepare_connected, set_dscp, unsent_bytes
    from sansio_pingora_posix.socket_probe import SocketProbe
    from sansio_pingora_posix.stream_transport import Poller, StreamTransport, Watched
    from sansio_pingora_posix.systemd import ServiceManager, inherited_sockets
    from sansio_pingora_posix.tally import SharedPolicy, Tally
    from sansio_pingora_posix.tls_contexts import StdlibTls, read_ca, read_cert_key
    from sansio_pingora_posix.tls_listening import TlsListening
    from sansio_pingora_posix.transcripts import TranscriptFolder
    from sansio_pingora_posix.worker_processes import WorkerProcesses, WorkerRunner, worker_names
    from sansio_pingora_posix.workers import Workers
else:
    from sansio_pingora.lazy import lazy_names

    __getattr__ = lazy_names(
        __name__,
        {
            "addresses": (
                "is_numeric",
                "resolve",
                "sockaddr",
                "socket_addr",
                "transport_info",
            ),
            "binding": (
                "bind",
                "close_listener",
            ),
            "certificate_checks": ("check_certificates",),
            "checking": ("check_conf",),
            "client": ("ClientCall",),
            "connecting": ("Connecting",),
            "control": (
                "Control",
                "Stop",
                "install_signals",
            ),
            "daemon": (
                "Daemon",
                "PidFile",
            ),
            "descriptors": ("DescriptorTable",),
            "dialing": (
                "connect_result",
                "dial_socket",
                "start_connect",
            ),
            "faults": (
                "connect_error",
                "errno_name",
                "lost_error",
            ),
            "handover": (
                "HandOverFailed",
                "Receiver",
                "Sender",
            ),
            "identity": ("Identity",),
            "lane_runner": (
                "LaneRunner",
                "call_error",
                "contain",
            ),
            "listener": ("Listener",),
            "listening": ("ListeningSet",),
            "log_files": (
                "LineFile",
                "ReopeningHandler",
            ),
            "logs": ("write_log",),
            "server_runner": (
                "Launcher",
                "ServerRunner",
            ),
            "server_signals": (
                "forget_waker",
                "handle_signals",
                "hear_signals",
                "wake_at_signals",
                "watch_shutdown",
            ),
            "service_threads": (
                "ServiceControl",
                "ServiceThreads",
            ),
            "services": ("resolve_service",),
            "socket_lane": ("SocketLane",),
            "socket_options": (
                "prepare_accepted",
                "prepare_connected",
                "set_dscp",
                "unsent_bytes",
            ),
            "socket_probe": ("SocketProbe",),
            "stream_transport": (
                "Poller",
                "StreamTransport",
                "Watched",
            ),
            "systemd": (
                "ServiceManager",
                "inherited_sockets",
            ),
            "tally": (
                "SharedPolicy",
                "Tally",
            ),
            "tls_contexts": (
                "StdlibTls",
                "read_ca",
                "read_cert_key",
            ),
            "tls_listening": ("TlsListening",),
            "transcripts": ("TranscriptFolder",),
            "worker_processes": (
                "WorkerProcesses",
                "WorkerRunner",
                "worker_names",
            ),
            "workers": ("Workers",),
        },
    )

__all__ = [
    "ClientCall",
    "Connecting",
    "Control",
    "Daemon",
    "DescriptorTable",
    "HandOverFailed",
    "Identity",
    "LaneRunner",
    "Launcher",
    "LineFile",
    "Listener",
    "ListeningSet",
    "PidFile",
    "Poller",
    "Receiver",
    "ReopeningHandler",
    "Sender",
    "ServerRunner",
    "ServiceControl",
    "ServiceManager",
    "ServiceThreads",
    "SharedPolicy",
    "SocketLane",
    "SocketProbe",
    "StdlibTls",
    "Stop",
    "StreamTransport",
    "Tally",
    "TlsListening",
    "TranscriptFolder",
    "Watched",
    "WorkerProcesses",
    "WorkerRunner",
    "Workers",
    "bind",
    "call_error",
    "check_certificates",
    "check_conf",
    "close_listener",
    "connect_error",
    "connect_result",
    "contain",
    "dial_socket",
    "errno_name",
    "forget_waker",
    "handle_signals",
    "hear_signals",
    "inherited_sockets",
    "install_signals",
    "is_numeric",
    "lost_error",
    "prepare_accepted",
    "prepare_connected",
    "read_ca",
    "read_cert_key",
    "resolve",
    "resolve_service",
    "set_dscp",
    "sockaddr",
    "socket_addr",
    "start_connect",
    "transport_info",
    "unsent_bytes",
    "wake_at_signals",
    "watch_shutdown",
    "worker_names",
    "write_log",
]
