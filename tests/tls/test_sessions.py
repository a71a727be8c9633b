"""Two ends in memory: handshakes, data, ends, whatever the cuts."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Established
from sansio_pingora.tls import Certificates, ClientAuth, ClientTls
from sansio_pingora.wire import Failed
from tests.tls.certs import ca, cert, self_signed
from tests.tls.pairs import BACKEND, client, pump, server, server_settings

VERSIONS = ["TLSv1.2", "TLSv1.3"]
every_version = pytest.mark.parametrize("version", VERSIONS)


@every_version
@pytest.mark.parametrize("cut", [0, 1, 7, 4096])
def test_any_cut_gives_the_same(version, cut):
    one, other = client(max_version=version, min_version=version), server()
    pump(one, other, cut=cut)
    assert one.kinds == other.kinds == ["Established"]
    one.send(b"a" * 100_000)
    other.send(b"b" * 50)
    pump(one, other, cut=cut)
    one.send(b"", end=True)
    pump(one, other, cut=cut)
    assert other.ended
    assert not one.ended  # one direction has ended, and the other goes on
    other.send(b"more", end=True)
    pump(one, other, cut=cut)

    assert (len(other.data), one.data) == (100_000, b"b" * 50 + b"more")
    assert one.ended
    assert one.digest.ssl_digest.version == other.digest.ssl_digest.version == version


@pytest.mark.parametrize(
    ("offered", "served", "agreed"),
    [
        ((), ("h2", "http/1.1"), None),
        (("h2", "http/1.1"), ("h2", "http/1.1"), "h2"),
        (("http/1.1", "h2"), ("h2", "http/1.1"), "h2"),
        (("http/1.1",), ("h2", "http/1.1"), "http/1.1"),
        (("h2", "http/1.1"), ("http/1.1",), "http/1.1"),
        (("h2",), ("http/1.1",), None),
        (("my-proto", "other"), ("my-proto",), "my-proto"),
        (("other",), ("my-proto",), None),
    ],
)
def test_alpn(offered, served, agreed):
    one, other = client(alpn=offered), server(alpn=served)
    pump(one, other)
    if offered == ("h2",):
        assert one.error.etype is ErrorType.H2_ERROR
        assert "does not speak HTTP/2" in str(one.error)
        return

    assert one.layer.alpn == other.layer.alpn == agreed


@pytest.mark.parametrize("offered", [(), ("http/1.1",)])
def test_a_server_of_http2_alone_refuses_who_does_not_speak_it(offered):
    one, other = client(alpn=offered), server(alpn=("h2",))
    pump(one, other)

    assert "does not speak HTTP/2" in str(other.error)
    assert "no application protocol" in str(one.error)
    assert other.layer.closing is Closing.AFTER_FLUSH


@every_version
@pytest.mark.parametrize(
    ("shown", "settings", "text"),
    [
        (cert(expired=True), {}, "certificate has expired (verify code 10)"),
        (self_signed(), {}, "self-signed certificate (verify code 18)"),
        (cert(by="other"), {}, "unable to get local issuer certificate (verify code 20)"),
        (cert("elsewhere.example"), {}, "hostname mismatch: it is for elsewhere.example, not for 'localhost'"),
        (cert(), {"ca": None, "use_system_certs": False}, "unable to get local issuer certificate"),
    ],
    ids=["expired", "self-signed", "unknown issuer", "wrong host", "trusts nobody"],
)
def test_a_certificate_that_is_refused_says_why(version, shown, settings, text):
    one, other = client(min_version=version, max_version=version, **settings), server(cert_key=shown)
    pump(one, other)

    assert one.kinds == ["ConnectionClosed"]
    assert one.error.etype is ErrorType.INVALID_CERT
    assert one.error.esource is ErrorSource.UPSTREAM
    assert text in str(one.error)
    assert one.layer.closing is Closing.AFTER_FLUSH
    assert "Established" not in other.kinds or version == "TLSv1.2"


@pytest.mark.parametrize(
    ("shown", "settings"),
    [
        (cert(expired=True), {"verify": False}),
        (self_signed(), {"verify": False}),
        (cert("elsewhere.example"), {"verify_name": False}),
        (cert("elsewhere.example"), {"alternative": "elsewhere.example"}),
        (cert("my-host.example.com"), {"name": "my_host.example.com"}),
        (cert("*.example.com"), {"name": "my_host.example.com"}),
        (cert("127.0.0.1"), {"name": "127.0.0.1"}),
        (cert("::1"), {"name": "::1"}),
        (cert("my-host.example.com"), {"alternative": "my_host.example.com"}),
    ],
)
def test_what_is_switched_off_or_allowed_is_accepted(shown, settings):
    one, other = client(**settings), server(cert_key=shown)
    pump(one, other)

    assert one.kinds == other.kinds == ["Established"]


def test_the_name_is_checked_where_the_chain_is_not():
    one, other = client(verify=False), server(cert_key=cert("elsewhere.example", by="other"))
    pump(one, other)

    assert "hostname mismatch" in str(one.error)


def test_an_address_is_not_sent_as_a_name():
    asked = []
    one, other = client("127.0.0.1"), server(choose=lambda hello: asked.append(hello.server_name))
    pump(one, other)

    assert asked == [None]
    assert one.kinds == ["Established"]


class TestClientCertificates:
    @every_version
    @pytest.mark.parametrize("auth", [ClientAuth.OPTIONAL, ClientAuth.REQUIRED])
    def test_a_good_one(self, version, auth):
        shown = cert("me", by="clients", organization="Client Ltd")
        one = client(cert_key=shown, min_version=version, max_version=version)
        other = server(client_auth=auth, client_ca=ca("clients"))
        pump(one, other)

        assert one.kinds == other.kinds == ["Established"]
        digest = other.digest.ssl_digest
        assert digest.organization == "Client Ltd"
        assert len(digest.cert_digest) == 32
        assert int(digest.serial_number, 16)

    @every_version
    def test_none(self, version):
        one = client(min_version=version, max_version=version)
        other = server(client_auth=ClientAuth.REQUIRED, client_ca=ca("clients"))
        pump(one, other)

        assert other.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE
        assert "the client showed no certificate, and one is required" in str(other.error)
        assert other.error.esource is ErrorSource.DOWNSTREAM
        # In TLS 1.3 the client was through already when it heard of it.
        assert one.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE
        assert "the server" in str(one.error)

    @every_version
    def test_none_where_it_is_optional(self, version):
        one = client(min_version=version, max_version=version)
        other = server(client_auth=ClientAuth.OPTIONAL, client_ca=ca("clients"))
        pump(one, other)

        assert other.kinds == ["Established"]
        assert other.digest.ssl_digest.cert_digest == b""

    @every_version
    @pytest.mark.parametrize("auth", [ClientAuth.OPTIONAL, ClientAuth.REQUIRED])
    def test_a_wrong_one(self, version, auth):
        one = client(cert_key=cert("me", by="other"), min_version=version, max_version=version)
        other = server(client_auth=auth, client_ca=ca("clients"))
        pump(one, other)

        assert other.error.etype is ErrorType.INVALID_CERT
        assert "the client's certificate is refused: unable to get local issuer certificate" in str(other.error)
        assert "the server refused our certificate" in str(one.error)


class TestEnds:
    @every_version
    def test_close_notify_is_an_end(self, version):
        one, other = client(min_version=version, max_version=version), server()
        pump(one, other)
        one.send(b"all", end=True)
        pump(one, other)
        one.endpoint.transport_lost(None, 0.0)
        other.endpoint.receive_eof(0.0)

        assert (other.data, other.ended) == (b"all", True)
        assert "Failed" not in other.kinds

    @every_version
    def test_an_end_without_it_is_a_cut(self, version):
        one, other = client(min_version=version, max_version=version), server()
        pump(one, other)
        one.send(b"not all")
        pump(one, other)
        other.endpoint.receive_eof(0.0)

        assert not other.ended
        failed = next(event for event in other.events if type(event) is Failed)
        assert "ended without close_notify" in str(failed.error)
        assert other.layer.closing is Closing.AFTER_FLUSH
        told = len(other.events)
        other.endpoint.transport_lost(None, 0.0)
        assert len(other.events) == told

    def test_in_the_handshake(self):
        _, other = client(), server()
        other.endpoint.receive_eof(0.0)

        assert "closed while the TLS handshake was waited for" in str(other.error)

    @every_version
    def test_a_record_that_was_tampered_with(self, version):
        one, other = client(min_version=version, max_version=version), server()
        pump(one, other)
        one.send(b"data")
        raw = bytearray(one.take())
        raw[-1] ^= 1
        other.endpoint.receive_data(bytes(raw), 0.0)

        assert other.data == b""
        assert other.error.etype is ErrorType.READ_ERROR
        alert = other.take()
        assert alert
        one.endpoint.receive_data(alert, 0.0)
        assert "bad record mac" in str(one.error)

    @every_version
    def test_nothing_is_said_behind_a_shut(self, version):
        """The simulator, seed 1509: a damaged record was answered with an alert behind the FIN."""
        one, other = client(min_version=version, max_version=version), server()
        pump(one, other)
        one.send(b"data")
        raw = bytearray(one.take())
        raw[-1] ^= 1
        other.send(b"all", end=True)
        assert other.layer.shut_write
        assert other.take()
        other.endpoint.receive_data(bytes(raw), 0.0)

        assert other.error.etype is ErrorType.READ_ERROR
        assert other.take() == b""

    def test_an_abort_says_nothing_more(self):
        one, other = client(), server()
        pump(one, other)
        other.inner.abort(0.0)

        assert other.layer.closing is Closing.ABORT
        assert other.take() == b""


class TestResumption:
    @every_version
    def test_sessions_are_resumed(self, version):
        shared, resumed = ClientTls(BACKEND, Limits()), []
        certificates = Certificates(BACKEND, server_settings())
        for _ in range(3):
            one = client(
                shared=shared,
                key="k",
                completed=lambda h: resumed.append(h.resumed),
                min_version=version,
                max_version=version,
            )
            other = server(certificates)
            pump(one, other)
            other.send(b"hello")
            pump(one, other)
            assert one.data == b"hello"
            assert one.digest.ssl_digest.cert_digest

        assert resumed == [False, True, True]

    def test_never_between_different_keys(self):
        shared, resumed = ClientTls(BACKEND, Limits()), []
        certificates = Certificates(BACKEND, server_settings())
        for key in "ab":
            one = client(shared=shared, key=key, completed=lambda h: resumed.append(h.resumed))
            other = server(certificates)
            pump(one, other)
            other.send(b"hello")
            pump(one, other)

        assert resumed == [False, False]

    def test_a_certificate_put_in_place_of_the_old_one(self):
        """A ticket of the old context is worth nothing to the new one: a whole handshake, and no fault."""
        shared, digests = ClientTls(BACKEND, Limits()), []
        for cert_key in (cert(), cert("localhost", organization="New")):
            one = client(shared=shared, key="k", completed=lambda h: digests.append((h.digest.organization, h.resumed)))
            other = server(cert_key=cert_key)
            pump(one, other)
            other.send(b"hello")
            pump(one, other)
            assert one.data == b"hello"

        assert digests == [("Acme", False), ("New", False)]

    def test_the_memory_is_bounded(self):
        limits = Limits(tls_session_cache_size=2)
        shared = ClientTls(BACKEND, limits)
        for key in range(4):
            shared.remember(key, object())

        assert [shared.session(key) is not None for key in range(4)] == [False, False, True, True]
        off = ClientTls(BACKEND, Limits(tls_session_cache_size=0))
        off.remember(1, object())
        assert off.session(1) is None


@every_version
def test_digests_and_hooks(version):
    seen = []
    one = client(
        completed=lambda h: seen.append(h) or {"mine": 1}, alpn=("h2",), min_version=version, max_version=version
    )
    other = server(completed=lambda h: seen.append(h) or "theirs")
    pump(one, other, now=3.0)

    mine, theirs = sorted(seen, key=lambda h: h.hello is not None)
    assert one.digest.ssl_digest.extension.get(dict) == {"mine": 1}
    assert other.digest.ssl_digest.extension.get(str) == "theirs"
    assert one.digest.timing_digest[-1].established_ts == 3.0
    assert mine.peer_certificate
    assert mine.digest.organization == "Acme"
    assert mine.alpn == theirs.alpn == "h2"
    assert theirs.hello.server_name == theirs.server_name == "localhost"
    assert theirs.hello.alpn == ("h2",)
    assert theirs.peer_certificate == b""
    established = one.events[0]
    assert type(established) is Established
    assert established.digest is one.digest


class TestWhatIsNoTls:
    @pytest.mark.parametrize("cut", [0, 1])
    @pytest.mark.parametrize(
        "raw",
        [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"DELETE /x HTTP/1.0\r\n\r\n"],
    )
    def test_a_request_without_tls_is_answered(self, raw, cut):
        other = server()
        for piece in [raw] if not cut else [bytes((byte,)) for byte in raw]:
            other.endpoint.receive_data(piece, 0.0)

        answer = other.take()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"close" in answer
        assert "a request without TLS" in str(other.error)
        assert other.layer.closing is Closing.AFTER_FLUSH
        assert other.kinds == ["ConnectionClosed"]

    @pytest.mark.parametrize(
        "raw", [b"\x00", b"\xff\xfe", b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x03\x01", b"\x16\x02\0\0\1\1"]
    )
    def test_garbage_is_closed_without_an_answer(self, raw):
        other = server()
        other.endpoint.receive_data(raw, 0.0)

        assert other.take() == b""
        assert other.layer.closing
        assert other.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 50, b"SSH-2.0-x\r\n"])
    def test_an_upstream_that_speaks_none(self, answer):
        one = client()
        one.take()
        one.endpoint.receive_data(answer, 0.0)

        assert one.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE
        assert "does not speak TLS here" in str(one.error)

    def test_old_versions_are_refused(self):
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        other = server()
        other.endpoint.receive_data(outgoing.read(), 0.0)

        assert "no TLS version that is allowed here" in str(other.error)


def test_a_handshake_that_stalls_is_closed_at_the_deadline():
    one, other = client(), server(deadline=5.0)
    other.endpoint.receive_data(one.take(), 0.0)
    other.take()
    assert other.layer.deadline == 5.0
    other.endpoint.handle_timeout(4.9)
    assert other.kinds == []
    other.endpoint.handle_timeout(5.0)

    assert other.error.etype is ErrorType.TLS_HANDSHAKE_TIMEDOUT
    assert other.kinds == ["ConnectionClosed"]
    assert other.layer.closing


def test_a_peer_that_takes_no_answer_to_its_key_updates_is_cut_off():
    """Where the library answers on its own, somebody has to count (RFC 8446 section 4.6.3)."""
    one, other = client(), server()
    pump(one, other)
    other.endpoint.write_paused(0.0, 100_000)
    other.layer._outgoing.write(b"an answer")
    one.send(b"x")
    other.endpoint.receive_data(one.take(), 0.0)

    assert other.layer.closing is Closing.ABORT
    assert "key updates" in str(other.error)


def test_buffers_stay_small():
    """They keep the size that they once had: an idle connection is not to pay for a download."""
    one, other = client(), server()
    pump(one, other)
    one.send(b"x" * 1_000_000)
    raw = one.take()
    for at in range(0, len(raw), 65_536):
        other.endpoint.receive_data(raw[at : at + 65_536], 0.0)

    assert len(other.data) == 1_000_000
    assert other.layer._incoming.pending == 0
    assert other.layer.held == 0


@pytest.mark.parametrize("size", [1, 100, 10_000, 16_383, 16_384, 40_000])
def test_small_pieces_share_records(size):
    one, other = client(), server()
    pump(one, other)
    sent = [bytes([number]) * size for number in range(20)]
    for piece in sent:
        one.send(piece)
    raw = one.take()
    records = 2 * 20 * size // 16_384 + 1  # two neighbours fill one, at least
    assert len(raw) <= 20 * size + 22 * records
    other.endpoint.receive_data(raw, 0.0)

    assert other.data == b"".join(sent)


def test_losing_the_transport_is_told_once():
    one, other = client(), server()
    pump(one, other)
    lost = Error(ErrorType.READ_ERROR, "reset")
    other.endpoint.transport_lost(lost, 0.0)

    assert [type(event) for event in other.events] == [Established, Failed, ConnectionClosed]


@pytest.mark.parametrize("answer", ["certificate", "none", "refusal", "bug"])
def test_a_choice_that_waits(answer):
    """The bytes that come meanwhile are kept, and the deadline stands."""
    from sansio_pingora.machine import RunFilter
    from sansio_pingora.tls import ChooseLater

    one = client()
    other = server(choose=lambda hello: ChooseLater(lambda: hello), deadline=5.0)
    other.endpoint.receive_data(one.take(), 0.0)
    lookup = next(member for member in other.endpoint.lane.drain(0.0) if member is not other.endpoint)
    (command,) = lookup.take_commands()
    assert isinstance(command, RunFilter)
    assert command.call().server_name == "localhost"
    assert other.layer.deadline == 5.0
    if answer == "refusal":
        lookup.fail(1, Error(ErrorType.CUSTOM, "not you", name="Refused"), 1.0)
    elif answer == "bug":
        lookup.fail(1, Error(ErrorType.INTERNAL_ERROR, "a filter raised", cause=KeyError("x")), 1.0)
    else:
        lookup.resume(1, cert() if answer == "certificate" else None, 1.0)
    other.endpoint.lane.drain(1.0)
    if answer in {"certificate", "none"}:
        assert other.layer.deadline == 5.0
    pump(one, other)

    if answer in {"certificate", "none"}:
        assert one.kinds == other.kinds == ["Established"]
    else:
        assert other.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE
        assert ("not you" if answer == "refusal" else "KeyError") in str(other.error)
        assert one.error.etype is ErrorType.TLS_HANDSHAKE_FAILURE


def test_who_leaves_while_the_choice_waits():
    from sansio_pingora.machine import StopFilters
    from sansio_pingora.tls import ChooseLater

    one = client()
    other = server(choose=lambda hello: ChooseLater(lambda: hello))
    other.endpoint.receive_data(one.take(), 0.0)
    lookup = next(member for member in other.endpoint.lane.drain(0.0) if member is not other.endpoint)
    lookup.take_commands()
    other.endpoint.transport_lost(None, 1.0)

    assert [type(command) for command in lookup.take_commands()] == [StopFilters]
    lookup.resume(1, cert(), 2.0)
    assert other.kinds == ["ConnectionClosed"]


class TestOffload:
    """The first answer is made off the lane: what comes meanwhile is kept, and the clock goes on."""

    def waiting(self, **settings):
        one = client(**settings.pop("client", {}))
        other = server(offload=True, deadline=5.0, **settings)
        other.endpoint.receive_data(one.take(), 0.0)
        lookup = next(member for member in other.endpoint.lane.drain(0.0) if member is not other.endpoint)
        (command,) = lookup.take_commands()
        return one, other, lookup, command

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_it_is_taken_at_the_next_turn(self, version):
        one, other, lookup, command = self.waiting(min_version=version, max_version=version)
        assert other.take() == b""
        lookup.resume(1, command.call(), 1.0)
        other.endpoint.lane.drain(1.0)
        pump(one, other)
        assert one.kinds == other.kinds == ["Established"]

    def test_a_handshake_that_fails_there_says_why(self):
        one, other, lookup, command = self.waiting(
            client={"min_version": "TLSv1.2", "max_version": "TLSv1.2"}, min_version="TLSv1.3"
        )
        lookup.resume(1, command.call(), 1.0)
        other.endpoint.lane.drain(1.0)
        pump(one, other)
        assert "no TLS version that is allowed here" in str(other.error)
        assert "protocol version" in str(one.error)

    def test_bytes_that_come_meanwhile_are_kept_within_the_ceiling(self):
        _, other, lookup, command = self.waiting(limits=Limits(max_client_hello=1_000))
        other.endpoint.receive_data(b"x" * 1_500, 0.5)
        assert other.layer.held >= 1_500
        answered = command.call()
        other.endpoint.receive_data(b"x" * 1_500, 0.5)
        assert "on and on" in str(other.error)
        lookup.resume(1, answered, 1.0)
        assert other.layer.closing is Closing.AFTER_FLUSH

    def test_the_deadline_comes_first(self):
        _, other, lookup, command = self.waiting()
        answered = command.call()
        other.endpoint.handle_timeout(5.0)
        assert other.error.etype is ErrorType.TLS_HANDSHAKE_TIMEDOUT
        lookup.resume(1, answered, 5.1)
        assert other.layer.inner is None

    def test_who_leaves_meanwhile_stops_it(self):
        _, other, lookup, command = self.waiting()
        other.endpoint.transport_lost(None, 1.0)
        lookup.resume(1, command.call(), 1.1)
        assert other.kinds == ["ConnectionClosed"]
