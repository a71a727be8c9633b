"""HTTP/1 messages as bytes, and the ways in which a network cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from hypothesis import strategies as st

from sansio_pingora.testing.known_bad import KNOWN_BAD
from sansio_pingora.testing.messages import chunked_body

__all__ = [
    "Chunking",
    "CutAt",
    "CutEvery",
    "almost_valid_requests",
    "bodies",
    "chunked",
    "chunkings",
    "cuts",
    "field_names",
    "field_values",
    "http1_pipelines",
    "http1_request_heads",
    "http1_requests",
    "http1_response_heads",
    "http1_responses",
    "known_bad_requests",
    "targets",
]

_TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VCHAR = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
_PCHAR = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@"

# Fields that steer framing, routing or the connection: the strategies for messages place them on purpose.
_STEERING = frozenset(
    b"connection content-length expect host keep-alive proxy-connection te trailer"
    b" transfer-encoding upgrade http2-settings".split()
)

_HOSTS = st.sampled_from(
    [b"example.com", b"a", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"xn--bcher-kva.example:65535"]
)


def field_names() -> st.SearchStrategy[bytes]:
    """Names of fields, but for those that steer framing, routing or the connection."""
    known = st.sampled_from([b"Accept", b"accept-encoding", b"User-Agent", b"COOKIE", b"X-Forwarded-For", b"Via", b"x"])
    made = st.text(_TCHAR, min_size=1, max_size=20).map(str.encode)
    return (known | made).filter(lambda name: name.lower() not in _STEERING)


def field_values() -> st.SearchStrategy[bytes]:
    """Values of fields: blanks and bytes beyond ASCII inside, no outer blanks, perhaps empty."""
    inner = st.lists(st.sampled_from(_VCHAR + b" \t" * 8), max_size=40).map(bytes)
    return inner.map(lambda value: value.strip(b" \t"))


def targets() -> st.SearchStrategy[bytes]:
    """Request targets in origin-form."""
    segment = st.text(_PCHAR, max_size=8) | st.sampled_from(["%20", "..", ".", "%2F", "a%00"])
    path = st.lists(segment, max_size=4).map(lambda parts: "/" + "/".join(parts))
    query = st.none() | st.text(_PCHAR + "/?", max_size=12)
    return st.builds(lambda p, q: (p if q is None else f"{p}?{q}").encode(), path, query)


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies: empty, short, such as look like framing, and some of several KiB."""
    tricky = st.sampled_from(
        [b"", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00"]
    )
    large = st.builds(lambda piece, n: piece * n, st.binary(min_size=1, max_size=8), st.integers(100, 2000))
    return st.binary(max_size=64) | tricky | large


def _trailers() -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    names = field_names().map(lambda name: b"X-" + name)
    return st.lists(st.tuples(names, field_values()), max_size=3)


def _extensions() -> st.SearchStrategy[bytes]:
    return st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"', b';a="\\"";b'])


class Chunking:
    """Makes a chunked body of bytes: cut by *cut*, each chunk with *extension*, *trailers* behind the last."""

    def __init__(
        self, cut: CutAt | CutEvery, extension: bytes = b"", trailers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.cut = cut
        self.extension = extension
        self.trailers = trailers

    def __call__(self, body: bytes) -> bytes:
        """*body* as it is on the wire."""
        return b"".join(data for _, data in chunked_body(self.cut(body), self.trailers, self.extension))

    def __repr__(self) -> str:
        rest = f", {self.extension!r}, {self.trailers!r}" if self.extension or self.trailers else ""
        return f"Chunking({self.cut!r}{rest})"


def chunkings() -> st.SearchStrategy[Chunking]:
    """Ways to put a body into chunks. They shrink to one chunk, without extension and trailers."""
    return st.builds(Chunking, cuts(), _extensions(), _trailers())


@st.composite
def chunked(draw: st.DrawFn, body: bytes | None = None) -> bytes:
    """*body*, or an arbitrary one, in chunks, with extensions and trailers now and then."""
    whole = draw(bodies()) if body is None else body
    return draw(chunkings())(whole)


def _lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b:%b%b\r\n" % (name, b" " if value else b"", value) for name, value in fields)


def _fields(most: int = 6) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    return st.lists(st.tuples(field_names(), field_values()), max_size=most)


@st.composite
def _request(draw: st.DrawFn, keep_alive: bool, max_fields: int) -> tuple[bytes, bytes]:
    """A head and its body."""
    method = draw(
        st.sampled_from([b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"M-SEARCH"])
    )
    target = draw(targets())
    if method == b"OPTIONS" and draw(st.booleans()):
        target = b"*"
    host = draw(_HOSTS)
    fields = [*draw(_fields(max_fields)), (b"Host", host)]
    framing = draw(st.sampled_from(["none", "none", "length", "chunked"]))
    body = b""
    if framing == "length":
        body = draw(bodies())
        fields.append((draw(st.sampled_from([b"Content-Length", b"content-length"])), b"%d" % len(body)))
    elif framing == "chunked":
        body = draw(chunked())
        fields.append((b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"]))))
    if not keep_alive and draw(st.integers(0, 4)) == 4:
        fields.append((b"Connection", b"close"))
    fields = draw(st.permutations(fields))
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, _lines(fields)), body


def http1_requests(*, keep_alive: bool = False, max_fields: int = 6) -> st.SearchStrategy[bytes]:
    """One legal request. *keep_alive*: another may follow it on the connection; *max_fields*: beside those it needs.

    Stories of many requests are found and made small many times faster with few fields.
    """
    return _request(keep_alive, max_fields).map(b"".join)


def http1_request_heads(*, keep_alive: bool = False, max_fields: int = 6) -> st.SearchStrategy[bytes]:
    """The head of a legal request, up to its empty line; it may say that a body follows."""
    return _request(keep_alive, max_fields).map(itemgetter(0))


@st.composite
def _response(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A final head and its body."""
    status = draw(st.sampled_from([200, 200, 201, 204, 206, 301, 304, 404, 500, 599]))
    reason = draw(st.sampled_from([b"OK", b"", b"Not quite so", b"caf\xe9"]))
    fields = draw(_fields())
    body = b""
    if status not in (204, 304):
        framing = draw(st.sampled_from(["length", "chunked", "close"]))
        body = draw(chunked()) if framing == "chunked" else draw(bodies())
        if framing == "length":
            fields.append((b"Content-Length", b"%d" % len(body)))
        elif framing == "chunked":
            fields.append((b"Transfer-Encoding", b"chunked"))
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, _lines(draw(st.permutations(fields)))), body


def http1_response_heads() -> st.SearchStrategy[bytes]:
    """The head of a legal final response to a GET, up to its empty line; it may say that a body follows."""
    return _response().map(itemgetter(0))


@st.composite
def http1_responses(draw: st.DrawFn) -> bytes:
    """One legal response to a GET, perhaps with 1xx heads before it; some last until the close."""
    early = draw(
        st.lists(
            st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]),
            max_size=2,
        )
    )
    return b"".join([*early, *draw(_response())])


@st.composite
def http1_pipelines(draw: st.DrawFn) -> bytes:
    """One to five legal requests in a row, as one client sends them."""
    first = draw(st.lists(http1_requests(keep_alive=True), max_size=4))
    return b"".join([*first, draw(http1_requests())])


_HOSTILE = [
    (b"\r\n", b"\n"),
    (b"\r\n", b"\r"),
    (b": ", b" : "),
    (b"HTTP/1.1", b"HTTP/1.0"),
    (b"HTTP/1.1", b"HTTP/2.0"),
    (b"HTTP/1.1", b"HTTP/1.1 "),
    (b"Host", b"Hos\x00t"),
    (b"Host:", b"X:"),
    (b"Host", b"Host: twice\r\nHost"),
    (b"Content-Length: ", b"Content-Length: +"),
    (b"Content-Length", b"Content-Length: 7\r\nContent-Length"),
    (b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, identity"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding:\x0bchunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 3"),
    (b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nno colon\r\n\r\n"),
    (b"\r\n0\r\n", b"\r\n0x0\r\n"),
    (b"\r\n0\r\n", b"\r\n-1\r\n"),
    (b" /", b" "),
    (b"/", b"/\x7f"),
]


@st.composite
def almost_valid_requests(draw: st.DrawFn) -> bytes:
    """A request with one thing wrong, or made so by a changed, missing or doubled byte. A few are legal still.

    Which they are is for another reader to say, or for the same one with another cut.
    """
    raw = draw(http1_requests())
    how = draw(st.integers(0, 4))
    if how == 0:
        old, new = draw(st.sampled_from(_HOSTILE))
        return raw.replace(old, new, 1)
    at = draw(st.integers(0, len(raw) - 1))
    if how == 1:
        return raw[:at] + raw[at + 1 :]
    if how == 2:
        return raw[:at] + raw[at : at + 1] + raw[at:]
    if how == 3:
        return raw[:at] + draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
    end = raw.index(b"\r\n\r\n")
    name, value = (
        draw(st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection"])),
        draw(field_values()),
    )
    return raw[:end] + b"\r\n" + name + b": " + value + raw[end:]


def known_bad_requests() -> st.SearchStrategy[bytes]:
    """Requests that must be refused, most with another hidden behind them: see :data:`.known_bad.KNOWN_BAD`."""
    return st.sampled_from(list(KNOWN_BAD.values()))


def cuts() -> st.SearchStrategy[CutAt | CutEvery]:
    """Ways to cut: a :class:`CutAt` or :class:`CutEvery`. They shrink to leaving bytes whole."""
    at_places = st.lists(st.integers(1, 4096), max_size=12).map(CutAt)
    every = st.sampled_from([CutEvery(1), CutEvery(2), CutEvery(3), CutEvery(7)])
    return at_places | every


class CutAt:
    """Splits bytes into pieces, none of them empty: of about these sizes, and the rest in one."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def __call__(self, raw: bytes) -> list[bytes]:
        """The pieces of *raw*."""
        pieces = []
        at = 0
        for size in self.sizes:
            size = 1 + size % max(1, len(raw))  # so that short input is cut as well
            if at + size >= len(raw):
                break
            pieces.append(raw[at : at + size])
            at += size
        if raw[at:]:
            pieces.append(raw[at:])
        return pieces

    def __repr__(self) -> str:
        return f"CutAt({self.sizes!r})"


class CutEvery:
    """Splits bytes into pieces of one size; long input only at its head, since each piece costs a call."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, raw: bytes) -> list[bytes]:
        """The pieces of *raw*."""
        size = self.size
        head = raw[:1024]
        pieces = [head[at : at + size] for at in range(0, len(head), size)]
        if raw[1024:]:
            pieces.append(raw[1024:])
        return pieces

    def __repr__(self) -> str:
        return f"CutEvery({self.size})"
