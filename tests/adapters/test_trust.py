"""Over TLS on real sockets: exchanges whose peers differ in whom they trust, or as whom, share no connection."""

from __future__ import annotations

import re
import socket

import pytest

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.apps import HttpServerApp
from sansio_pingora.upstreams import ALPN, PeerOptions
from sansio_pingora.wire import ResponseHeader
from tests.adapters.harness import served
from tests.tls.certs import ca, cert
from tests.tls.files import Files, listen


def told(handshake):
    """A hook."""


CLIENT = {"client_cert_key": cert("me", by="clients", organization="Client Ltd")}
OTHER_CLIENT = {"client_cert_key": cert("you", by="clients", organization="Other Ltd")}
VARIANTS = {
    "base": {},
    "sni": {"sni": "127.0.0.1"},
    "group_key": {"group_key": 1},
    "client_cert_key": CLIENT,
    "other client_cert_key": OTHER_CLIENT,
    "verify_cert": {"verify_cert": False},
    "verify_hostname": {"verify_hostname": False},
    "ca": {"ca": type(ca())(ca().pem + ca("other").pem)},
    "use_system_certs": {"use_system_certs": False},
    "alternative_cn": {"alternative_cn": "b.test"},
    "curves": {"curves": "X25519"},
    "upstream_tls_handshake_complete_hook": {"upstream_tls_handshake_complete_hook": told},
}
OF_THE_PEER = {"sni", "group_key", "client_cert_key"}


class WhoAreYou(HttpServerApp):
    """Answers with the client's port, which tells the connection, and with its certificate's owner."""

    def process_new_http(self, session):
        digest = session.digest().ssl_digest
        body = f"{session.client_addr.port} {digest.organization}".encode()
        session.write_response_header(ResponseHeader(200, [("content-length", str(len(body)))]))
        session.write_response_body(body, True)


class ByPath(ProxyHttp):
    def __init__(self, address, alpn):
        self.address = address
        self.alpn = alpn

    def upstream_peer(self, session, ctx):
        changes = list(VARIANTS.values())[int(session.req_header.target[1:])]
        options = {name: value for name, value in changes.items() if name not in OF_THE_PEER}
        peer = {"sni": "localhost", **{name: value for name, value in changes.items() if name in OF_THE_PEER}}
        options = PeerOptions(**{"ca": ca(), "alpn": self.alpn, "max_h2_streams": 10, **options})
        return HttpPeer(self.address, True, options=options, **peer)


@pytest.mark.parametrize("alpn", [ALPN.H1, ALPN.H2], ids=["h1", "h2"])
def test_what_differs_in_trust_shares_no_connection(runtime, tmp_path, alpn):
    files = Files(tmp_path)
    origin_at = listen(files, client_ca=files.ca("clients"), client_auth="optional")
    with (
        served(WhoAreYou(), runtime, listen=origin_at) as origin,
        served(ByPath(origin.peer, alpn), runtime) as proxy,
        socket.create_connection(proxy.address, 10) as sock,
    ):

        def ask(number):
            sock.sendall(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number)
            data = b""
            while not (found := re.search(rb"(?s) 200 .*\r\n\r\n(\d+ [^\r\n]+)\Z", data)):
                piece = sock.recv(4096)
                assert piece, data
                data += piece
            return found[1].decode().split(" ", 1)

        # Each twice, with all others in between; the pool holds them all.
        first, second = ([ask(number) for number in range(len(VARIANTS))] for _ in range(2))
    assert first == second
    assert len({port for port, _ in first}) == len(VARIANTS)
    shown = dict(zip(VARIANTS, (owner for _, owner in first), strict=True))
    assert shown.pop("client_cert_key") == "Client Ltd"
    assert shown.pop("other client_cert_key") == "Other Ltd"
    assert set(shown.values()) == {"None"}
