"""The programmable proxy: callbacks, the exchange that runs them, retry."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.proxy.handler import HttpProxy
    from sansio_pingora.proxy.options import ProxyOptions
    from sansio_pingora.proxy.proxy_http import ProxyHttp
    from sansio_pingora.proxy.record import ExchangeRecord
    from sansio_pingora.proxy.spawning import SubrequestSpawner
    from sansio_pingora.proxy.verdicts import error_status, may_retry
else:
    from sansio_pingora.lazy import lazy_names

    __getattr__ = lazy_names(
        __name__,
        {
            "handler": ("HttpProxy",),
            "options": ("ProxyOptions",),
            "proxy_http": ("ProxyHttp",),
            "record": ("ExchangeRecord",),
            "spawning": ("SubrequestSpawner",),
            "verdicts": ("error_status", "may_retry"),
        },
    )

__all__ = ["ExchangeRecord", "HttpProxy", "ProxyHttp", "ProxyOptions", "SubrequestSpawner", "error_status", "may_retry"]
