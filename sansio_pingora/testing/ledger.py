"""What clients asked and origins answered, for the oracles: every request has a token that nothing else carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.testing.reader import Message

__all__ = ["IDEMPOTENT", "Answered", "Asked", "Ledger", "token_of"]

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"))
"""RFC 9110 section 9.2.2."""


def token_of(target: bytes) -> bytes:
    """The token in a target of ours, ``/t/TOKEN?…``; empty when it has none."""
    return target[3:].partition(b"?")[0] if target.startswith(b"/t/") else b""


class Asked:
    """A request as its client sent it."""

    __slots__ = ("body", "client", "method", "response", "sent", "token", "valid")

    def __init__(self, token: bytes, client: str, method: bytes, body: bytes, *, valid: bool = True) -> None:
        self.token = token
        self.client = client
        self.method = method
        self.body = body
        self.valid = valid
        """It is a legal request that must be served."""
        self.sent = False
        """All of it was written."""
        self.response: Message | None = None


class Answered:
    """A response as an origin sent it."""

    __slots__ = ("body", "complete", "number", "status", "token", "until_close")

    def __init__(self, number: int, token: bytes) -> None:
        self.number = number
        self.token = token
        self.status = 0
        self.body = b""
        """What it sent of the body, or meant to send."""
        self.complete = False
        """It was sent to its end by legal framing."""
        self.until_close = False


class Ledger:
    """Everything asked and answered in a world."""

    __slots__ = ("answered", "asked")

    def __init__(self) -> None:
        self.asked: dict[bytes, Asked] = {}
        """By token."""
        self.answered: list[Answered] = []
        """By number, from 0; the response carries it as ``x-answer``."""

    def ask(self, asked: Asked) -> None:
        """Enter a request."""
        self.asked[asked.token] = asked

    def answer(self, token: bytes) -> Answered:
        """Enter a response to the request of *token*."""
        answered = Answered(len(self.answered), token)
        self.answered.append(answered)
        return answered
