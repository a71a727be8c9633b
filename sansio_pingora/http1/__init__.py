"""One HTTP/1.x connection of either role, as a machine."""

from sansio_pingora.http1.client import Http1Client
from sansio_pingora.http1.codec import Codec, NativeCodec
from sansio_pingora.http1.connection import Http1Connection
from sansio_pingora.http1.server import Http1Server

__all__ = ["Codec", "Http1Client", "Http1Connection", "Http1Server", "NativeCodec"]
