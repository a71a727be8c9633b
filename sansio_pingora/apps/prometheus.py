"""Metrics for Prometheus: the text format 0.0.4 and OpenMetrics, without a library."""

from __future__ import annotations

from collections.abc import Iterable

from sansio_pingora.apps.http_server_app import HttpServerApp
from sansio_pingora.apps.metrics import Family, Metrics
from sansio_pingora.session import ServerSession
from sansio_pingora.wire import ResponseHeader

__all__ = ["PrometheusApp", "openmetrics_text", "prometheus_text"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class PrometheusApp(HttpServerApp):
    """Answers GET and HEAD of ``/metrics``, in the format that is asked for; 404 and 405 otherwise."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def process_new_http(self, session: ServerSession) -> None:
        """See :class:`HttpServerApp`."""
        head = session.req_header
        assert head is not None  # an exchange begins with a head
        if head.path != b"/metrics":
            session.respond_error_with_body(404, b"metrics are at /metrics\n")
            return
        if head.method not in (b"GET", b"HEAD"):
            page = session.generate_error(405)
            page.insert("Allow", "GET, HEAD")
            session.write_error_response(page)
            return
        families = self.metrics.collect()
        if b"application/openmetrics-text" in (head.fields.get(b"accept") or b""):
            kind, text = _OPENMETRICS, openmetrics_text(families)
        else:
            kind, text = _TEXT, prometheus_text(families)
        body = text.encode()
        answer = ResponseHeader(200, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        session.write_response_header(answer)
        session.write_response_body(body, end=True)


def prometheus_text(families: Iterable[Family]) -> str:
    """*families* in the text format 0.0.4."""
    lines = []
    for family in families:
        suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
        kind = "gauge" if family.kind == "info" else family.kind
        lines += [f"# HELP {family.name}{suffix} {_help(family.text)}", f"# TYPE {family.name}{suffix} {kind}"]
        lines += _samples(family)
    return "\n".join(lines) + "\n"


def openmetrics_text(families: Iterable[Family]) -> str:
    """*families* as OpenMetrics 1.0.0."""
    lines = []
    for family in families:
        lines += [f"# TYPE {family.name} {family.kind}", f"# HELP {family.name} {_quoted(family.text)}"]
        lines += _samples(family)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _samples(family: Family) -> list[str]:
    lines = []
    for suffix, labels, value in family.samples:
        text = ",".join(f'{name}="{_quoted(label)}"' for name, label in labels)
        lines.append(f"{family.name}{suffix}{'{' + text + '}' if text else ''} {value!r}")
    return lines


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _help(text).replace('"', r"\"")
