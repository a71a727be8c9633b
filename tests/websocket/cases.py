"""The cases of the Autobahn test suite, by their numbers: what is sent, and what an echo has to answer."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from sansio_pingora.websocket import Closed, Pong
from sansio_pingora.websocket.frames import Opcode


class Frame(NamedTuple):
    """One frame to send; ``head`` has its first byte where that is to be a wrong one."""

    opcode: int
    data: bytes = b""
    fin: bool = True
    rsv: int = 0


class Case(NamedTuple):
    """Frames, and what comes back: messages, :class:`Pong` and :class:`Closed`."""

    frames: list[Frame]
    answer: list


TEXT, BINARY, CONT, CLOSE, PING, PONG = map(
    int, (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION, Opcode.CLOSE, Opcode.PING, Opcode.PONG)
)
BROKEN = Closed(1002)
NOT_TEXT = Closed(1007)
HELLO = Frame(TEXT, b"Hello, world!")
ASK = Frame(PING, b"ping")
END = Frame(CLOSE, b"\x03\xe8")
ENDED = Closed(1000)


def text(data: bytes, *, fin: bool = True) -> Frame:
    return Frame(TEXT, data, fin)


def more(data: bytes, *, fin: bool = False) -> Frame:
    return Frame(CONT, data, fin)


def close(code: int, reason: bytes = b"") -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason)


def fragments(opcode: int, data: bytes, size: int) -> list[Frame]:
    """*data* in fragments of *size*."""
    bounds = [*range(0, len(data), size), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds)] or [b""]
    last = len(pieces) - 1
    return [Frame(CONT if at else opcode, piece, at == last) for at, piece in enumerate(pieces)]


def echo(frames: list[Frame], *answer: object) -> Case:
    """Frames that are answered, and a closing handshake behind them."""
    return Case([*frames, END], [*answer, ENDED])


def _framing() -> dict[str, Case]:
    sizes = [0, 125, 126, 127, 128, 65_535, 65_536]
    cases = {f"1.1.{n} {size}": echo([text(b"*" * size)], "*" * size) for n, size in enumerate(sizes, 1)}
    for n, size in enumerate(sizes, 1):
        cases[f"1.2.{n} {size}"] = echo([Frame(BINARY, b"\xfe" * size)], b"\xfe" * size)
    return cases


def _pings() -> dict[str, Case]:
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    ten = [b"payload-%d" % n for n in range(10)]
    return {
        "2.1": echo([Frame(PING)], Pong(b"")),
        "2.2": echo([HELLO._replace(opcode=PING)], Pong(HELLO.data)),
        "2.3": echo([Frame(PING, binary)], Pong(binary)),
        "2.4 2.6": echo([Frame(PING, b"\xfe" * 125)], Pong(b"\xfe" * 125)),
        "2.5": Case([Frame(PING, b"\xfe" * 126)], [BROKEN]),
        "2.7": echo([Frame(PONG)]),
        "2.8": echo([Frame(PONG, b"unsolicited")]),
        "2.9": echo([Frame(PONG, b"unsolicited"), ASK], Pong(b"ping")),
        "2.10 2.11": echo([Frame(PING, data) for data in ten], *map(Pong, ten)),
    }


def _reserved() -> dict[str, Case]:
    message = "Hello, world!"
    cases = {
        "3.1": Case([HELLO._replace(rsv=1)], [BROKEN]),
        "3.2 3.3": Case([HELLO, HELLO._replace(rsv=2), ASK], [message, BROKEN]),
        "3.4": Case([HELLO, HELLO._replace(rsv=4), ASK], [message, BROKEN]),
        "3.5": Case([Frame(BINARY, b"\x00\xff", rsv=5)], [BROKEN]),
        "3.6": Case([Frame(PING, b"x", rsv=6)], [BROKEN]),
        "3.7": Case([Frame(CLOSE, rsv=7)], [BROKEN]),
    }
    for section, first in (("4.1", 3), ("4.2", 11)):
        for n in range(1, 6):
            before = [HELLO] if n in (3, 4) else []
            wrong = Frame(first + n - 1, b"payload" if n in (2, 4) else b"")
            cases[f"{section}.{n}"] = Case([*before, wrong, ASK], [*[message] * len(before), BROKEN])
    return cases


def _fragmentation() -> dict[str, Case]:
    one, two = text(b"fragment1", fin=False), more(b"fragment2", fin=True)
    whole = "fragment1fragment2"
    five = [text(b"fragment1", fin=False), *(more(b"fragment%d" % n, fin=n == 5) for n in range(2, 6))]
    pinged = [
        five[0],
        five[1],
        Frame(PING, b"pongme 1!"),
        five[2],
        five[3],
        Frame(PING, b"pongme 2!"),
        five[4],
    ]
    return {
        "5.1": Case([ASK._replace(fin=False), more(b"2", fin=True)], [BROKEN]),
        "5.2": Case([Frame(PONG, b"1", fin=False), more(b"2", fin=True)], [BROKEN]),
        "5.3 5.4 5.5": echo([one, two], whole),
        "5.6 5.7 5.8": echo([one, ASK, two], Pong(b"ping"), whole),
        "5.9 5.10 5.11": Case([more(b"non-continuation", fin=True), HELLO], [BROKEN]),
        "5.12 5.13 5.14": Case([more(b"non-continuation"), HELLO], [BROKEN]),
        "5.15": Case([one, two, more(b"fragment3"), text(b"fragment4")], [whole, BROKEN]),
        "5.16": Case([more(b"fragment1"), text(b"fragment2", fin=False), more(b"fragment3", fin=True)] * 2, [BROKEN]),
        "5.17": Case(
            [more(b"fragment1", fin=True), text(b"fragment2", fin=False), more(b"fragment3", fin=True)] * 2, [BROKEN]
        ),
        "5.18": Case([one, text(b"fragment2")], [BROKEN]),
        "5.19 5.20": echo(
            pinged, Pong(b"pongme 1!"), Pong(b"pongme 2!"), "".join(f"fragment{number}" for number in range(1, 6))
        ),
    }


VALID = [
    b"\xce\xba",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    *(b"\xf0" + bytes((0x9F + n, 0xBF, last)) for n in (0, 0x10) for last in (0xBE, 0xBF)),
    b"\xef\xbf\xb9\xef\xbf\xba\xef\xbf\xbb\xef\xbf\xbc\xef\xbf\xbd",
]
"""6.5 to 6.7, 6.9, 6.11, 6.22, 6.23."""
INVALID = [
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\xce\xba\xe1\xbd\xb9\xcf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    *(b"\x80\xbf\x80\xbf\x80\xbf\x80"[:size] for size in range(1, 8)),
    bytes(range(0x80, 0xC0)),
    b"".join(bytes((start, 0x20)) for start in range(0xC0, 0xE0)),
    b"".join(bytes((start, 0x20)) for start in range(0xE0, 0xF0)),
    b"".join(bytes((start, 0x20)) for start in range(0xF0, 0xF8)),
    *(b"%c\x20" % start for start in (0xC2, 0xE1, 0xF1, 0xF8, 0xFC)),
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    *(b"\xed" + bytes(pair) for pair in ((0xA0, 0x80), (0xAD, 0xBF), (0xAE, 0x80), (0xAF, 0xBF), (0xB0, 0x80))),
    b"\xed\xbe\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
]
"""6.6, 6.8, 6.10 to 6.21."""


def _utf8() -> dict[str, Case]:
    greeting = "Hello-µ@ßöäüàá-UTF-8!!"
    raw = greeting.encode()
    bad = "Hello-µ@ßöäüàá".encode() + b"\xed\xa0\x80edited"
    middle = [text(b"", fin=False), more(b"middle frame payload"), more(b"", fin=True)]
    cases = {
        "6.1.1": echo([text(b"")], ""),
        "6.1.2": echo([text(b"", fin=False), more(b""), more(b"", fin=True)], ""),
        "6.1.3": echo(middle, "middle frame payload"),
        "6.2.1": echo([text(raw)], greeting),
        "6.2.2": echo(fragments(TEXT, raw, 12), greeting),
        "6.2.3": echo(fragments(TEXT, raw, 1), greeting),
        "6.2.4": echo(fragments(TEXT, VALID[1], 1), VALID[1].decode()),
        "6.3.1": Case([text(bad)], [NOT_TEXT]),
        "6.3.2": Case(fragments(TEXT, bad, 1), [NOT_TEXT]),
        "6.4.1": Case([text(VALID[1], fin=False), more(b"\xf4\x90\x80\x80"), more(b"edited", fin=True)], [NOT_TEXT]),
        "6.4.2": Case(
            [text(VALID[1] + b"\xf4", fin=False), more(b"\x90"), more(b"\x80\x80edited", fin=True)], [NOT_TEXT]
        ),
    }
    for data in VALID:
        cases[f"6.* {data.hex()}"] = echo([text(data)], data.decode())
    for data in INVALID:
        cases[f"6.* {data.hex()}"] = Case([text(data)], [NOT_TEXT])
    return cases


def _closing() -> dict[str, Case]:
    big = "BAsd7&jh23" * 26_214
    cases = {
        "7.1.1": echo([HELLO], "Hello, world!"),
        "7.1.2": Case([END, END], [ENDED]),
        "7.1.3": Case([END, ASK], [ENDED]),
        "7.1.4": Case([END, HELLO], [ENDED]),
        "7.1.5": Case([text(b"fragment1", fin=False), END, more(b"fragment2", fin=True)], [ENDED]),
        "7.1.6": Case([text(big.encode()), END, ASK], [big, ENDED]),
        "7.3.1": Case([Frame(CLOSE)], [Closed(1005)]),
        "7.3.2": Case([Frame(CLOSE, b"a")], [BROKEN]),
        "7.3.3": Case([END], [ENDED]),
        "7.3.4": Case([close(1000, b"Hello, world!")], [ENDED]),
        "7.3.5": Case([close(1000, b"*" * 123)], [ENDED]),
        "7.3.6": Case([close(1000, b"*" * 124)], [BROKEN]),
        "7.5.1": Case([close(1000, VALID[1] + b"\xed\xa0\x80edited")], [NOT_TEXT]),
    }
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        cases[f"7.7 {code}"] = Case([close(code)], [Closed(code)])
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535):
        cases[f"7.9 {code}"] = Case([close(code)], [BROKEN])
        cases[f"7.13 {code} with a reason"] = Case([close(code, b"reason")], [BROKEN])
    return cases


def _sizes() -> dict[str, Case]:
    cases = {}
    for size in (1 << 16, 1 << 18, 1 << 20):
        data = (b"BAsd7&jh23" * (size // 10 + 1))[:size]
        cases[f"9.1 {size}"] = echo([text(data)], data.decode())
        cases[f"9.2 {size}"] = echo([Frame(BINARY, data)], data)
    data = b"BAsd7&jh23" * 13_107
    for size in (64, 256, 1024, 4096, 16_384, 65_536, 131_072):
        cases[f"9.3 in fragments of {size}"] = echo(fragments(TEXT, data, size), data.decode())
        cases[f"9.4 in fragments of {size}"] = echo(fragments(BINARY, data, size), data)
    cases["10.1.1"] = echo(fragments(TEXT, b"*" * 65_536, 1300), "*" * 65_536)
    return cases


CASES = {
    **_framing(),
    **_pings(),
    **_reserved(),
    **_fragmentation(),
    **_utf8(),
    **_closing(),
    **_sizes(),
}
