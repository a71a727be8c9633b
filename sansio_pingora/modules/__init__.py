"""Modules: filters of a service that have a state of their own for each exchange."""

from sansio_pingora.modules.filtering import FilteredConnection, install_downstream_modules
from sansio_pingora.modules.http_module import HttpModule, HttpModuleCtx, HttpModules, ModuleFilter

__all__ = [
    "FilteredConnection",
    "HttpModule",
    "HttpModuleCtx",
    "HttpModules",
    "ModuleFilter",
    "install_downstream_modules",
]
