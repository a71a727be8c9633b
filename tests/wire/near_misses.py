"""Bytes that nearly are what a grammar takes: legal examples, put together and damaged."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

INTERESTING = [
    b" ", b"\t", b":", b";", b"=", b",", b'"', b"\\", b"\r", b"\n", b"\r\n", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff",
    b"#", b"[", b"]", b"0", b"1", b"f", b"g", b"+", b"-", b"_", b"a", b"Z", b"@", b"%",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, examples: st.SearchStrategy[bytes]) -> bytes:
    """An example, cut, doubled, or with bytes put in, replaced or taken out, up to twice; often untouched."""
    raw = draw(examples)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        width = draw(st.integers(0, 2))
        piece = draw(st.sampled_from(INTERESTING) | st.binary(max_size=1))
        raw = raw[:at] + piece + raw[at + width :]
    return raw


def every_edit(raw: bytes) -> Iterator[bytes]:
    """*raw*, and all that one byte put in, replaced or taken out makes of it."""
    yield raw
    for at in range(len(raw) + 1):
        yield raw[:at] + raw[at + 1 :]
        for byte in range(256):
            yield raw[:at] + bytes([byte]) + raw[at:]
            yield raw[:at] + bytes([byte]) + raw[at + 1 :]


def pieces(*parts: bytes, max_size: int = 8) -> st.SearchStrategy[bytes]:
    """Any sequence of *parts*: the words of a grammar without its rules."""
    return st.lists(st.sampled_from(parts), max_size=max_size).map(b"".join)


tokens = st.sampled_from([b"GET", b"a", b"x-1", b"Host", b"!#$%&'*+-.^_`|~09azAZ"])
values = st.sampled_from([b"", b"x", b"a b", b"a\tb", b"\xe9", b"chunked", b"k, v", b"  x", b"x \t"])
targets = st.sampled_from([b"/", b"*", b"/a?b=c&d[]={}|^`", b"http://h/", b"h:1", b"/%00", b"/;=@!$'()~"])
lines = st.tuples(tokens, st.sampled_from([b":", b": "]), values).map(b"".join)
blocks = st.lists(lines, max_size=4).map(lambda many: b"".join(line + b"\r\n" for line in many))
request_lines = st.tuples(tokens, targets, st.sampled_from([b"1.0", b"1.1"])).map(lambda t: b"%b %b HTTP/%b" % t)
status_lines = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 999", b"HTTP/1.1 100 a b\t\xff"])
extensions = st.lists(
    st.sampled_from([b";a", b";a=b", b';a="b"', b';x="\\"\t;\xff"', b';a=""', b";a=1;b"]),
    max_size=3,
).map(b"".join)
chunk_lines = st.tuples(st.sampled_from([b"0", b"1f", b"FFFFFFFFFFFFFFFF", b"00010"]), extensions).map(
    lambda t: b"%b%b\r\n" % t
)
authorities = st.sampled_from(
    [b"h", b"a.b-c_d~e:80", b"[::1]", b"[::ffff:1.2.3.4]:65535", b"1.2.3.4:0", b"h:00080", b"x" * 255]
)
