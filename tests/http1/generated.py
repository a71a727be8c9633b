"""Pipelines of requests, and answers, made by a seeded generator: legal ones, and such as are a step away from it.

Not hypothesis: a hundred thousand of them in a few minutes, the same on every Python.
"""

from __future__ import annotations

from random import Random

__all__ = ["cut", "mutated", "pipeline", "response"]

_METHODS = (
    b"GET",
    b"GET",
    b"GET",
    b"POST",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"M-SEARCH",
    b"get",
)
_TARGETS = (
    b"/",
    b"/a/b?c=d",
    b"/%20?",
    b"//x//y/../z/.",
    b"/a|b^c`d{e}",
    b"/" + b"p" * 300,
    b"http://b.test/x",
    b"HTTP://b.test?q",
)
_HOSTS = (b"a.test", b"a.test:80", b"[::1]:8080", b"127.0.0.1", b"my_app.test")
_FIELDS = (
    (b"Accept", b"*/*"),
    (b"X", b""),
    (b"x-Long", b"v" * 700),
    (b"Cookie", b"a=b; c=d"),
    (b"X-Obs", b"caf\xe9 \t mixed"),
    (b"!#$%&'*+-.^_`|~0", b"odd name"),
    (b"Connection", b"keep-alive"),
    (b"Connection", b"Foo, bar"),
    (b"Keep-Alive", b"timeout=5"),
    (b"TE", b"trailers"),
    (b"Via", b"1.1 x"),
    (b"X-Comma", b"a,,b, ,c"),
)
_BODIES = (
    b"",
    b"x",
    b"hello",
    b"\r\n",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\x00\xff" * 40,
    b"b" * 3000,
)
_EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b';a="b c"', b';a="\\"";b=1')
_TRAILERS = ((b"X-Sum", b"1"), (b"etag", b'"x"'), (b"x-empty", b""))


def _lines(dice: Random, fields: list[tuple[bytes, bytes]]) -> bytes:
    dice.shuffle(fields)
    blanks = (b" ", b" ", b" ", b"", b"\t", b"  \t")
    tails = (b"", b"", b"", b" ", b"\t ")
    return b"".join(b"%b:%b%b%b\r\n" % (name, dice.choice(blanks), value, dice.choice(tails)) for name, value in fields)


def _chunked(dice: Random, body: bytes) -> bytes:
    out = b""
    while body:
        size = dice.randint(1, min(len(body), dice.choice((3, 100, 5000))))
        spelled = b"%x" % size if dice.random() < 0.7 else b"%04X" % size
        out += b"%b%b\r\n%b\r\n" % (spelled, dice.choice(_EXTENSIONS), body[:size])
        body = body[size:]
    trailers = dice.sample(_TRAILERS, dice.choice((0, 0, 0, 1, 2)))
    return out + b"%b%b\r\n%b\r\n" % (
        dice.choice((b"0", b"000")),
        dice.choice(_EXTENSIONS),
        _lines(dice, list(trailers)),
    )


def _request(dice: Random) -> bytes:
    method, target = dice.choice(_METHODS), dice.choice(_TARGETS)
    if method == b"OPTIONS" and dice.random() < 0.5:
        target = b"*"
    version = b"1.1" if dice.random() < 0.9 else b"1.0"
    fields = [dice.choice(_FIELDS) for _ in range(dice.choice((0, 0, 1, 2, 5)))]
    if version == b"1.1" or dice.random() < 0.5:
        fields.append((dice.choice((b"Host", b"host", b"HOST")), dice.choice(_HOSTS)))
    framing = dice.choice(("none", "none", "length", "chunked"))
    body = b""
    if framing == "length":
        body = dice.choice(_BODIES)
        fields.append((dice.choice((b"Content-Length", b"content-length")), b"%d" % len(body)))
    elif framing == "chunked" and version == b"1.1":
        body = _chunked(dice, dice.choice(_BODIES))
        fields.append((b"Transfer-Encoding", dice.choice((b"chunked", b"chunked", b"Chunked", b"CHUNKED"))))
    if dice.random() < 0.05:
        fields.append((b"Expect", b"100-continue"))
    if dice.random() < 0.05:
        fields.append((b"Connection", b"close"))
    blank = b"\r\n" if dice.random() < 0.03 else b""
    return b"%b%b %b HTTP/%b\r\n%b\r\n%b" % (blank, method, target, version, _lines(dice, fields), body)


def pipeline(dice: Random) -> bytes:
    """One to four legal requests in a row."""
    return b"".join(_request(dice) for _ in range(dice.choice((1, 1, 2, 3, 4))))


def response(dice: Random) -> bytes:
    """One legal answer to a GET, perhaps behind 1xx heads; until-close ones end with the connection."""
    early = dice.choice(
        (b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    )
    status = dice.choice((200, 200, 201, 204, 206, 301, 304, 404, 500, 599))
    fields = [dice.choice(_FIELDS) for _ in range(dice.choice((0, 1, 3)))]
    version = b"1.1" if dice.random() < 0.9 else b"1.0"
    body = b""
    framing = dice.choice(("length", "length", "chunked", "close"))
    if status in {204, 304}:
        framing = "none"
    if framing == "length":
        body = dice.choice(_BODIES)
        fields.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked" and version == b"1.1":
        body = _chunked(dice, dice.choice(_BODIES))
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif framing != "none":
        body = dice.choice(_BODIES)
    reason = dice.choice((b" OK", b" ", b"", b" Not quite so", b" caf\xe9"))
    return b"%bHTTP/%b %d%b\r\n%b\r\n%b" % (early, version, status, reason, _lines(dice, fields), body)


_SEEDS = (b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\x80", b"0", b"+", b'"')
_SWAPS = (
    (b"\r\n", b"\n"),
    (b"\r\n", b"\r"),
    (b": ", b" : "),
    (b"HTTP/1.1", b"HTTP/1.0"),
    (b"HTTP/1.1", b"HTTP/2.0"),
    (b"HTTP/1.1", b"HTTP/1.2"),
    (b"Host", b"Hos\x00t"),
    (b"Host:", b"X:"),
    (b"Content-Length: ", b"Content-Length: +"),
    (b"Content-Length", b"Content-Length: 7\r\nContent-Length"),
    (b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"),
    (b"chunked", b"chunked, identity"),
    (b"chunked", b"gzip, chunked"),
    (b"chunked", b"\x0bchunked"),
    (b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nno colon\r\n\r\n"),
    (b"\r\n\r\n", b"\r\n\r\n\r\n"),
    (b"\r\n0\r\n", b"\r\n0x0\r\n"),
    (b"\r\n0\r\n", b"\r\n-1\r\n"),
    (b"\r\n0\r\n", b"\r\n\r\n"),
    (b" /", b" "),
    (b"/", b"/\x7f"),
    (b"5\r\n", b"5 \r\n"),
    (b";a", b" ;a"),
    (b"Connection: ", b"Connection: close, "),
    (b"a.test", b"a b"),
    (b"a.test", b"u@a.test"),
)


def mutated(dice: Random, raw: bytes) -> bytes:
    """*raw* with one to three things changed; now and then it is legal still."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if not raw:
            return raw
        at = dice.randrange(len(raw))
        if dice.random() < 0.5:  # where it matters most: around the line ends
            at = dice.choice([i for i, byte in enumerate(raw[:2000]) if byte in b"\r\n: ;,/"] or [at])
        how = dice.randrange(8)
        if how == 0:
            raw = raw[:at] + bytes([raw[at] ^ (1 << dice.randrange(8))]) + raw[at + 1 :]
        elif how == 1:
            raw = raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]
        elif how == 2:
            raw = raw[:at] + dice.choice(_SEEDS) + raw[at:]
        elif how == 3:
            raw = raw[:at] + raw[at + 1 :]
        elif how == 4:
            old, new = dice.choice(_SWAPS)
            raw = raw.replace(old, new, 1)
        elif how == 5:
            lines = raw.split(b"\r\n")
            line = dice.randrange(len(lines))
            lines.insert(line, lines[dice.randrange(len(lines))] if dice.random() < 0.5 else lines[line])
            raw = b"\r\n".join(lines)
        elif how == 6:
            lines = raw.split(b"\r\n")
            del lines[dice.randrange(len(lines))]
            raw = b"\r\n".join(lines)
        else:
            raw = raw[:at]
    return raw


def cut(dice: Random, raw: bytes) -> list[bytes]:
    """*raw* in pieces: whole, in two, in a few, or in many."""
    how = dice.randrange(4)
    if how == 0 or len(raw) < 2:
        return [raw] if raw else []
    if how == 3:
        size = dice.choice((1, 2, 3, 11))
        head = raw[:600]
        return [piece for at in range(0, len(head), size) if (piece := head[at : at + size])] + (
            [raw[600:]] if raw[600:] else []
        )
    places = sorted({dice.randrange(1, len(raw)) for _ in range(1 if how == 1 else 5)})
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
