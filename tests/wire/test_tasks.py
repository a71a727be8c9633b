"""HttpTask values: equal by content, readable, with an end where the vocabulary says so."""

from __future__ import annotations

from typing import get_args

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

ERROR = Error(ErrorType.READ_ERROR, "gone")


def every_task():
    return [
        Header(RequestHeader("GET", "/"), True),
        Header(RequestHeader("GET", "/"), False),
        Header(ResponseHeader(200), False),
        Body(b"a"),
        Body(b"a", True),
        Body(b"b"),
        UpgradedBody(b"a"),
        UpgradedBody(b"a", True),
        Trailer(Fields()),
        Trailer(Fields([("a", "b")])),
        Done(),
        Failed(ERROR),
        Failed(Error(ErrorType.READ_ERROR, "gone")),
    ]


def test_the_union_is_closed_over_what_is_tested():
    assert {type(task) for task in every_task()} == set(get_args(HttpTask))


def test_equal_by_kind_and_content():
    tasks = every_task()
    for i, one in enumerate(tasks):
        for j, other in enumerate(tasks):
            assert (one == other) == (i == j)
    assert tasks[:-1] == every_task()[:-1]  # the last holds an error of its own


@pytest.mark.parametrize("task", every_task(), ids=repr)
def test_is_a_slotted_value_that_cannot_be_hashed(task):
    with pytest.raises(TypeError):
        hash(task)
    with pytest.raises(AttributeError):
        task.other = 1
    assert task != "task"


@pytest.mark.parametrize(
    ("task", "end"),
    [
        (Header(ResponseHeader(204), True), True),
        (Header(ResponseHeader(200), False), False),
        (Body(b""), False),
        (Body(b"", True), True),
        (UpgradedBody(b""), False),
        (UpgradedBody(b"", True), True),
        (Trailer(Fields()), True),
        (Done(), True),
        (Failed(ERROR), True),
    ],
    ids=repr,
)
def test_end(task, end):
    assert task.end is end


def test_for_people():
    assert repr(Body(b"ab", True)) == "Body(b'ab', True)"
    assert repr(Done()) == "Done()"
    assert repr(Header(ResponseHeader(204), True)) == "Header(<ResponseHeader 204 1.1 []>, True)"
    assert repr(Failed(ERROR)) == "Failed(<Error ReadError context: gone>)"
