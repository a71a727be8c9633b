"""Whom a proxy takes for an origin over TLS, and as whom. Numbers: rows of Pingora's test inventory."""

from __future__ import annotations

import contextlib

import pytest

from sansio_pingora.apps import HttpServerApp
from sansio_pingora.upstreams import CaCerts, CertKey, PeerOptions
from sansio_pingora.wire import ResponseHeader
from tests.adapters.harness import GET, To, client, served
from tests.tls.certs import authority, ca, cert, self_signed
from tests.tls.files import Files, listen


class Members(HttpServerApp):
    """Serves who has shown a certificate."""

    def process_new_http(self, session):
        owner = session.digest().ssl_digest.organization
        status, body = (200, owner.encode()) if owner else (400, b"show a certificate")
        session.write_response_header(ResponseHeader(status, [("Content-Length", str(len(body)))]))
        session.write_response_body(body, True)


class Anybody(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(ResponseHeader(200, [("Content-Length", "0")]), end=True)


@contextlib.contextmanager
def proxied(runtime, at, app, **peer):
    """A client of a proxy before *app*, which listens *at*."""
    with (
        served(app, runtime, listen=at) as origin,
        served(To(origin.peer, tls=True, **peer), runtime) as proxy,
        client(proxy.address) as made,
    ):
        yield made


OTHERS = {"ca": ca("other")}
CASES = {
    "row 16: verification off": (self_signed(), {"sni": "any.test"}, {"verify_cert": False, "verify_hostname": False}),
    "row 17: certificate, not host": (cert("b.test"), {"sni": "a.test"}, {"verify_hostname": False}),
    "row 17: not even the certificate": (cert("b.test"), {"sni": "a.test"}, {**OTHERS, "verify_hostname": False}),
    "row 18: certificate and host": (cert("a.test"), {"sni": "a.test"}, {}),
    "row 19: host, no sni": (cert("127.0.0.1"), {}, {}),
    "row 19: another host, no sni": (cert("a.test"), {}, {}),
    "row 20: underscore and wildcard": (cert("*.a.test"), {"sni": "my_app.a.test"}, {}),
    # Deviation: the page of the error keeps the connection, as any other.
    "row 21: underscore, another name": (cert("*.b.test"), {"sni": "my_app.a.test"}, {}),
    "row 22: alternative name": (cert("b.test"), {"sni": "a.test"}, {"alternative_cn": "b.test"}),
    "row 22: not that either": (cert("b.test"), {"sni": "a.test"}, {"alternative_cn": "c.test"}),
}
REFUSED = {
    "row 17: not even the certificate",
    "row 19: another host, no sni",
    "row 21: underscore, another name",
    "row 22: not that either",
}


@pytest.mark.parametrize("case", CASES)
def test_rows_16_to_22_who_is_taken_for_the_origin(runtime, tmp_path, case):
    shown, peer, options = CASES[case]
    options = PeerOptions(**{"ca": ca(), **options})
    with proxied(runtime, listen(Files(tmp_path), shown), Anybody(), options=options, **peer) as made:
        for _ in range(2):
            made.send(GET)
            assert made.status() == (502 if case in REFUSED else 200)


def by_an_intermediate():
    """A root, and a client's certificate that an authority between them has issued."""
    root = authority("root")
    issued = root.create_child_ca().issue_cert("me", organization_name="Client Ltd")
    chain = [pem.bytes() for pem in issued.cert_chain_pems]
    return root.cert_pem.bytes(), chain, issued.private_key_pem.bytes()


@pytest.mark.parametrize("shown", ["nothing", "no intermediate", "the whole chain"])
def test_rows_23_and_24_what_is_shown_to_an_origin(runtime, tmp_path, shown):
    root, chain, key = by_an_intermediate()
    (tmp_path / "root.pem").write_bytes(root)
    at = listen(Files(tmp_path), client_ca=str(tmp_path / "root.pem"), client_auth="optional")
    pieces = {"nothing": [], "no intermediate": chain[:1], "the whole chain": chain}[shown]
    mine = CertKey(b"".join(pieces), key) if pieces else None
    options = PeerOptions(ca=CaCerts(ca().pem))
    with proxied(runtime, at, Members(), sni="localhost", client_cert_key=mine, options=options) as made:
        made.send(GET)
        start, _, body = made.message()
    assert (start[9:12], body) == {
        "nothing": (b"400", b"show a certificate"),
        # Deviation: not a 400. OpenSSL ends the handshake where a certificate is shown and cannot be verified.
        "no intermediate": (b"502", b""),
        "the whole chain": (b"200", b"Client Ltd"),
    }[shown]
