"""The programmable proxy: callbacks, the exchange that runs them, retry."""

from sansio_pingora.proxy.handler import HttpProxy
from sansio_pingora.proxy.proxy_http import ProxyHttp
from sansio_pingora.proxy.verdicts import error_status, may_retry

__all__ = ["HttpProxy", "ProxyHttp", "error_status", "may_retry"]
