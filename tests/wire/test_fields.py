"""Fields against a plain list of pairs; what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.wire import Fields

names = st.sampled_from([b"Host", b"host", b"HOST", b"X-A", b"x-a", b"Via", b"via"])
values = st.sampled_from([b"", b"1", b"a, b", b"\xff", b"close"])
pairs = st.lists(st.tuples(names, values), max_size=6)


class AgainstPairs(RuleBasedStateMachine):
    """Every method does to the lines what the obvious loop over a list does."""

    @initialize(given_pairs=pairs, received=st.booleans())
    def start(self, given_pairs, received):
        self.fields = Fields.received(list(given_pairs)) if received else Fields(given_pairs)
        self.lines = list(given_pairs)
        self.others = []

    def values_of(self, name):
        return [value for n, value in self.lines if n.lower() == name.lower()]

    @rule(name=names, value=values)
    def append(self, name, value):
        self.fields.append(name, value)
        self.lines.append((name, value))

    @rule(name=names, value=values)
    def insert(self, name, value):
        self.fields.insert(name, value)
        same = [i for i, (n, _) in enumerate(self.lines) if n.lower() == name.lower()]
        if same:
            self.lines[same[0]] = (name, value)
            self.lines = [line for i, line in enumerate(self.lines) if i not in same[1:]]
        else:
            self.lines.append((name, value))

    @rule(name=names)
    def remove(self, name):
        had = self.values_of(name)

        assert self.fields.remove(name) == (had[0] if had else None)
        self.lines = [line for line in self.lines if line[0].lower() != name.lower()]

    @rule(dropped=st.frozensets(st.sampled_from([b"host", b"x-a", b"via", b"te"])))
    def remove_all(self, dropped):
        self.fields.remove_all(dropped)
        self.lines = [line for line in self.lines if line[0].lower() not in dropped]

    @rule(name=names, bad=st.sampled_from([b"a\r\nb", b" a", b"a\x00"]))
    def refused(self, name, bad):
        with pytest.raises(Error):
            self.fields.append(name, bad)
        with pytest.raises(Error):
            self.fields.insert(name, bad)
        with pytest.raises(Error):
            self.fields.append(name + b" ", b"x")

    @rule(keep=st.booleans())
    def copy(self, keep):
        """One is worked on, the other must not change."""
        other = self.fields.copy()
        if keep:
            self.fields, other = other, self.fields
        self.others.append((other, list(self.lines)))

    @rule(name=names)
    def look_up(self, name):
        had = self.values_of(name)

        assert self.fields.get(name) == (had[0] if had else None)
        assert self.fields.get(name.decode()) == self.fields.get(name)
        assert self.fields.get_all(name) == had
        assert (name in self.fields) == bool(had)
        self.fields.get_all(name).append(b"a list of the caller's own")

    @rule(asked=st.frozensets(st.sampled_from([b"host", b"x-a", b"via", b"te"])))
    def any_of(self, asked):
        assert self.fields.has_any(asked) == any(name.lower() in asked for name, _ in self.lines)

    @rule(name=names)
    def members(self, name):
        joined = b",".join(self.values_of(name)).lower()

        assert self.fields.tokens(name) == [m for part in joined.split(b",") if (m := part.strip(b" \t"))]

    @invariant()
    def holds_the_lines(self):
        assert self.fields.items == self.lines
        assert list(self.fields) == self.lines
        assert len(self.fields) == len(self.lines)
        assert self.fields == Fields(self.lines) == Fields.received(list(self.lines))
        assert self.fields.to_bytes() == b"".join(n + b": " + v + b"\r\n" for n, v in self.lines)

    @invariant()
    def leaves_copies_alone(self):
        for other, lines in self.others:
            assert other.items == lines
            for name, _ in lines:
                assert other.get_all(name) == [v for n, v in lines if n.lower() == name.lower()]


TestAgainstPairs = AgainstPairs.TestCase


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", ":path", "a\r\n", "é", "a\x00", b"", b"\xe9"], ids=repr)
def test_refuses_a_name_that_is_no_token(name):
    with pytest.raises(Error, match="is not a token") as caught:
        Fields([(name, "x")])

    assert caught.value.etype is ErrorType.INVALID_HTTP_HEADER


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "\ra", "a\x00", " a", "a ", "\ta", "\x7f", "a\x0bb"], ids=repr)
def test_refuses_a_value_rather_than_repair_it(value):
    with pytest.raises(Error, match="control byte or an outer blank"):
        Fields([("name", value)])


def test_what_nobody_may_index_stays_so_in_copies():
    fields = Fields([("X-Key", "secret")])
    assert fields.never_indexed == frozenset()
    fields.never_indexed |= {b"x-key"}
    copy = fields.copy()
    copy.never_indexed |= {b"x-b"}

    assert (fields.never_indexed, copy.never_indexed) == ({b"x-key"}, {b"x-key", b"x-b"})
    assert Fields.received([(b"x-key", b"secret")]).never_indexed == frozenset()


def test_text_is_latin_1():
    fields = Fields([("Name", "é")])

    assert fields.items == [(b"Name", b"\xe9")]
    with pytest.raises(Error, match="encode it first") as caught:
        fields.append("name", "€")
    assert isinstance(caught.value.cause, UnicodeEncodeError)
    assert "€" not in fields


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(Error) as caught:
        Fields([("name", "x" * 10_000 + "\n")])

    assert len(str(caught.value)) < 300


@given(pairs, pairs)
def test_equal_when_the_lines_are(one, other):
    assert (Fields(one) == Fields(other)) == (one == other)
    assert Fields(one) != one


def test_cannot_be_hashed_and_shows_its_lines():
    with pytest.raises(TypeError):
        hash(Fields())
    assert repr(Fields([("A", "b")])) == "Fields([(b'A', b'b')])"
