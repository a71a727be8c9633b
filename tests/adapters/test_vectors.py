"""The hostile and valid requests over real sockets: one of each class by default, all of them with SLOW_TESTS set.

That every one of them gets the same verdict however it is cut is shown without sockets, by the tests of http1 and
proxy; here it is to be seen that no runtime comes between.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

from sansio_pingora.apps import HttpServerApp
from sansio_pingora.session import ReadBody
from tests.adapters.harness import OK, To, client, origin, served, until


def load():
    """One vector of each class and policy, or all."""
    path = Path(__file__).parents[1] / "vectors" / "h1_requests.json"
    vectors = json.loads(path.read_text("utf-8"))["vectors"]
    if os.environ.get("SLOW_TESTS"):
        return vectors
    return list({(vector["cls"], vector["policy"], vector["stage"]): vector for vector in vectors}.values())


class Notes(HttpServerApp):
    """Writes down every request that came whole."""

    def __init__(self):
        self.seen = []

    def process_new_http(self, session):
        head = session.req_header
        body = b""
        while (data := (yield ReadBody())) is not None:
            body += data
        self.seen.append([head.method.decode(), head.target.decode(), body.decode("latin-1")])
        session.respond_error(204)


class NotingOrigin:
    """The same, as an origin."""

    def __init__(self):
        self.seen = []

    def __call__(self, peer):
        while True:
            start, fields, body = peer.message()
            method, target, _ = start.split(b" ")
            assert not (b"content-length" in fields and b"transfer-encoding" in fields)
            self.seen.append([method.decode(), target.decode(), body.decode("latin-1")])
            peer.send(OK.replace(b"\r\n\r\nok", b"\r\n\r\n") if method == b"HEAD" else OK)


def check(vector, seen, got):
    wanted = vector["seen"] or []
    seen = [
        [*request[:2], None if at < len(wanted) and wanted[at][2] is None else request[2]]
        for at, request in enumerate(seen)
    ]
    statuses = [int(digits) for digits in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", got)]
    refused = any(status >= 400 for status in statuses)
    if vector["policy"] == "accept":
        assert seen == wanted
        assert not refused
    elif vector["policy"] == "either" and not refused:
        assert seen == wanted
    else:
        assert seen == wanted[: len(seen)]
        assert refused or vector["stage"] == "wait" or not statuses


def send(server, vector):
    """What comes back to a client that sends it, and ends."""
    with client(server.address) as peer:
        raw = base64.b64decode(vector["b64"])
        middle = len(raw) // 2
        peer.send(raw[:middle])
        peer.send(raw[middle:])
        peer.shut()
        return peer.rest()


def test_as_a_server(runtime):
    app = Notes()
    with served(app, runtime) as server:
        for vector in load():
            app.seen.clear()
            check(vector, app.seen, send(server, vector))


def test_as_a_proxy(runtime):
    notes = NotingOrigin()
    with origin(notes) as upstream:
        app = To(upstream.peer)
        with served(app, runtime) as server:
            for vector in load():
                notes.seen.clear()
                app.ended.clear()
                got = send(server, vector)
                if got:
                    until(lambda: app.ended)
                check(vector, notes.seen, got)
