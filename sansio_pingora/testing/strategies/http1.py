"""HTTP/1 messages as bytes, and the ways in which a network cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

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

_Field = tuple[bytes, bytes]

_TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VCHAR = bytes([*b"abcdefghijklmnopqrstuvwxyz0123456789", *range(0x21, 0x7F), *range(0x80, 0x100)])
# One of them for each byte: the plainest first, since hypothesis makes bytes small; and blanks to fill it up.
_AS_VALUE = (bytes(dict.fromkeys(_VCHAR)) + b" \t" * 17)[:256]
_PCHAR = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@"

# Fields that steer framing, routing or the connection: the strategies for messages place them on purpose.
_STEERING = frozenset(
    b"connection content-length expect host keep-alive proxy-connection te trailer"
    b" transfer-encoding upgrade http2-settings".split()
)

# All strategies here are made once: hypothesis checks each that is made, which took most of the time of a draw.
_KNOWN_NAMES = [b"Accept", b"accept-encoding", b"User-Agent", b"COOKIE", b"X-Forwarded-For", b"Via", b"x"]
_NAMES = (st.sampled_from(_KNOWN_NAMES) | st.text(_TCHAR, min_size=1, max_size=20).map(str.encode)).map(
    lambda name: b"X-" + name if name.lower() in _STEERING else name
)
_VALUES = st.binary(max_size=40).map(lambda raw: raw.translate(_AS_VALUE).strip(b" \t"))

# One draw for a whole target: characters that it cannot have stand for its separators and for odd segments.
_PARTS = {chr(0x2500 + at): part for at, part in enumerate([*"//////??", "/%20", "/../", "/./", "%2F", "/a%00"])}
_TARGETS = st.text(_PCHAR + "".join(_PARTS), max_size=24).map(
    lambda text: b"/" + text.translate(str.maketrans(_PARTS)).encode().removeprefix(b"/")
)


def field_names() -> st.SearchStrategy[bytes]:
    """Names of fields, but for those that steer framing, routing or the connection."""
    return _NAMES


def field_values() -> st.SearchStrategy[bytes]:
    """Values of fields: blanks and bytes beyond ASCII inside, no outer blanks, perhaps empty."""
    return _VALUES


def targets() -> st.SearchStrategy[bytes]:
    """Request targets in origin-form."""
    return _TARGETS


_TRICKY = [b"", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00"]
_LARGE = st.tuples(st.binary(min_size=1, max_size=8), st.integers(100, 600)).map(lambda pair: pair[0] * pair[1])
_BODIES = st.binary(max_size=64) | st.sampled_from(_TRICKY) | _LARGE


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies: empty, short, such as look like framing, and some of several KiB."""
    return _BODIES


_TRAILERS = st.lists(st.tuples(_NAMES.map(lambda name: b"X-" + name), _VALUES), max_size=3)
_EXTENSIONS = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"', b';a="\\"";b'])


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


_EVERY = (CutAt([]), CutEvery(1), CutEvery(2), CutEvery(3), CutEvery(7))
_SIZES = st.lists(st.integers(1, 4096), max_size=12)


@st.composite
def cuts(draw: st.DrawFn) -> CutAt | CutEvery:
    """Ways to cut: a :class:`CutAt` or :class:`CutEvery`. They shrink to leaving bytes whole, or to single bytes."""
    # One number: what was found with a cut at one place is tried with cuts everywhere, which outlast any other change.
    kind = draw(_KINDS)
    return _EVERY[kind] if kind < len(_EVERY) else CutAt(draw(_SIZES))


_KINDS = st.integers(0, 8)


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


_CHUNKINGS = st.builds(Chunking, cuts(), _EXTENSIONS, _TRAILERS)
_CHUNKED = st.tuples(_BODIES, _CHUNKINGS).map(lambda pair: pair[1](pair[0]))


def chunkings() -> st.SearchStrategy[Chunking]:
    """Ways to put a body into chunks. They shrink to one chunk, without extension and trailers."""
    return _CHUNKINGS


def chunked(body: bytes | None = None) -> st.SearchStrategy[bytes]:
    """*body*, or an arbitrary one, in chunks, with extensions and trailers now and then."""
    if body is None:
        return _CHUNKED
    return _CHUNKINGS.map(lambda chunking: chunking(body))


def _lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b:%b%b\r\n" % (name, b" " if value else b"", value) for name, value in fields)


_FIELD = st.tuples(_NAMES, _VALUES)

# hypothesis leaves out up to five draws in one go, and finds it hard to leave out more. A plain request has no more,
# with the one that says that it is there: one number for the choices among few (its digits are bits, so that it is made
# small digit by digit), the target, no field, and no body.
_METHODS = [b"GET", b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH"]
_METHODS += [b"HEAD", b"POST", b"POST", b"PUT", b"OPTIONS", b"OPTIONS *", b"M-SEARCH", b"PATCH"]
_HOSTS = [
    b"example.com",
    b"a",
    b"127.0.0.1:8080",
    b"[::1]",
    b"[::1]:80",
    b"xn--bcher-kva.example:65535",
    b"a:80",
    b"b.c",
]
_CHOICES = st.integers(0, (1 << 13) - 1)


def _placed(fields: list[_Field], field: _Field, place: int) -> list[_Field]:
    return [*fields[:place], field, *fields[place:]]


class _Request(NamedTuple):
    head: bytes
    """Without the empty line."""
    body: bytes

    def whole(self) -> bytes:
        return self.head + b"\r\n" + self.body

    def closing(self, closes: bool) -> _Request:
        return self._replace(head=self.head + b"Connection: close\r\n") if closes else self


def _requested(choices: int, target: bytes, fields: list[_Field], framed: tuple[_Field | None, bytes]) -> _Request:
    method, host = _METHODS[choices & 15], _HOSTS[choices >> 4 & 7]
    line = method if b" " in method else method + b" " + target
    fields = _placed(fields, (b"Host", host), choices >> 7 & 7)
    framing, body = framed
    if framing is not None:
        fields = _placed(fields, framing, choices >> 10 & 7)
    return _Request(b"%b HTTP/1.1\r\n%b" % (line, _lines(fields)), body)


def _framed(lengths: Sequence[bytes], codings: Sequence[bytes]) -> list[st.SearchStrategy[tuple[_Field | None, bytes]]]:
    """A body with its length, or in chunks, behind the field that says so, in these spellings."""
    return [
        st.builds(lambda name, body: ((name, b"%d" % len(body)), body), st.sampled_from(lengths), _BODIES),
        st.builds(lambda coding, body: ((b"Transfer-Encoding", coding), body), st.sampled_from(codings), _CHUNKED),
    ]


_CLOSES = st.integers(0, 4).map(lambda at: at == 4)


@cache
def _request(max_fields: int) -> st.SearchStrategy[_Request]:
    none = st.just((None, b""))
    framings = st.one_of(none, none, *_framed([b"Content-Length", b"content-length"], [b"chunked", b"Chunked"]))
    return st.builds(_requested, _CHOICES, _TARGETS, st.lists(_FIELD, max_size=max_fields), framings)


@cache
def _pipeline(max_fields: int) -> st.SearchStrategy[list[_Request]]:
    return st.lists(_request(max_fields), min_size=1, max_size=5)


def _one_request(draw: st.DrawFn, keep_alive: bool, max_fields: int) -> _Request:
    request = draw(_request(max_fields))
    return request if keep_alive else request.closing(draw(_CLOSES))


@st.composite
def http1_requests(draw: st.DrawFn, *, keep_alive: bool = False, max_fields: int = 6) -> bytes:
    """One legal request. *keep_alive*: another may follow it on the connection; *max_fields*: beside those it needs.

    Stories of many requests are found and made small many times faster with few fields.
    """
    return _one_request(draw, keep_alive, max_fields).whole()


@st.composite
def http1_request_heads(draw: st.DrawFn, *, keep_alive: bool = False, max_fields: int = 6) -> bytes:
    """The head of a legal request, up to its empty line; it may say that a body follows."""
    return _one_request(draw, keep_alive, max_fields).head + b"\r\n"


_STATUSES = [200, 200, 201, 204, 206, 301, 304, 404, 500, 599]
_REASONS = [b"OK", b"", b"Not quite so", b"caf\xe9"]


def _responded(
    status: int, reason: bytes, fields: list[_Field], framed: tuple[_Field | None, bytes], place: int
) -> tuple[bytes, bytes]:
    """A final head and its body."""
    framing, body = (None, b"") if status in (204, 304) else framed
    if framing is not None:
        fields = _placed(fields, framing, place)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, _lines(fields)), body


_RESPONSES = st.builds(
    _responded,
    st.sampled_from(_STATUSES),
    st.sampled_from(_REASONS),
    st.lists(_FIELD, max_size=6),
    st.one_of(*_framed([b"Content-Length"], [b"chunked"]), st.tuples(st.none(), _BODIES)),
    st.integers(0, 6),
)
_1XX = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
_EARLY = st.lists(st.sampled_from(_1XX), max_size=2)


@st.composite
def http1_response_heads(draw: st.DrawFn) -> bytes:
    """The head of a legal final response to a GET, up to its empty line; it may say that a body follows."""
    return draw(_RESPONSES)[0]


@st.composite
def http1_responses(draw: st.DrawFn) -> bytes:
    """One legal response to a GET, perhaps with 1xx heads before it; some last until the close."""
    return b"".join([*draw(_EARLY), *draw(_RESPONSES)])


@st.composite
def http1_pipelines(draw: st.DrawFn, *, max_fields: int = 6) -> bytes:
    """One to five legal requests in a row, as one client sends them; *max_fields* of each, beside those it needs."""
    *first, last = draw(_pipeline(max_fields))
    return b"".join([*map(_Request.whole, first), last.closing(draw(_CLOSES)).whole()])


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
