"""Subrequests of an exchange through the same proxy, where it allows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sansio_pingora.session import PipeSubrequest, ServerSession, SessionBody, TaskFilter

if TYPE_CHECKING:
    from sansio_pingora.proxy.handler import ProxyHandler
    from sansio_pingora.wire import RequestHeader

__all__ = ["SubrequestSpawner"]

_CLIENTS_BODY = SessionBody()


class SubrequestSpawner:
    """What a session has as ``subrequest_spawner`` where ``allow_spawning_subrequest`` returned True.

    A subrequest is an exchange of its own: its filters run, its ctx is new, and it may not spawn others unless
    ``allow_spawning_subrequest`` says so of it as well.
    """

    __slots__ = ("_handler", "_session")

    def __init__(self, handler: ProxyHandler, session: ServerSession) -> None:
        self._handler = handler
        self._session = session

    def pipe(
        self,
        head: RequestHeader | None = None,
        *,
        body: SessionBody | Iterable[bytes] | None = _CLIENTS_BODY,
        task_filter: TaskFilter | None = None,
    ) -> PipeSubrequest:
        """The effect that asks this proxy for *head* and gives the client its answer. See :class:`PipeSubrequest`."""
        return PipeSubrequest(self._session, self._handler, head=head, body=body, task_filter=task_filter)
