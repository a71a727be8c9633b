"""What failed in TLS, in words: which side, which certificate, what about it."""

from __future__ import annotations

import ssl

from sansio_pingora.errors import Error, ErrorSource, ErrorType

__all__ = ["alert_record", "handshake_error", "record_error"]

_REASONS = {
    "NO_SHARED_CIPHER": "the two have no cipher in common",
    "UNSUPPORTED_PROTOCOL": "the peer speaks no TLS version that is allowed here",
    "VERSION_TOO_LOW": "the peer speaks no TLS version that is allowed here",
    "NO_PROTOCOLS_AVAILABLE": "the TLS versions that are allowed here exclude each other",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS here",
    "WRONG_SSL_VERSION": "the peer does not speak TLS here",
    "PACKET_LENGTH_TOO_LONG": "the peer does not speak TLS here",
    "HTTP_REQUEST": "a request without TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate, and one is required",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the peer takes no signature that the certificate's key can make",
}
_OF_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")


def handshake_error(exc: ssl.SSLError | OSError, source: ErrorSource) -> Error:
    """The error for a handshake that failed because of *source*, the peer."""
    who = "server" if source is ErrorSource.UPSTREAM else "client"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Error(
            ErrorType.INVALID_CERT,
            f"the {who}'s certificate is refused: {exc.verify_message} (verify code {exc.verify_code})",
            esource=source,
        )
    return Error(ErrorType.TLS_HANDSHAKE_FAILURE, _text(exc, who), esource=source)


def record_error(exc: ssl.SSLError | OSError, source: ErrorSource) -> Error:
    """The error for what came after the handshake.

    In TLS 1.3 a client has finished its handshake before the server looks at its certificate: a refusal comes here.
    """
    who = "server" if source is ErrorSource.UPSTREAM else "client"
    alert = _alert(exc)
    about_certificates = alert is not None and any(word in alert for word in _OF_CERTIFICATES)
    etype = ErrorType.TLS_HANDSHAKE_FAILURE if about_certificates else ErrorType.READ_ERROR
    return Error(etype, _text(exc, who), esource=source)


def alert_record(alert: int) -> bytes:
    """A fatal alert before there is a session (RFC 8446 section 6.2)."""
    return b"\x15\x03\x03\0\x02\x02" + bytes((alert,))


def _text(exc: ssl.SSLError | OSError, who: str) -> str:
    alert = _alert(exc)
    if alert is not None:
        name = alert.lower().replace("_", " ")
        if any(word in alert for word in _OF_CERTIFICATES):
            return f"the {who} refused our certificate, or wants one: alert {name!r}"
        return f"the {who} broke the handshake off: alert {name!r}"
    reason = getattr(exc, "reason", None) or ""
    if isinstance(exc, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return f"the {who} ended the connection in the middle of it"
    return _REASONS.get(reason) or f"{reason.lower().replace('_', ' ') or exc}"


def _alert(exc: ssl.SSLError | OSError) -> str | None:
    """The name of the alert that the peer sent, as in ``TLSV1_ALERT_UNKNOWN_CA``."""
    reason = getattr(exc, "reason", None) or ""
    return reason.partition("_ALERT_")[2] or None
