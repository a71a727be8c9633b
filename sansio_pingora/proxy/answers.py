"""The beginning and the end of an exchange through the proxy: what is not on the way of every request."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from sansio_pingora.errors import Error
from sansio_pingora.machine import LogLine
from sansio_pingora.modules import install_downstream_modules
from sansio_pingora.proxy.filter_table import Filter, FilterTable
from sansio_pingora.proxy.spawning import SubrequestSpawner
from sansio_pingora.proxy.verdicts import error_status
from sansio_pingora.session import Routines, ServerSession, as_error, traceback_of
from sansio_pingora.wire import error_page

if TYPE_CHECKING:
    from sansio_pingora.proxy.handler import ProxyHandler

__all__ = ["Answering", "Story"]

Story = Generator[Any, Any, Any]


class Answering(Routines):
    """What an exchange does before its first filter and behind its last, and how it answers when it fails."""

    __slots__ = ("_handler", "attempts", "clock", "ctx", "filters", "overdue", "phase", "session")

    _handler: ProxyHandler
    attempts: int
    ctx: Any
    filters: FilterTable
    clock: Story | None
    """Over the time of the whole request, where it is bounded."""
    overdue: Error | None
    """The time of the whole request is up, and no filter is to go on as if it were not."""
    phase: str
    """The phase that the spine is in, for people."""
    session: ServerSession

    def run_filter(self, found: Filter, *args: Any) -> Story:
        """Call a filter of any form from a routine."""
        result = yield from self.run_form(found.form, partial(found.call, *args))
        if self.session.closed is not None:
            raise self.session.closed  # the filter was told and went on: nobody else is to
        if self.overdue is not None:
            raise self.overdue
        return result

    # ── the beginning ────────────────────────────────────────────────────────────────

    def _prologue(self) -> Story:
        """What is there for a filter to use from the first one on."""
        filters, session = self.filters, self.session
        found = filters.on_connection_reuse
        if found is not None and session.as_http1() is not None:
            stored = session.take_connection_user_context()
            if stored is not None:
                self.phase = found.name
                yield from self.run_filter(found, session, self.ctx, stored)
        if filters.downstream_modules is not None:
            self.phase = "init_downstream_modules"
            install_downstream_modules(session, filters.downstream_modules.build_ctx())
        if filters.allow_spawning_subrequest is not None:
            self.phase = "allow_spawning_subrequest"
            if filters.allow_spawning_subrequest.call(session, self.ctx):
                session.subrequest_spawner = SubrequestSpawner(self._handler, session)

    # ── the end ──────────────────────────────────────────────────────────────────────

    def _epilogue(self) -> None:
        """Behind the response, before it is logged: another request may begin while a log waits."""
        filters, session = self.filters, self.session
        modules = session.downstream_modules_ctx
        try:
            if modules is not None:
                self.phase = "done of a module"
                modules.done(session)
            found = filters.persist_connection_context
            if found is not None and session.as_http1() is not None and self._goes_on():
                self.phase = found.name
                session.set_connection_user_context(found.call(session, self.ctx))
        except Exception as exc:
            self._report("ERROR", f"{self.phase} raised: {as_error(exc, 'in ' + self.phase)}", exc)

    def _goes_on(self) -> bool:
        """The client's connection will be there for another request."""
        session = self.session
        return session.closed is None and not session.upgraded and session.get_keepalive() is not None

    def _leave_upstream_modules(self) -> None:
        """The attempt is over."""
        modules = self.session.upstream_modules_ctx
        if modules is not None:
            modules.done(self.session)

    # ── failing ──────────────────────────────────────────────────────────────────────

    def _fail(self, error: Error) -> Story:
        """Answer a request that failed, as far as that can be done, and say why in one line of the log."""
        session, ctx = self.session, self.ctx
        self.overdue = None  # from here on there is an answer
        if self.clock is not None:
            self.forget(self.clock)
        if self._waiting or session.closed is not None:
            self.stop_routines()  # a filter that still waits is of no use, and what follows would wait behind it
        session.on_proxy_failure(error)
        also = ""
        raised: list[BaseException] = [error]
        if session.closed is None and session.response_written is None:
            try:
                yield from self._answer(error)
            except Exception as exc:
                if session.closed is None:  # else it was told that the client left
                    also = f", and {self.phase} raised: {as_error(exc, 'in ' + self.phase)}"
                    raised.append(exc)
                    self._answer_plainly(exc)
        self.phase = "suppress_error_log"
        try:
            if self.filters.app.suppress_error_log(session, ctx, error) and not also:
                return
        except Exception as exc:
            also += f", and {self.phase} raised: {as_error(exc, 'in ' + self.phase)}"
            raised.append(exc)
        status = None if session.response_written is None else session.response_written.status
        self._report(
            "ERROR",
            f"failed to proxy: {error}, status: {status}, attempts: {self.attempts}, {self._summary()}{also}",
            *raised,
        )

    def _answer(self, error: Error) -> Story:
        filters, session, ctx = self.filters, self.session, self.ctx
        self.phase = "fail_to_proxy"
        found = filters.fail_to_proxy
        if found is None:
            status = error_status(error)
        elif found.inline:
            status = found.call(session, error, ctx)
        else:
            status = yield from self.run_filter(found, session, error, ctx)
        if session.response_written is not None:
            session.finish_body()
            return
        if status is not None:
            yield from self._answer_with(status)

    def _answer_with(self, status: int) -> Story:
        """A page of our own."""
        session = self.session
        template = self.filters.error_template
        page, body = (error_page(status), b"") if template is None else template.render(status)
        session.generated = True
        found = self.filters.response_filter
        if found is not None:
            self.phase = found.name
            yield from self.run_filter(found, session, page, self.ctx)
        if session.req_header is None or session.req_header.method == b"HEAD":
            body = b""
        session.write_response_header(page, end=not body)
        if body:
            session.write_response_body(body, end=True)

    def _answer_plainly(self, exc: Exception) -> None:
        """A callback that had a say in the answer broke down: then without it."""
        status = error_status(as_error(exc, "")) or 500
        if self.session.response_written is None:
            self.session.generated = True
            self.session.respond_error(status if 400 <= status <= 599 else 500)

    def _report(self, level: str, text: str, *raised: BaseException) -> None:
        """Log *text*, and where those of *raised* that no machine judged come from."""
        for error in raised:
            root = error.root_cause if isinstance(error, Error) else error
            if not isinstance(root, Error | OSError):
                text += f"\n{traceback_of(root)}"
        self.give(LogLine(level, text))

    def _summary(self) -> str:
        try:
            return self.filters.app.request_summary(self.session, self.ctx)
        except Exception as exc:
            return f"{self.session.request_summary()} (request_summary raised {exc!r})"
