"""Changes to an input: of bytes, of words from a dictionary, of numbers, and of parts of other inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

__all__ = ["mutated"]

_NUMBER = re.compile(rb"[0-9]+")
_INTERESTING = (b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\xff\xff\xff\xff")
_NUMBERS = (b"0", b"1", b"00", b"-1", b"+1", b"4096", b"16384", b"65535", b"65536", b"2147483648", b"9" * 19, b"9" * 30)
_MAX_SIZE = 20_000


def mutated(dice: Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """*data* with one to eight changes, seldom many."""
    for _ in range(1 << dice.choice((0, 0, 0, 1, 1, 2, 3))):
        change = dice.choice(_CHANGES)
        data = change(dice, data, others, words)
    return data[:_MAX_SIZE]


def _span(dice: Random, data: bytes) -> tuple[int, int]:
    start = dice.randrange(len(data) + 1)
    size = dice.choice((1, 1, 2, 4, 9, 30, len(data)))
    return start, min(len(data), start + dice.randint(1, max(size, 1)))


def _flip(dice: Random, data: bytes, *_: object) -> bytes:
    if not data:
        return data
    at = dice.randrange(len(data))
    return data[:at] + bytes((data[at] ^ (1 << dice.randrange(8)),)) + data[at + 1 :]


def _set(dice: Random, data: bytes, *_: object) -> bytes:
    start, _stop = _span(dice, data)
    new = dice.choice(_INTERESTING) if dice.random() < 0.5 else bytes((dice.randrange(256),))
    return data[:start] + new + data[start + len(new) :]


def _insert(dice: Random, data: bytes, *_: object) -> bytes:
    at = dice.randrange(len(data) + 1)
    new = dice.choice(_INTERESTING) if dice.random() < 0.5 else dice.randbytes(dice.choice((1, 2, 5)))
    return data[:at] + new + data[at:]


def _drop(dice: Random, data: bytes, *_: object) -> bytes:
    start, stop = _span(dice, data)
    return data[:start] + data[stop:]


def _double(dice: Random, data: bytes, *_: object) -> bytes:
    start, stop = _span(dice, data)
    at = dice.randrange(len(data) + 1)
    return data[:at] + data[start:stop] * dice.choice((1, 1, 2, 20)) + data[at:]


def _swap(dice: Random, data: bytes, *_: object) -> bytes:
    a, b = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    return data[b:] + data[a:b] + data[:a] if dice.random() < 0.3 else data[:a] + data[a:b][::-1] + data[b:]


def _cut(dice: Random, data: bytes, *_: object) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _word(dice: Random, data: bytes, _others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    if not words:
        return _insert(dice, data)
    at = dice.randrange(len(data) + 1)
    word = dice.choice(words)
    return data[:at] + word + data[at + (len(word) if dice.random() < 0.5 else 0) :]


def _number(dice: Random, data: bytes, *_: object) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return _set(dice, data)
    match = dice.choice(found)
    new = dice.choice(_NUMBERS) if dice.random() < 0.5 else b"%d" % max(int(match[0][:18]) + dice.choice((-1, 1)), 0)
    return data[: match.start()] + new + data[match.end() :]


def _splice(dice: Random, data: bytes, others: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    if not others:
        return _double(dice, data)
    other = dice.choice(others)
    start, stop = _span(dice, other)
    at = dice.randrange(len(data) + 1)
    if dice.random() < 0.5:
        return data[:at] + other[start:]
    return data[:at] + other[start:stop] + data[at:]


_CHANGES: tuple[Callable[..., bytes], ...] = (
    _flip,
    _flip,
    _set,
    _insert,
    _drop,
    _drop,
    _double,
    _swap,
    _cut,
    _word,
    _word,
    _number,
    _splice,
    _splice,
)
