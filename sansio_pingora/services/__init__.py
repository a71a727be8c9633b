"""What a server runs, and in which order."""

from sansio_pingora.services.graph import ServiceCycle, ServiceGraph, ServiceHandle
from sansio_pingora.services.service import (
    AnyService,
    BackgroundService,
    FailurePolicy,
    ReadyNotifier,
    Service,
    ShutdownWatch,
)

__all__ = [
    "AnyService",
    "BackgroundService",
    "FailurePolicy",
    "ReadyNotifier",
    "Service",
    "ServiceCycle",
    "ServiceGraph",
    "ServiceHandle",
    "ShutdownWatch",
]
