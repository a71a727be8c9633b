"""HTTP/2 (RFC 9113): one connection, either role, with many streams."""

from sansio_pingora.http2.client import Http2Client
from sansio_pingora.http2.codes import ErrorCode
from sansio_pingora.http2.frames import PREFACE
from sansio_pingora.http2.server import Http2Server

__all__ = ["PREFACE", "ErrorCode", "Http2Client", "Http2Server"]
