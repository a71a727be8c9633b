"""Modules: filters of a service that have a state of their own for each exchange."""

from sansio_pingora.modules.codings import Dictionary
from sansio_pingora.modules.compression import ResponseCompression
from sansio_pingora.modules.filtering import FilteredConnection, install_downstream_modules
from sansio_pingora.modules.http_module import HttpModule, HttpModuleCtx, HttpModules, ModuleFilter

__all__ = [
    "Dictionary",
    "FilteredConnection",
    "HttpModule",
    "HttpModuleCtx",
    "HttpModules",
    "ModuleFilter",
    "ResponseCompression",
    "install_downstream_modules",
]
