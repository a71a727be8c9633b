"""What a proxy says of itself and of its clients, beyond its limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sansio_pingora.proxy.error_templates import ErrorTemplate
from sansio_pingora.proxy.forwarding_fields import FORWARDED, ForwardingFields

__all__ = ["ProxyOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """Options of a proxy by their names in ``serve()``; none of them costs anything where it is not set."""

    via: str | None = None
    """The name that this proxy has in ``Via`` fields, of requests and of responses (RFC 9110 section 7.6.3)."""
    forwarded: str = "off"
    """What an origin is told of the client: ``x-forwarded`` (X-Forwarded-For, -Host, -Proto, -Port), ``forwarded``
    (RFC 7239), ``both``, or ``off``: then such fields pass as they came.
    """
    trusted_proxies: Iterable[str] = ()
    """Networks (``10.0.0.0/8``), addresses and ``unix``: clients there are proxies, to whose fields we add. What
    others say of themselves in such fields is taken away.
    """
    error_page: str | None = None
    """The body of error pages: text with ``{status}`` and ``{reason}``. HTML, JSON or plain, by its first character."""

    def __post_init__(self) -> None:
        for name in ("via", "error_page"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ValueError(f"option {name!r} is text, not {value!r}")
        if self.forwarded not in FORWARDED:
            raise ValueError(f"option 'forwarded' is one of {', '.join(FORWARDED)}, not {self.forwarded!r}")
        self.forwarding()
        self.template()

    def forwarding(self) -> ForwardingFields | None:
        """What goes into messages; None: nothing.

        :raises ValueError: a name or network that is none, or networks without ``forwarded``.
        """
        trusted = self.trusted_proxies
        names = trusted.replace(",", " ").split() if isinstance(trusted, str) else list(trusted)
        if self.forwarded == "off" and names:
            raise ValueError("option 'trusted_proxies' has no effect without 'forwarded': set that, or leave it out")
        if self.forwarded == "off" and self.via is None:
            return None
        return ForwardingFields(via=self.via, forwarded=self.forwarded, trusted=names)

    def template(self) -> ErrorTemplate | None:
        """What error pages say; None: nothing."""
        return None if self.error_page is None else ErrorTemplate(self.error_page)
