"""gRPC-Web from browsers to gRPC of origins: the content type, the trailers as a frame, and base64 in text mode.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error
from sansio_pingora.modules.http_module import HttpModule

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession
    from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader

__all__ = ["GrpcWebBridge"]

_WEB = re.compile(rb"application/grpc-web(-text)?((?:[+;\s].*)?)", re.IGNORECASE | re.DOTALL)
_GRPC = re.compile(rb"application/grpc((?:[+;\s].*)?)", re.IGNORECASE | re.DOTALL)
_CODED = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_TRAILERS = 0x80


class GrpcWebBridge(HttpModule):
    """Makes gRPC of requests of the type ``application/grpc-web`` or ``application/grpc-web-text``, and the reverse of
    their responses. The origin must be spoken to in HTTP/2. Others pass.

    A response that is nothing but a head keeps its status there, where clients of gRPC-Web look for it as well.
    """

    def __init__(self) -> None:
        self._web = False  # the request was gRPC-Web, and the response is not known to be something else
        self._text = False
        self._rest = b""  # base64 that makes no whole group yet

    def request_header_filter(self, session: ServerSession, request: RequestHeader) -> None:
        """Ask in gRPC."""
        match = _WEB.fullmatch(request.get(b"content-type") or b"")
        if match is None:
            return
        self._web = True
        self._text = match[1] is not None
        request.insert("Content-Type", b"application/grpc" + match[2])
        if self._text:
            request.remove(b"content-length")
        request.insert("TE", "trailers")
        if request.version != b"2":  # where TE is a field of the connection
            request.insert("Connection", b", ".join([*request.fields.get_all(b"connection"), b"TE"]))

    def request_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Out of base64, in text mode.

        :raises Error: ``HTTP_STATUS`` 400, it is none.
        """
        if not self._text:
            return None
        coded = self._rest + body
        whole = len(coded) - len(coded) % 4
        self._rest = coded[whole:]
        decoded: list[bytes] = []
        at = 0
        while at < whole:  # a sender may end any piece with padding
            match = _CODED.match(coded, at, whole)
            if match is None or match.end() == at:
                break
            decoded.append(b64decode(match[0]))
            at = match.end()
        if at < whole or (end_of_stream and self._rest):
            raise Error.http_status(400, "the body of application/grpc-web-text is not in base64").into_down()
        return b"".join(decoded)

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """Answer in gRPC-Web, if this is an answer in gRPC."""
        match = _GRPC.fullmatch(response.get(b"content-type") or b"") if self._web else None
        if match is None:
            self._web = False
            return
        kind = b"application/grpc-web-text" if self._text else b"application/grpc-web"
        response.insert("Content-Type", kind + match[1])
        response.remove(b"content-length")

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Into base64, in text mode: each piece by itself, so that none waits for the next."""
        return b64encode(body) if self._web and self._text else None

    def response_trailer_filter(self, session: ServerSession, trailers: Fields) -> bytes | None:
        """Trailers become the last frame."""
        if not self._web:
            return None
        lines = b"".join(b"%b:%b\r\n" % (name.lower(), value) for name, value in trailers)
        frame = bytes([_TRAILERS]) + len(lines).to_bytes(4, "big") + lines
        return b64encode(frame) if self._text else frame
