"""A server's configuration and life: values, tables and machines."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.server.access_format import ACCESS_FIELDS, AccessFormat
    from sansio_pingora.server.balanced import AccessLog, BalancedProxy, Surroundings
    from sansio_pingora.server.changes import changed_keys
    from sansio_pingora.server.conf import (
        AccessLogConf,
        ConfError,
        HealthCheckConf,
        ListenerConf,
        ServerConf,
        ServiceConf,
        UpstreamConf,
        UpstreamTls,
    )
    from sansio_pingora.server.conf_keys import KEYS
    from sansio_pingora.server.configured import configured_services
    from sansio_pingora.server.handover_messages import (
        MAX_DESCRIPTORS,
        Frame,
        FrameKind,
        FrameReader,
        encode_frame,
        socket_frames,
    )
    from sansio_pingora.server.kinds import Refused
    from sansio_pingora.server.lifecycle import (
        AbortService,
        Acknowledge,
        DrainService,
        EnterPhase,
        Exit,
        LifecycleCommand,
        ReceiveDescriptors,
        Report,
        SendDescriptors,
        ServerLifecycle,
        StartService,
        StopSending,
    )
    from sansio_pingora.server.loading import ENVIRONMENT_PREFIX, conf_from_yaml, json_schema, load_conf
    from sansio_pingora.server.opt import Opt, add_options
    from sansio_pingora.server.phases import MOVES, SIGNALS, ExecutionPhase, Move, ShutdownSignal
    from sansio_pingora.server.server import RunArgs, Server, ShutdownSignalWatch
else:
    from sansio_pingora.lazy import lazy_names

    __getattr__ = lazy_names(
        __name__,
        {
            "access_format": (
                "ACCESS_FIELDS",
                "AccessFormat",
            ),
            "balanced": (
                "AccessLog",
                "BalancedProxy",
                "Surroundings",
            ),
            "changes": ("changed_keys",),
            "conf": (
                "AccessLogConf",
                "ConfError",
                "HealthCheckConf",
                "ListenerConf",
                "ServerConf",
                "ServiceConf",
                "UpstreamConf",
                "UpstreamTls",
            ),
            "conf_keys": ("KEYS",),
            "configured": ("configured_services",),
            "handover_messages": (
                "MAX_DESCRIPTORS",
                "Frame",
                "FrameKind",
                "FrameReader",
                "encode_frame",
                "socket_frames",
            ),
            "kinds": ("Refused",),
            "lifecycle": (
                "AbortService",
                "Acknowledge",
                "DrainService",
                "EnterPhase",
                "Exit",
                "LifecycleCommand",
                "ReceiveDescriptors",
                "Report",
                "SendDescriptors",
                "ServerLifecycle",
                "StartService",
                "StopSending",
            ),
            "loading": (
                "ENVIRONMENT_PREFIX",
                "conf_from_yaml",
                "json_schema",
                "load_conf",
            ),
            "opt": (
                "Opt",
                "add_options",
            ),
            "phases": (
                "MOVES",
                "SIGNALS",
                "ExecutionPhase",
                "Move",
                "ShutdownSignal",
            ),
            "server": (
                "RunArgs",
                "Server",
                "ShutdownSignalWatch",
            ),
        },
    )

__all__ = [
    "ACCESS_FIELDS",
    "ENVIRONMENT_PREFIX",
    "KEYS",
    "MAX_DESCRIPTORS",
    "MOVES",
    "SIGNALS",
    "AbortService",
    "AccessFormat",
    "AccessLog",
    "AccessLogConf",
    "Acknowledge",
    "BalancedProxy",
    "ConfError",
    "DrainService",
    "EnterPhase",
    "ExecutionPhase",
    "Exit",
    "Frame",
    "FrameKind",
    "FrameReader",
    "HealthCheckConf",
    "LifecycleCommand",
    "ListenerConf",
    "Move",
    "Opt",
    "ReceiveDescriptors",
    "Refused",
    "Report",
    "RunArgs",
    "SendDescriptors",
    "Server",
    "ServerConf",
    "ServerLifecycle",
    "ServiceConf",
    "ShutdownSignal",
    "ShutdownSignalWatch",
    "StartService",
    "StopSending",
    "Surroundings",
    "UpstreamConf",
    "UpstreamTls",
    "add_options",
    "changed_keys",
    "conf_from_yaml",
    "configured_services",
    "encode_frame",
    "json_schema",
    "load_conf",
    "socket_frames",
]
