"""The collected hostile and valid messages give the verdict that is demanded, however they are cut."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sansio_pingora.wire import RequestHeader
from tests.http1.runs import Run, run_client, run_server, segmentations

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def load(name: str) -> list[pytest.param]:
    vectors = json.loads((VECTORS / name).read_text("utf-8"))["vectors"]
    return [pytest.param(vector, base64.b64decode(vector["b64"]), id=vector["id"]) for vector in vectors]


def outcome(run: Run) -> tuple[object, ...]:
    """What no segmentation may change. Bytes of a body that was answered before it came are told or not by when they come."""
    unread = {stream for stream, (_, _, body) in enumerate(run.seen, 1) if body is None}
    events = [event for event in run.events if event[0] not in unread or event[1] != "body"]
    return events, run.seen, run.out, run.over


@pytest.mark.parametrize(("vector", "raw"), load("h1_requests.json"))
def test_request(engine, vector, raw):
    runs = {how: run_server(pieces, engine=engine) for how, pieces in segmentations(raw)}
    first = runs["whole"]

    for how, run in runs.items():
        assert outcome(run) == outcome(first), how
    verdict(vector, first)


def verdict(vector: dict, run: Run) -> None:
    policy = vector["policy"]
    if policy == "reject" and vector.get("stage") == "wait" and not run.over:
        assert run.seen == []
        return
    if policy == "reject" or (policy == "either" and run.over and not run.seen):
        assert run.seen == []
        assert run.refused
        assert all(status >= 400 for status in run.statuses)
        return
    assert run.seen == vector["seen"]
    assert run.failures == []
    assert run.statuses == [200] * len(run.seen)


METHODS = {"ok-head-cl": "HEAD", "body-in-head": "HEAD"}


@pytest.mark.parametrize(("vector", "raw"), load("h1_responses.json"))
def test_response(engine, vector, raw):
    request = RequestHeader(METHODS.get(vector["id"], "GET"), "/", [("Host", "a.test")])
    eof = vector.get("half_close", False)
    runs = {how: run_client(pieces, engine=engine, request=request, eof=eof) for how, pieces in segmentations(raw)}
    first = runs["whole"]

    for how, run in runs.items():
        assert run.events == first.events, how
    body = b"".join(event[2] for event in first.events if event[1] == "body")
    if vector["policy"] == "reject":
        assert first.failures
    elif vector["policy"] == "accept":
        assert not first.failures
        assert first.reusable
    if first.failures:
        assert first.over
    assert b"poison" not in body  # what belongs to nobody's answer reaches nobody
    if vector["policy"] == "either" and not first.failures:
        assert not first.reusable or body == b"hello"


def test_every_verdict_is_met():
    """The files hold what the tests take for granted."""
    policies = {param.values[0]["policy"] for param in load("h1_requests.json") + load("h1_responses.json")}

    assert policies == {"reject", "either", "accept"}
