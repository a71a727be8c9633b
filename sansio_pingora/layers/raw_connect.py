"""A tunnel through a proxy, opened by CONNECT over a transport of its own (RFC 9110 section 9.3.6)."""

from __future__ import annotations

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1.head_reader import HeadReader
from sansio_pingora.limits import Limits
from sansio_pingora.wire import MessageFault, ReceiveBuffer, RequestHeader, ResponseHeader

__all__ = ["ConnectProxyError", "RawConnect"]


class ConnectProxyError(Exception):
    """The proxy's answer is not one that opens a tunnel; the cause of an error of type ``CONNECT_PROXY_FAILURE``."""

    def __init__(self, response: ResponseHeader) -> None:
        told = response.get("proxy-status")
        said = "no proxy-status" if told is None else f"proxy-status {told.decode('latin-1')}"
        super().__init__(f"status {response.status}, {said}")
        self.response = response
        """The whole head, for who can do something about it (407)."""


class RawConnect:
    """One CONNECT, from its request to the tunnel: bytes to send, then bytes in until :attr:`response` is there.

    What follows the response's head is the tunnel's: :attr:`rest`.
    """

    __slots__ = ("_buffer", "_head", "_informational", "_limits", "_reader", "_taken", "response")

    def __init__(self, head: RequestHeader, limits: Limits) -> None:
        self._head = head
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._reader = HeadReader(self._buffer, limits, request=False)
        self._informational = 0
        self._taken = 0
        self.response: ResponseHeader | None = None
        """What the proxy said, once the tunnel is open."""

    def request(self) -> bytes:
        """The request, to be sent first."""
        return self._head.to_bytes()

    def receive_data(self, data: bytes) -> bool:
        """Bytes from the proxy; True when the tunnel is open.

        :raises Error: ``CONNECT_PROXY_FAILURE``: it refused, or its answer broke the rules or a limit.
        :raises LocalProtocolError: the tunnel is open, and bytes are its own.
        """
        if self.response is not None:
            raise LocalProtocolError("the tunnel is open: give its bytes to what is spoken in it")
        self._buffer.append(data)
        self._taken += len(data)
        while (head := self._read_head()) is not None:
            if head.status < 200 and head.status != 101:
                self._informational += 1
                if self._informational > self._limits.max_informational:
                    raise self._failure(f"more than {self._limits.max_informational} informational responses")
                continue
            self._judge(head)
            self.response = head
            return True
        return False

    @property
    def rest(self) -> bytes:
        """What came behind the response's head: the first bytes of the tunnel."""
        return self._buffer.peek(self._buffer.size)

    def closed(self, reason: Error | None = None) -> Error:
        """The error when the transport ended, by *reason*, before the tunnel was open."""
        stage = "in the middle of its answer to" if self._taken else "before it answered"
        text = f"the proxy closed the connection {stage} {self._asked}"
        return Error(ErrorType.CONNECTION_CLOSED, text, cause=reason).with_retry(allowed=False).into_up()

    @property
    def _asked(self) -> str:
        return f"CONNECT {self._head.target.decode('ascii')}"

    def _read_head(self) -> ResponseHeader | None:
        try:
            head = self._reader.read()
        except MessageFault as fault:
            raise self._failure(fault.reason) from None
        assert head is None or isinstance(head, ResponseHeader)  # the reader was made for responses
        return head

    def _judge(self, head: ResponseHeader) -> None:
        if not 200 <= head.status <= 299:
            raise self._failure("the proxy refused", ConnectProxyError(head))
        # A sender must not put it there (RFC 9110 section 9.3.6): whoever reads a body would take the tunnel for it.
        # Content-Length is wrong as well, but common, and is ignored as it says.
        if head.get("transfer-encoding") is not None:
            raise self._failure("the answer has a transfer coding, and no body", ConnectProxyError(head))

    def _failure(self, text: str, cause: ConnectProxyError | None = None) -> Error:
        return Error(ErrorType.CONNECT_PROXY_FAILURE, f"{self._asked}: {text}", cause=cause).into_up()
