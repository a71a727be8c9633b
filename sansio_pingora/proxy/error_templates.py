"""Error pages with a body, from a template of the user's."""

from __future__ import annotations

from sansio_pingora.wire import ResponseHeader, error_page

__all__ = ["ErrorTemplate"]


class ErrorTemplate:
    """A text in which ``{status}`` and ``{reason}`` are replaced, and nothing else is looked at."""

    __slots__ = ("_text", "content_type")

    def __init__(self, text: str) -> None:
        self._text = text
        first = self._fill(500, "").lstrip()[:1]
        kind = "text/html" if first == "<" else "application/json" if first in ("{", "[") else "text/plain"
        self.content_type = kind if kind == "application/json" else f"{kind}; charset=utf-8"

    def render(self, status: int) -> tuple[ResponseHeader, bytes]:
        """The head and the body of the page for *status*; a status that cannot have a body has none."""
        page = error_page(status)
        if status < 200 or status in (204, 205, 304):
            return page, b""
        body = self._fill(status, page.reason.decode("latin-1")).encode()
        page.insert("Content-Type", self.content_type)
        page.set_content_length(len(body))
        return page, body

    def _fill(self, status: int, reason: str) -> str:
        return self._text.replace("{status}", str(status)).replace("{reason}", reason)
