"""PROXY protocol: what is written is read back, from any cut; what breaks the rules is refused by name."""

from __future__ import annotations

import re
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.proxy_protocol import (
    MAX_PROXY_HEADER,
    PROXY_SIGNATURE,
    NoProxyHeader,
    ProxyHeader,
    ProxySsl,
    ProxyTlv,
    ReadProxyHeader,
    TlvType,
    read_proxy_header,
)
from sansio_pingora.proxy_protocol.tlv import crc32c, read_tlvs
from sansio_pingora.transport import SocketAddr

V4 = SocketAddr("192.0.2.1", 56324), SocketAddr("198.51.100.7", 443)
V6 = SocketAddr("2001:db8::1", 1), SocketAddr("2001:db8::2", 65535)


def v2(command=0x21, family=0x11, payload=b"", size=None):
    """A v2 header by hand."""
    return PROXY_SIGNATURE + struct.pack("!BBH", command, family, len(payload) if size is None else size) + payload


def tlv(kind, value, size=None):
    return struct.pack("!BH", kind, len(value) if size is None else size) + value


ADDRESSES_V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.7") + struct.pack("!HH", 56324, 443)


def outcome(data, **options):
    """What *data* is read as, a refusal as its text."""
    try:
        return read_proxy_header(data, **options)
    except Error as error:
        assert error.etype is ErrorType.HANDSHAKE_ERROR
        assert error.esource is ErrorSource.DOWNSTREAM
        return error.context


# ── what is written is read back ─────────────────────────────────────────────────────

ports = st.integers(0, 65535)
v4_ends = st.builds(lambda ip, port: SocketAddr(str(ip), port), st.ip_addresses(v=4), ports)
v6_ends = st.builds(lambda ip, port: SocketAddr(str(ip), port), st.ip_addresses(v=6), ports)
# Of bytes that no encoding can spoil, and some that are not UTF-8.
paths = st.binary(min_size=1, max_size=108).filter(lambda raw: b"\0" not in raw)
unix_ends = st.builds(lambda raw: SocketAddr(path=raw.decode("utf-8", "surrogateescape")), paths)
plain_tlvs = st.builds(
    ProxyTlv,
    st.integers(0, 255).filter(lambda kind: kind not in {TlvType.CRC32C, TlvType.NOOP}),
    st.binary(max_size=128),
)
ends = st.one_of(
    st.tuples(v4_ends, v4_ends),
    st.tuples(v6_ends, v6_ends),
    st.tuples(st.none() | unix_ends, unix_ends),
    st.tuples(unix_ends, st.none()),
    st.just((None, None)),
)


@st.composite
def headers(draw):
    if draw(st.booleans()):
        source, destination = draw(st.one_of(st.tuples(v4_ends, v4_ends), st.tuples(v6_ends, v6_ends)))
        return ProxyHeader(1, source, destination)
    if draw(st.integers(0, 9)) == 0:
        return ProxyHeader(2, local=True)
    source, destination = draw(ends)
    datagram = draw(st.booleans()) and (source or destination) is not None
    return ProxyHeader(2, source, destination, datagram=datagram, tlvs=tuple(draw(st.lists(plain_tlvs, max_size=4))))


@given(headers(), st.booleans(), st.binary(max_size=20))
def test_what_is_written_is_read_back_byte_by_byte(header, checksum, tail):
    raw = header.to_bytes(checksum=checksum and header.version == 2)
    for size in range(len(raw)):
        assert read_proxy_header(raw[:size], limit=4096) is None

    assert read_proxy_header(raw + tail, limit=4096) == ReadProxyHeader(header, len(raw))


@pytest.mark.parametrize(
    ("header", "raw"),
    [
        (ProxyHeader(1, *V4), b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"),
        (ProxyHeader(1, *V6), b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"),
        (ProxyHeader(1), b"PROXY UNKNOWN\r\n"),
        (ProxyHeader(1, SocketAddr(path="/a"), SocketAddr(path="/b")), b"PROXY UNKNOWN\r\n"),
        (ProxyHeader(2, *V4), v2(payload=ADDRESSES_V4)),
        (ProxyHeader(2, *V4, datagram=True), v2(family=0x12, payload=ADDRESSES_V4)),
        (ProxyHeader(2), v2(family=0)),
        (ProxyHeader(2, local=True), v2(command=0x20, family=0)),
        (ProxyHeader(2, *V4, tlvs=(ProxyTlv(0x01, b"h2"),)), v2(payload=ADDRESSES_V4 + tlv(1, b"h2"))),
        (
            ProxyHeader(2, None, SocketAddr(path="/run/x")),
            v2(family=0x31, payload=b"\0" * 108 + b"/run/x".ljust(108, b"\0")),
        ),
    ],
    ids=["v1", "v1 IPv6", "v1 unknown", "v1 Unix", "v2", "datagram", "unspec", "local", "tlv", "Unix"],
)
def test_the_bytes_of_a_header(header, raw):
    assert header.to_bytes() == raw


def test_datagrams_between_ends_without_names_are_as_good_as_unknown():
    read = read_proxy_header(v2(family=0x32, payload=b"\0" * 216))

    assert read.header == ProxyHeader(2)
    assert read_proxy_header(read.header.to_bytes()).header == read.header


def test_the_longest_line_is_taken_and_one_byte_more_is_not():
    host = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    longest = ProxyHeader(1, SocketAddr(host, 65535), SocketAddr(host, 65535)).to_bytes()
    unknown = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"

    assert len(longest) == 104
    assert len(unknown) == 107
    assert outcome(unknown) == ReadProxyHeader(ProxyHeader(1), 107)
    assert outcome(unknown[:-2] + b"x\r\n") == "PROXY v1 header: no line end within 107 bytes"


# ── what a header is taken for ───────────────────────────────────────────────────────


@pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0xFF])
def test_a_local_header_is_discarded_whole(family):
    raw = v2(command=0x20, family=family, payload=b"\xff" * 40)

    assert outcome(raw) == ReadProxyHeader(ProxyHeader(2, local=True), len(raw))


@pytest.mark.parametrize("family", [0x10, 0x20, 0x30, 0x01, 0x02])
def test_an_address_that_is_half_unspecified_is_not_believed(family):
    raw = v2(family=family, payload=b"\x01" * 216 + tlv(1, b"h2"), size=None) if family >> 4 == 3 else None
    if raw is None:
        raw = v2(family=family, payload=b"\x01" * {1: 12, 2: 36, 0: 0}[family >> 4] + tlv(1, b"h2"))

    assert outcome(raw) == ReadProxyHeader(ProxyHeader(2, tlvs=(ProxyTlv(1, b"h2"),)), len(raw))


def test_padding_and_a_checksum_that_matches_are_dealt_with():
    header = ProxyHeader(2, *V4, tlvs=(ProxyTlv(TlvType.UNIQUE_ID, b"u" * 128),))
    raw = header.to_bytes(checksum=True)
    padded = v2(payload=ADDRESSES_V4 + tlv(4, b"\0" * 5) + tlv(4, b""))

    assert outcome(raw) == ReadProxyHeader(header, len(raw))
    assert outcome(padded) == ReadProxyHeader(ProxyHeader(2, *V4), len(padded))


@pytest.mark.parametrize(
    "other",
    [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"POST /",
        b"PROXX",
        b"proxy ",
        b"\r\n\r\nGET",
        b"\x16\x03\x01",
        b"\0",
    ],
    ids=repr,
)
def test_what_is_something_else_is_told_at_the_first_byte_that_differs(other):
    answers = [read_proxy_header(other[:size]) for size in range(1, len(other) + 1)]
    told = next(at for at, answer in enumerate(answers) if answer is not None)

    assert all(answer == NoProxyHeader() for answer in answers[told:])
    before = other[:told]
    assert PROXY_SIGNATURE.startswith(before) or b"PROXY ".startswith(before)


def test_nothing_is_not_enough():
    assert read_proxy_header(b"") is None


# ── what is refused, and how ─────────────────────────────────────────────────────────

NINES = b"PROXY TCP4 1.1.1.1 2.2.2.2 "
REFUSED = {
    "no protocol": (b"PROXY \r\n", "protocol '' is not TCP4, TCP6 or UNKNOWN"),
    "lower case": (b"PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", "protocol 'tcp4' is not"),
    "unknown with a tail": (b"PROXY UNKNOWNX\r\n", "protocol 'UNKNOWNX'"),
    "UDP": (b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "protocol 'UDP4'"),
    "bare LF": (NINES + b"1 2\n", "LF instead of CRLF"),
    "CR in the middle": (NINES + b"1 2\r1\r\n", "destination port '2\\r1'"),
    "two words": (b"PROXY TCP4 1.1.1.1 2.2.2.2\r\n", "2 words behind TCP4"),
    "five words": (NINES + b"1 2 3\r\n", "5 words behind TCP4"),
    "two spaces": (b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", "5 words behind TCP4"),
    "trailing space": (NINES + b"1 2 \r\n", "5 words behind TCP4"),
    "tab": (b"PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", "protocol 'TCP4\\t1.1.1.1'"),
    "IPv6 as TCP4": (b"PROXY TCP4 ::1 2.2.2.2 1 2\r\n", "source '::1' is not an IPv4 address"),
    "IPv4 as TCP6": (b"PROXY TCP6 ::1 2.2.2.2 1 2\r\n", "destination '2.2.2.2' is not an IPv6 address"),
    "octal": (b"PROXY TCP4 010.1.1.1 2.2.2.2 1 2\r\n", "source '010.1.1.1'"),
    "short IPv4": (b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", "source '1.1.1'"),
    "256": (b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", "source '1.1.1.256'"),
    "zone": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "source 'fe80::1%eth0'"),
    "brackets": (b"PROXY TCP6 [::1] ::1 1 2\r\n", "source '[::1]'"),
    "name": (b"PROXY TCP4 localhost 2.2.2.2 1 2\r\n", "source 'localhost'"),
    "8 bit": (b"PROXY TCP4 1.1.1.\xb2 2.2.2.2 1 2\r\n", "source '1.1.1.\\xb2'"),
    "NUL": (b"PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n", "source '1.1.1.1\\x00'"),
    "port 65536": (NINES + b"65536 2\r\n", "source port '65536'"),
    "port with a zero": (NINES + b"1 02\r\n", "destination port '02'"),
    "port 00": (NINES + b"00 2\r\n", "source port '00'"),
    "negative port": (NINES + b"-1 2\r\n", "source port '-1'"),
    "signed port": (NINES + b"+1 2\r\n", "source port '+1'"),
    "no port": (NINES + b" 2\r\n", "source port ''"),
    "hex port": (NINES + b"0x1 2\r\n", "source port '0x1'"),
    "no end": (b"PROXY TCP4 " + b"1" * 200, "no line end within 107 bytes"),
    "version 1 in binary": (v2(command=0x11), "version 1 is not 2"),
    "version 3": (v2(command=0x31), "version 3 is not 2"),
    "command 2": (v2(command=0x22), "command 2 is neither"),
    "command 15": (v2(command=0x2F), "command 15 is neither"),
    "family 4": (v2(family=0x41, payload=b"\0" * 300), "address family 4 with protocol 1 is not assigned"),
    "protocol 3": (v2(family=0x13, payload=b"\0" * 12), "address family 1 with protocol 3 is not assigned"),
    "short IPv4 block": (v2(payload=b"\0" * 11), "11 bytes do not hold two IPv4 addresses"),
    "short IPv6 block": (v2(family=0x21, payload=b"\0" * 35), "35 bytes do not hold two IPv6 addresses"),
    "short Unix block": (v2(family=0x31, payload=b"\0" * 215), "215 bytes do not hold two Unix addresses"),
    "past the limit": (v2(payload=b"\0" * 521), "537 bytes, and the limit is 536"),
    "local past the limit": (v2(command=0x20, payload=b"\0" * 521), "537 bytes, and the limit is 536"),
    "longest": (v2(size=65_535), "65551 bytes, and the limit is 536"),
    "TLV without length": (
        v2(payload=ADDRESSES_V4 + b"\x01\0"),
        "the TLV of type 0x01 at offset 0 reaches past the end",
    ),
    "TLV past the end": (v2(payload=ADDRESSES_V4 + tlv(5, b"ab", 3)), "the TLV of type 0x05 at offset 0 reaches"),
    "second TLV past the end": (v2(payload=ADDRESSES_V4 + tlv(1, b"h2") + tlv(2, b"", 1)), "type 0x02 at offset 5"),
    "one byte of a TLV": (v2(family=0, payload=b"\xe0"), "the TLV of type 0xe0 at offset 0 reaches past the end"),
    "checksum of 3 bytes": (v2(payload=ADDRESSES_V4 + tlv(3, b"abc")), "one checksum, of 4 bytes"),
    "wrong checksum": (v2(payload=ADDRESSES_V4 + tlv(3, b"abcd")), "the checksum (CRC32c) does not match"),
    "long unique id": (v2(payload=ADDRESSES_V4 + tlv(5, b"u" * 129)), "a unique id of 129 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_breaks_the_rules_is_refused_by_name(name):
    raw, text = REFUSED[name]
    refused = outcome(raw)

    assert isinstance(refused, str)
    assert text in refused
    assert refused.startswith("PROXY v1 header: " if raw.startswith(b"PROXY") else "PROXY v2 header: ")


def test_two_checksums_are_one_too_many():
    once = ProxyHeader(2, *V4).to_bytes(checksum=True)
    payload = once[16:] + tlv(3, b"\0\0\0\0")

    assert isinstance(outcome(v2(payload=payload)), str)


@pytest.mark.parametrize("size", range(16, MAX_PROXY_HEADER + 2, 8))
def test_every_length_of_a_header(size):
    """Each declared length is either held to, or refused."""
    payload = size - 16
    raw = v2(family=0, payload=(tlv(0xE0, b"x" * (payload - 3)) if payload >= 3 else b""))

    assert outcome(raw) == ReadProxyHeader(
        ProxyHeader(2, tlvs=(ProxyTlv(0xE0, b"x" * (payload - 3)),) if payload >= 3 else ()), len(raw)
    )


@pytest.mark.parametrize(("limit", "taken"), [(536, False), (537, True), (65_551, True)])
def test_the_limit_is_an_option(limit, taken):
    raw = v2(family=0, payload=tlv(0xE0, b"x" * 518))

    assert isinstance(outcome(raw, limit=limit), ReadProxyHeader) is taken


@given(st.data())
def test_the_verdict_does_not_depend_on_the_cut(data):
    """Headers with some bytes changed: whoever reads more at once comes to the same answer."""
    base = data.draw(
        st.one_of(
            headers().map(lambda header: header.to_bytes()), st.sampled_from([raw for raw, _ in REFUSED.values()])
        )
    )
    spoiled = bytearray(base)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(base) - 1), st.integers(0, 255)), max_size=3)):
        spoiled[at] = byte
    whole = bytes(spoiled)
    final = outcome(whole)
    told = False
    for size in range(len(whole) + 1):
        answer = outcome(whole[:size])
        told = told or answer is not None
        assert answer == (final if told else None)


# ── writing ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (ProxyHeader(3, *V4), "versions are 1 and 2"),
        (ProxyHeader(1, local=True), "PROXY v1 has no LOCAL"),
        (ProxyHeader(1, *V4, datagram=True), "PROXY v1 has no LOCAL, no datagrams"),
        (ProxyHeader(1, *V4, tlvs=(ProxyTlv(1, b""),)), "no TLVs"),
        (ProxyHeader(2, V4[0], V6[0]), "two IP addresses of one family"),
        (ProxyHeader(2, V4[0]), "two IP addresses of one family"),
        (ProxyHeader(2, SocketAddr("a.test", 1), SocketAddr("b.test", 2)), "two IP addresses of one family"),
        (ProxyHeader(2, V4[0], SocketAddr(path="/a")), "no internet address beside a Unix socket"),
        (ProxyHeader(2, None, SocketAddr(path="/" * 109)), "of 1 to 108 bytes"),
        (ProxyHeader(2, None, SocketAddr(path="/a\0b")), "of 1 to 108 bytes"),
        (ProxyHeader(2, tlvs=(ProxyTlv(256, b""),)), "the type of a TLV is from 0 to 255"),
        (ProxyHeader(2, tlvs=(ProxyTlv(3, b"abcd"),)), "to_bytes(checksum=True)"),
        (ProxyHeader(2, tlvs=(ProxyTlv(4, b""),)), "checksum and padding are no TLVs"),
        (ProxyHeader(2, tlvs=(ProxyTlv(5, b"u" * 129),)), "a unique id has 128 bytes"),
        (ProxyHeader(2, tlvs=(ProxyTlv(1, b"x" * 65_536),)), "has 65535 bytes at most"),
        (ProxyHeader(2, tlvs=(ProxyTlv(1, b"x" * 65_535),)), "carries 65535 bytes at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_told_is_not_written(header, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        header.to_bytes()


@pytest.mark.parametrize(
    ("source", "destination", "told"),
    [
        (*V4, V4),
        (*V6, V6),
        (V4[0], V6[1], (SocketAddr("::ffff:192.0.2.1", 56324), V6[1])),
        (V6[0], V4[1], (V6[0], SocketAddr("::ffff:198.51.100.7", 443))),
        (SocketAddr("fe80::1%eth0", 5), V6[1], (SocketAddr("fe80::1", 5), V6[1])),
        (None, SocketAddr(path="/a"), (None, SocketAddr(path="/a"))),
        (SocketAddr(path="/c"), SocketAddr(path="/a"), (SocketAddr(path="/c"), SocketAddr(path="/a"))),
        (V4[0], SocketAddr(path="/a"), (None, None)),
        (None, V4[1], (None, None)),
        (SocketAddr("a.test", 1), V4[1], (None, None)),
        (None, None, (None, None)),
    ],
    ids=["v4", "v6", "v4 to v6", "v6 to v4", "zone", "Unix", "named Unix", "mixed", "half", "name", "nothing"],
)
def test_between_two_ends_as_far_as_they_can_be_told(source, destination, told):
    for version in (1, 2):
        header = ProxyHeader.between(source, destination, version=version)
        expected = ProxyHeader.between(*told, version=version)

        assert header == expected
        read = outcome(header.to_bytes())
        assert isinstance(read, ReadProxyHeader)
        if version == 2:
            assert read.header == header


# ── TLVs ─────────────────────────────────────────────────────────────────────────────


@given(st.lists(plain_tlvs, max_size=5))
def test_tlvs_are_read_back(tlvs):
    assert read_tlvs(b"".join(one.to_bytes() for one in tlvs)) == tlvs


def test_what_the_client_s_tls_was():
    told = ProxySsl(1 | 2, 0, (ProxyTlv(TlvType.SSL_VERSION, b"TLSv1.3"), ProxyTlv(TlvType.SSL_CN, b"a.test")))
    header = ProxyHeader(2, *V4, tlvs=(told.to_tlv(),))
    read = outcome(header.to_bytes())
    assert isinstance(read, ReadProxyHeader)

    ssl = ProxySsl.parse(read.header.tlv(TlvType.SSL))

    assert ssl == told
    assert ssl.verified
    assert ssl.tlv(TlvType.SSL_CN) == b"a.test"
    assert ssl.tlv(TlvType.SSL_CIPHER) is None
    assert read.header.tlv(TlvType.AUTHORITY) is None
    assert not ProxySsl(1, 0).verified
    assert not ProxySsl(3, 1).verified


@pytest.mark.parametrize("value", [b"", b"\x01\0\0\0", b"\x01\0\0\0\0\x21\0\x05abc"], ids=repr)
def test_a_tls_tlv_that_ends_early(value):
    with pytest.raises(ValueError, match=r"5 bytes or more|reaches past"):
        ProxySsl.parse(value)


@pytest.mark.parametrize(
    ("data", "crc"),
    # RFC 3720 appendix B.4, as numbers.
    [(b"\0" * 32, 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
    ids=["zeros", "ones", "counting", "check"],
)
def test_crc32c_by_its_rfc(data, crc):
    assert crc32c(data) == crc
