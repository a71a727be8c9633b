"""The compiled patterns take exactly what a slow, readable checker takes, and split it alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import grammar
from tests.wire import near_misses as near
from tests.wire import slow_grammar as slow
from tests.wire.near_misses import damaged, every_edit, pieces

ANY = st.binary(max_size=12)


def groups_of(pattern):
    return lambda raw: (match := pattern.fullmatch(raw)) and match.groups()


def read_head(read_line):
    def read(raw):
        parts = slow.head(raw)
        line = read_line(parts[0]) if parts else None
        return line and (*line, parts[1])

    return read


@given(damaged(near.tokens) | ANY)
def test_tokens(raw):
    assert bool(grammar.METHOD.fullmatch(raw)) == slow.is_token(raw)
    assert bool(grammar.FIELD_NAME.fullmatch(raw)) == slow.is_token(raw)


@pytest.mark.parametrize(
    ("pattern", "checker"),
    [
        pytest.param(grammar.METHOD, slow.is_token, id="token"),
        pytest.param(grammar.FIELD_VALUE, slow.is_trimmed_text, id="value"),
        pytest.param(grammar.TARGET, slow.is_target, id="target"),
        pytest.param(grammar.REASON, slow.is_text, id="reason"),
    ],
)
def test_every_byte_alone_and_between_others(pattern, checker):
    for byte in range(256):
        for raw in (b"%c" % byte, b"a%ca" % byte, b"%ca" % byte, b"a%c" % byte):
            assert bool(pattern.fullmatch(raw)) == checker(raw), raw


@given(damaged(near.values) | ANY)
def test_values(raw):
    assert bool(grammar.FIELD_VALUE.fullmatch(raw)) == slow.is_trimmed_text(raw)
    assert bool(grammar.REASON.fullmatch(raw)) == slow.is_text(raw)
    assert bool(grammar.LINE_BREAKER.search(raw)) == (not slow.is_text(raw))


@given(damaged(near.targets) | ANY)
def test_targets(raw):
    assert bool(grammar.TARGET.fullmatch(raw)) == slow.is_target(raw)


@given(damaged(near.request_lines) | pieces(b"GET", b" ", b"/", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n"))
def test_request_lines(raw):
    assert groups_of(grammar.REQUEST_LINE)(raw) == slow.request_line(raw)
    assert bool(grammar.VERSIONED_LINE.fullmatch(raw)) == slow.is_versioned_line(raw)


@given(damaged(near.status_lines) | pieces(b"HTTP/1.1", b"HTTP/1.0", b" ", b"200", b"20", b"0", b"OK", b"\t"))
def test_status_lines(raw):
    assert groups_of(grammar.STATUS_LINE)(raw) == slow.status_line(raw)


@given(damaged(near.lines))
def test_field_lines(raw):
    match = grammar.FIELD_LINE.fullmatch(raw)

    assert (match and match.groups()) == slow.field_line(raw)


@given(damaged(near.chunk_lines) | pieces(b"0", b"a", b";", b"=", b'"', b"\\", b" ", b"\r\n", max_size=10))
def test_chunk_lines(raw):
    assert groups_of(grammar.CHUNK_LINE)(raw) == slow.chunk_line(raw)


@pytest.mark.parametrize(
    ("pattern", "checker", "examples"),
    [
        pytest.param(grammar.REQUEST_LINE, slow.request_line, [b"GET / HTTP/1.1"], id="request line"),
        pytest.param(grammar.STATUS_LINE, slow.status_line, [b"HTTP/1.0 200 OK", b"HTTP/1.1 404"], id="status line"),
        pytest.param(
            grammar.CHUNK_LINE,
            slow.chunk_line,
            [b"FFFFFFFFFFFFFFFF\r\n", b"0\r\n", b'1f;a;b=c;d="e\\"f"\r\n', b'1;a=""\r\n'],
            id="chunk line",
        ),
    ],
)
def test_every_edit_of_an_example(pattern, checker, examples):
    read = groups_of(pattern)
    for example in examples:
        assert checker(example) is not None
        for raw in every_edit(example):
            assert read(raw) == checker(raw), raw


@pytest.mark.parametrize(
    ("pattern", "checker", "example"),
    [
        pytest.param(
            grammar.VERSIONED_LINE, slow.is_versioned_line, b"GET /\xe9 HTTP/9.9", id="line of another version"
        ),
        pytest.param(grammar.FIELD_LINE, lambda raw: slow.field_line(raw) is not None, b"a-b: c d", id="field line"),
    ],
)
def test_every_edit_is_taken_or_refused_alike(pattern, checker, example):
    assert checker(example)
    for raw in every_edit(example):
        assert bool(pattern.fullmatch(raw)) == checker(raw), raw


@given(pieces(b"a", b"bc", b",", b" ", b"\t", b"close", max_size=12))
def test_lists(raw):
    assert grammar.TOKEN_LIST.findall(raw) == slow.list_members(raw)


LONG = 200_000  # a pattern that is not linear in this takes hours


@pytest.mark.parametrize(
    ("pattern", "raw"),
    [
        pytest.param(grammar.FIELD_VALUE, b"a" + b" " * LONG, id="value of blanks"),
        pytest.param(grammar.FIELD_VALUE, b"a " * LONG, id="value that ends in a blank"),
        pytest.param(grammar.REQUEST_LINE, b"GET " + b"/" * LONG, id="target without end"),
        pytest.param(grammar.STATUS_LINE, b"HTTP/1.1 200 " + b" " * LONG + b"\x00", id="reason with a NUL"),
        pytest.param(grammar.FIELD_LINE, b"a:" + b" " * LONG + b"\x00", id="value with a NUL"),
        pytest.param(grammar.CHUNK_LINE, b"0" + b";a" * LONG + b" \r\n", id="extensions"),
        pytest.param(grammar.CHUNK_LINE, b'0;a="' + b"\\a" * LONG, id="quoted string without end"),
        pytest.param(grammar.CHUNK_LINE, b'0;a="' + b"\\" * LONG + b"\x00", id="backslashes"),
    ],
)
def test_refusing_is_linear(pattern, raw):
    assert pattern.fullmatch(raw) is None


@pytest.mark.parametrize("raw", [b"a" + b" " * LONG, b" " * LONG + b",", b"," * LONG, b"a ," * LONG], ids=range(4))
def test_splitting_is_linear(raw):
    assert grammar.TOKEN_LIST.findall(raw) == slow.list_members(raw)
