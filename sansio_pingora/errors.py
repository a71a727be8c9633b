"""The one error of the project, usable as an exception and as a value.

What happened is :class:`ErrorType`, who is to blame is :class:`ErrorSource`, whether
another attempt may be made is :class:`RetryType`: the names are Pingora's. An error
wraps the one that caused it, and its text reads from the outermost to the innermost.

:class:`LocalProtocolError` is the other half: the *caller* made an illegal move, the
machine is unchanged, and the program needs mending. It is never caused by a peer.
"""

from __future__ import annotations

from enum import Enum
from typing import Self

__all__ = ["Error", "ErrorSource", "ErrorType", "LocalProtocolError", "RetryType"]


class ErrorType(Enum):
    """What happened. The values are Pingora's spelling and appear in logs."""

    CONNECT_TIMEDOUT = "ConnectTimedout"
    CONNECT_REFUSED = "ConnectRefused"
    CONNECT_NO_ROUTE = "ConnectNoRoute"
    TLS_WANT_X509_LOOKUP = "TLSWantX509Lookup"
    TLS_HANDSHAKE_FAILURE = "TLSHandshakeFailure"
    TLS_HANDSHAKE_TIMEDOUT = "TLSHandshakeTimedout"
    INVALID_CERT = "InvalidCert"
    HANDSHAKE_ERROR = "HandshakeError"
    CONNECT_ERROR = "ConnectError"
    BIND_ERROR = "BindError"
    ACCEPT_ERROR = "AcceptError"
    SOCKET_ERROR = "SocketError"
    CONNECT_PROXY_FAILURE = "ConnectProxyFailure"
    INVALID_HTTP_HEADER = "InvalidHTTPHeader"
    H1_ERROR = "H1Error"
    H2_ERROR = "H2Error"
    H2_DOWNGRADE = "H2Downgrade"
    INVALID_H2 = "InvalidH2"
    READ_ERROR = "ReadError"
    WRITE_ERROR = "WriteError"
    READ_TIMEDOUT = "ReadTimedout"
    WRITE_TIMEDOUT = "WriteTimedout"
    CONNECTION_CLOSED = "ConnectionClosed"
    HTTP_STATUS = "HTTPStatus"
    FILE_OPEN_ERROR = "FileOpenError"
    FILE_CREATE_ERROR = "FileCreateError"
    FILE_READ_ERROR = "FileReadError"
    FILE_WRITE_ERROR = "FileWriteError"
    INTERNAL_ERROR = "InternalError"
    UNKNOWN_ERROR = "UnknownError"
    CUSTOM = "Custom"
    CUSTOM_CODE = "CustomCode"


class ErrorSource(Enum):
    """Which side is to blame."""

    UPSTREAM = "Upstream"
    DOWNSTREAM = "Downstream"
    INTERNAL = "Internal"
    UNSET = ""


class RetryType(Enum):
    """Whether another attempt may be made."""

    NO = "no"
    YES = "yes"
    REUSED_ONLY = "reused only"  # only when the connection came from the pool: decide_reuse settles it


class Error(Exception):
    """What went wrong, as an exception or a value.

    ``status`` is set for ``HTTP_STATUS``, ``name`` for ``CUSTOM`` and ``CUSTOM_CODE``, and
    for ``INVALID_H2`` as the RFC names its code; ``code`` for ``CUSTOM_CODE``. A new
    error may not be retried, unless its cause may.
    ``unprocessed``: the peer has said that it did nothing about the request, so that even
    one that is not idempotent may be sent again (RFC 9113 section 8.7).
    """

    def __init__(
        self,
        etype: ErrorType,
        context: str = "",
        *,
        cause: BaseException | None = None,
        esource: ErrorSource = ErrorSource.UNSET,
        retry: RetryType | None = None,
        status: int | None = None,
        name: str | None = None,
        code: int | None = None,
        unprocessed: bool = False,
    ) -> None:
        super().__init__(context)
        self.etype = etype
        self.esource = esource
        self.context = context
        self.cause = cause
        self.status = status
        self.name = name
        self.code = code
        self.unprocessed: bool = unprocessed or (isinstance(cause, Error) and cause.unprocessed)
        inherited: RetryType = cause.retry_type if isinstance(cause, Error) else RetryType.NO
        self.retry_type: RetryType = inherited if retry is None else retry

    @classmethod
    def http_status(cls, status: int, context: str = "", *, cause: BaseException | None = None) -> Self:
        """An error that asks for *status* as the answer."""
        return cls(ErrorType.HTTP_STATUS, context, cause=cause, status=status)

    @classmethod
    def custom(
        cls, name: str, context: str = "", *, cause: BaseException | None = None, code: int | None = None
    ) -> Self:
        """An error of a type of one's own, *name*, perhaps with a number."""
        etype = ErrorType.CUSTOM if code is None else ErrorType.CUSTOM_CODE
        return cls(etype, context, cause=cause, name=name, code=code)

    def into_up(self) -> Self:
        """Blame the upstream side."""
        self.esource = ErrorSource.UPSTREAM
        return self

    def into_down(self) -> Self:
        """Blame the downstream side."""
        self.esource = ErrorSource.DOWNSTREAM
        return self

    def into_in(self) -> Self:
        """Blame ourselves."""
        self.esource = ErrorSource.INTERNAL
        return self

    def with_retry(self, allowed: bool) -> Self:
        """Mark whether another attempt may be made. The engine's own conditions still hold."""
        self.retry_type = RetryType.YES if allowed else RetryType.NO
        return self

    @property
    def retry(self) -> bool:
        """Whether another attempt may be made.

        :raises LocalProtocolError: it depends on reuse and ``decide_reuse`` was not called.
        """
        if self.retry_type is RetryType.REUSED_ONLY:
            raise LocalProtocolError(
                "this error may be retried only on a reused connection: call decide_reuse(reused) first"
            )
        return self.retry_type is RetryType.YES

    def decide_reuse(self, reused: bool) -> Self:
        """Settle ``REUSED_ONLY`` by whether the connection came from the pool."""
        if self.retry_type is RetryType.REUSED_ONLY:
            self.retry_type = RetryType.YES if reused else RetryType.NO
        return self

    def more_context(self, context: str) -> Error:
        """Wrap this error with a wider view: same type, source and retry."""
        return Error(
            self.etype,
            context,
            cause=self,
            esource=self.esource,
            retry=self.retry_type,
            status=self.status,
            name=self.name,
            code=self.code,
        )

    @property
    def root_cause(self) -> BaseException:
        """The innermost error."""
        error: BaseException = self
        while isinstance(error, Error) and error.cause is not None:
            error = error.cause
        return error

    @property
    def root_etype(self) -> ErrorType:
        """The type of the innermost :class:`Error`."""
        error = self
        while isinstance(error.cause, Error):
            error = error.cause
        return error.etype

    @property
    def type_str(self) -> str:
        """The type as logs show it: Pingora's name, with its status or code."""
        if self.etype is ErrorType.HTTP_STATUS:
            return f"HTTPStatus({self.status})"
        if self.etype is ErrorType.CUSTOM:
            return str(self.name)
        if self.etype is ErrorType.CUSTOM_CODE:
            return f"{self.name}({self.code})"
        return str(self.etype.value)

    def __str__(self) -> str:
        parts: list[str] = []
        error: BaseException | None = self
        source: str | None = None
        kind: str | None = None
        while isinstance(error, Error):
            if source is not None:
                parts.append("cause:")
            if error.esource.value and error.esource.value != source:
                parts.append(error.esource.value)
            if error.type_str != kind:
                parts.append(error.type_str)
            if error.context:
                parts.append(f"context: {error.context}" if parts else error.context)
            source, kind = error.esource.value, error.type_str
            error = error.cause
        if error is not None:
            parts.append(f"cause: {type(error).__name__}: {error}")
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"<Error {self}>"


class LocalProtocolError(Exception):
    """The caller made a move that is not legal now. The machine is unchanged."""
