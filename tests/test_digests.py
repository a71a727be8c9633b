"""What is known of a transport."""

from __future__ import annotations

from sansio_pingora.digests import (
    Digest,
    ProxyDigest,
    SocketDigest,
    SslDigest,
    SslDigestExtension,
    TimingDigest,
)
from sansio_pingora.session import ServerConnection, ServerSession
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Header, ResponseHeader
from tests.session.kinds import KINDS, custom, get

PEER, LOCAL = SocketAddr("10.0.0.1", 4000), SocketAddr("10.0.0.2", 80)


def test_from_what_a_driver_says():
    digest = Digest.of(TransportInfo(PEER, LOCAL, 5.0))
    assert digest.timing_digest == [TimingDigest(5.0)]
    assert digest.socket_digest == SocketDigest(peer_addr=PEER, local_addr=LOCAL)
    assert digest.ssl_digest is digest.proxy_digest is None
    assert Digest.of(None) == Digest()


def test_layers_are_filled_in_by_who_knows_them():
    digest = Digest.of(TransportInfo(PEER, LOCAL, 5.0))
    digest.timing_digest.append(TimingDigest(5.1))
    digest.ssl_digest = SslDigest("TLS_AES_256_GCM_SHA384", "TLSv1.3", organization="Org", serial_number="0a")
    digest.proxy_digest = ProxyDigest(ResponseHeader(200), user_data="tunnel")
    copy = digest.clone()
    assert copy == digest
    copy.timing_digest.append(None)
    copy.ssl_digest = None
    assert len(digest.timing_digest) == 2
    assert digest.ssl_digest.cert_digest == b""


def test_an_extension_is_found_by_its_type():
    extension = SslDigestExtension()
    assert extension.get(str) is None
    extension.value = "user 7"
    assert extension.get(str) == "user 7"
    assert extension.get(int) is None


def test_streams_of_a_connection_share_one():
    exchange = custom(get(), True)
    first = exchange.session.digest()
    stream = exchange.client.open_stream(0.0)
    exchange.client.send(stream, Header(get(), True), 0.0)
    exchange.settle()
    assert exchange.session.stream_id == 2
    assert exchange.session.digest() is first


def test_a_subrequest_has_a_copy():
    digest = Digest.of(TransportInfo(PEER, LOCAL, 5.0))
    exchange = KINDS["subrequest"](get(), True)
    exchange.session._held.digest = digest.clone()
    assert exchange.session.digest() == digest
    assert exchange.session.digest() is not digest


def test_a_session_without_a_dispatcher_has_its_own():
    connection = ServerConnection(now=0.0)
    [(stream, head)] = connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0.0)
    session = ServerSession(connection, stream, head, None, 0.0, {})
    digest = session.digest()
    assert digest == Digest()
    assert session.digest() is digest
    session.set_connection_user_context(7)
    assert session.connection_user_context == 7
    client = custom(get(), True).client_session
    assert client.digest() is client.digest_mut()
    assert str(client.digest().socket_digest.peer_addr) == "10.0.0.1:4000"
