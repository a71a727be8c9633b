"""No regular expression takes more than linear time, whatever it is given.

``re`` tries every way to share a run of characters between two loops that both take them:
quadratic where there are two, worse with more (CWE-1333). So between a loop that may give
back what it took and the next that could take it there has to be something else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from itertools import chain
from re import _constants as sre  # type: ignore[attr-defined]  # the parser of re itself; it has no public name
from re import _parser as parser  # type: ignore[attr-defined]  # as above

import pytest

import sansio_pingora

LOOP = 256  # repetitions; fewer cost no more than a factor
GIVES_BACK = (sre.MAX_REPEAT, sre.MIN_REPEAT)
REPEATS = (*GIVES_BACK, sre.POSSESSIVE_REPEAT)
EVERY = frozenset(range(257))  # of text, 256 stands for all that is above
CATEGORIES = {
    getattr(sre, f"CATEGORY_{name}"): re.compile(text)
    for name, text in {
        "DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W",
    }.items()
}  # fmt: skip


def patterns():
    """Every compiled pattern of a module's or a class's own, by where it stands."""
    found = {}
    for info in pkgutil.walk_packages(sansio_pingora.__path__, "sansio_pingora."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        for name, value in chain(vars(module).items(), *(vars(one).items() for one in classes)):
            if isinstance(value, re.Pattern):
                found.setdefault(value, f"{info.name}.{name}")
    return {place: pattern for pattern, place in found.items()}


FOUND = patterns()


def chars(items, ignoring_case):
    """Every character that may occur in what *items* match."""
    found = set()
    for op, arg in items:
        if op is sre.LITERAL:
            found.add(min(arg, 256))
        elif op is sre.NOT_LITERAL:
            found |= EVERY - {arg}
        elif op is sre.ANY:
            found |= EVERY
        elif op is sre.IN:
            found |= one_of(arg)
        else:
            for part in parts(op, arg):
                found |= chars(part, ignoring_case)
    if ignoring_case:
        found |= {ord(char) for code in found if code < 128 for char in chr(code).lower() + chr(code).upper()}
    return found


def one_of(members):
    found = set()
    for op, arg in members:
        if op is sre.LITERAL:
            found.add(min(arg, 256))
        elif op is sre.RANGE:
            found |= {min(code, 256) for code in range(arg[0], min(arg[1], 256) + 1)}
        elif op is sre.CATEGORY:
            found |= {code for code in range(256) if CATEGORIES[arg].match(chr(code))}
    return EVERY - found if members[0][0] is sre.NEGATE else found


def parts(op, arg):
    """The sequences within an item."""
    if op in REPEATS:
        return [arg[2]]
    if op is sre.SUBPATTERN:
        return [arg[3]]
    if op is sre.BRANCH:
        return arg[1]
    if op is sre.ATOMIC_GROUP:
        return [arg]
    if op in (sre.ASSERT, sre.ASSERT_NOT):
        return [arg[1]]
    assert op in (sre.AT, sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN), f"{op} is not known here: teach it"
    return []


def meets(items, run, ignoring_case):
    """A loop comes that could take of *run*, before anything that could not."""
    if not items:
        return False
    (op, arg), rest = items[0], items[1:]
    if op in REPEATS:
        least, most, body = arg
        if most >= LOOP and chars(body, ignoring_case) & run:
            return True
        inside = meets([*body, *rest], run, ignoring_case)
        return inside or (least == 0 and meets(rest, run, ignoring_case))
    if op is sre.AT:
        return meets(rest, run, ignoring_case)
    if op in (sre.ASSERT, sre.ASSERT_NOT):
        return meets(list(arg[1]), run, ignoring_case) or meets(rest, run, ignoring_case)
    within = parts(op, arg)
    if within:
        return any(meets([*part, *rest], run, ignoring_case) for part in within)
    return bool(chars([(op, arg)], ignoring_case) & run) and meets(rest, run, ignoring_case)


def hazards(items, behind, ignoring_case):
    """The loops of *items* that share a run with a later one; *behind* is what follows *items*."""
    found = []
    for at, (op, arg) in enumerate(items):
        rest = [*items[at + 1 :], *behind]
        if op in REPEATS:
            _, most, body = arg
            run = chars(body, ignoring_case)
            if op in GIVES_BACK and most >= LOOP and meets(rest, run, ignoring_case):
                found.append((op, arg))
            again = list(body) if most >= LOOP else []
            found += hazards(list(body), [*again, *(rest if op in GIVES_BACK else [])], ignoring_case)
            continue
        held = op in (sre.ATOMIC_GROUP, sre.ASSERT, sre.ASSERT_NOT)
        for part in parts(op, arg):
            found += hazards(list(part), [] if held else rest, ignoring_case)
    return found


def hazards_of(pattern):
    return hazards(list(parser.parse(pattern.pattern, pattern.flags)), [], bool(pattern.flags & re.IGNORECASE))


@pytest.mark.parametrize("place", FOUND)
def test_takes_linear_time(place):
    assert not hazards_of(FOUND[place]), "two loops may share a run of characters: make the first one possessive"


@pytest.mark.parametrize(
    "text",
    [
        "a*a*",
        "(a*)*",
        "(?:a|b)*[ab]+c",
        ".*x.*",
        r"[ \t]*(?:;q)?[ \t]*",
        r"[ \t]*([a-z]+)[ \t]*(?:;[ \t]*q=([01]))?[ \t]*",
        "a*(?=a*b)c",
        "a+?b?(?:c|a+)",
        "(?i)a*A*",
        r"(?:a+;?)*+",
        r"\w*\d*",
        r"[^,]*\s*,",
    ],
)
def test_those_that_do_not_are_found(text):
    assert hazards_of(re.compile(text))


@pytest.mark.parametrize(
    "text",
    ["a*b*", "a*+a*", r"[ \t]*+x?[ \t]*", "(?:;[a-z]++)*+", "a{0,9}a{0,9}", "(?>a*)a*", "a*b?c*", r"\d*[a-z]*"],
)
def test_those_that_do_are_not(text):
    assert not hazards_of(re.compile(text))


def test_there_are_patterns():
    assert len(FOUND) > 30
