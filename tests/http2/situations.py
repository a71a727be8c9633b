"""Streams in each state that RFC 9113 section 5.1 names, in either role; the one that counts is stream 1 on the wire."""

from __future__ import annotations

from collections.abc import Callable

from sansio_pingora.wire import Body, Failed, Header, ResponseHeader
from tests.http2.runs import BROKEN, Session, answer, ask, make_client, make_server


def server_idle() -> Session:
    return make_server()


def server_open() -> Session:
    session = make_server()
    session.deliver(session.peer.request(1, "POST", end=False))
    return session


def server_half_closed() -> Session:
    session = make_server()
    session.deliver(session.peer.request(1))
    return session


def server_answering() -> Session:
    session = server_open()
    session.send(1, Header(ResponseHeader(200), False), Body(b"part"))
    return session


def server_answered() -> Session:
    """We have ended our side, the client has not ended its."""
    session = server_open()
    session.send(1, Header(ResponseHeader(200), True))
    return session


def server_closed() -> Session:
    session = server_half_closed()
    answer(session, 1)
    return session


def server_reset_by_peer() -> Session:
    session = server_open()
    session.deliver(session.peer.rst(1))
    return session


def server_reset_by_us() -> Session:
    session = server_open()
    session.send(1, Failed(BROKEN))
    return session


def client_idle() -> Session:
    return make_client()


def client_open() -> Session:
    session = make_client()
    ask(session, "POST", end=False)
    return session


def client_half_closed() -> Session:
    session = make_client()
    ask(session)
    return session


def client_answered() -> Session:
    """The answer's head has come."""
    session = client_half_closed()
    session.deliver(session.peer.response(1, 200, end=False))
    return session


def client_uploading() -> Session:
    """The answer is complete, our request is not."""
    session = client_open()
    session.deliver(session.peer.response(1, 200))
    return session


def client_closed() -> Session:
    session = client_half_closed()
    session.deliver(session.peer.response(1, 200))
    return session


def client_reset_by_peer() -> Session:
    session = client_open()
    session.deliver(session.peer.rst(1))
    return session


def client_reset_by_us() -> Session:
    session = client_open()
    session.send(1, Failed(BROKEN))
    return session


SITUATIONS: dict[str, Callable[[], Session]] = {
    name: made for name, made in globals().items() if name.startswith(("server_", "client_"))
}
BOTH = ("server_open", "client_answered")
EVERY = tuple(SITUATIONS)
