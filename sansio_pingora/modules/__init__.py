"""Modules: filters of a service that have a state of their own for each exchange."""

from sansio_pingora.modules.codings import Dictionary
from sansio_pingora.modules.compression import ResponseCompression
from sansio_pingora.modules.conditional import ConditionalRequests
from sansio_pingora.modules.filtering import FilteredConnection, install_downstream_modules
from sansio_pingora.modules.grpc_web import GrpcWebBridge
from sansio_pingora.modules.http_module import HttpModule, HttpModuleCtx, HttpModules, ModuleFilter
from sansio_pingora.modules.ranges import RangeRequests

__all__ = [
    "ConditionalRequests",
    "Dictionary",
    "FilteredConnection",
    "GrpcWebBridge",
    "HttpModule",
    "HttpModuleCtx",
    "HttpModules",
    "ModuleFilter",
    "RangeRequests",
    "ResponseCompression",
    "install_downstream_modules",
]
