"""Transcripts, replayed offline: whether the same calls have the same results, the shortest that differ, as a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import ndiff
from typing import Any

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http1.codec import NativeCodec
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.testing.transcripts import Step, Transcript, decode, encode, python

__all__ = ["Difference", "Unplayable", "as_test", "replay", "results", "shrink"]

_KINDS: dict[str, Callable[..., Any]] = {
    kind.__name__: kind for kind in (Http1Server, Http1Client, Http2Server, Http2Client)
}
_BEFORE = 5  # steps that are shown before one that differs


class Unplayable(ValueError):
    """The machine of a transcript cannot be made again; the text says why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay went otherwise."""

    transcript: Transcript
    """Up to the step that differs, with the results that were recorded."""
    got: Any
    """What that step gives now, encoded."""

    def __str__(self) -> str:
        """For people: the steps before it, and what differs in it."""
        *before, step = self.transcript.steps
        at = len(before)
        lines = [f"{self.transcript.machine['kind']} goes otherwise in step {at + 1}:"]
        lines += [f"      {each}" for each in before[-_BEFORE:]]
        lines.append(f"  --> {step}")
        diff = ndiff(_pretty(step.result), _pretty(self.got))
        lines += [f"      {line}" for line in diff if not line.startswith("?")]
        return "\n".join([*lines, "      (- as recorded, + as it is now)"])


def replay(transcript: Transcript) -> Difference | None:
    """The first difference between what *transcript* says and what our machines do now; None: there is none.

    :raises Unplayable: its machine cannot be made again.
    """
    for at, got in enumerate(_run(transcript)):
        if got != transcript.steps[at].result:
            return Difference(replace(transcript, steps=transcript.steps[: at + 1]), got)
    return None


def results(transcript: Transcript) -> Transcript:
    """*transcript* with the results that its calls have now.

    :raises Unplayable: its machine cannot be made again.
    """
    found = _run(transcript)
    pairs = zip(transcript.steps, found, strict=False)
    return replace(transcript, steps=tuple(replace(step, result=result) for step, result in pairs))


def shrink(difference: Difference) -> Transcript:
    """As few of the steps as lead to the same last result, with the results that they have now."""
    transcript = difference.transcript
    last = transcript.steps[-1]
    kept = list(transcript.steps[:-1])

    def leads_there(steps: Sequence[Step]) -> bool:
        found = _run(replace(transcript, steps=(*steps, last)))
        return len(found) == len(steps) + 1 and found[-1] == difference.got

    size = max(1, len(kept) // 2)
    while kept and leads_there(kept):
        at = 0
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if leads_there(fewer):
                kept = fewer
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return results(replace(transcript, steps=(*kept, last)))


def as_test(transcript: Transcript, name: str = "replayed") -> str:
    """A test to paste: the calls of *transcript*, and that they have the results that it says."""
    machine = transcript.machine
    body = [f"    connection = {_made(machine)}"]
    for step in transcript.steps:
        if step.call == "data_to_send":
            body.append(f'    assert b"".join(connection.data_to_send()) == {decode(step.result or "")!r}')
        elif isinstance(step.result, dict) and "raises" in step.result:
            body += ["    with pytest.raises(Exception) as raised:", f"        connection.{step}"]
            body.append(f"    assert repr(raised.value) == {step.result['raises']!r}")
        elif isinstance(step.result, list):
            body.append(f"    assert encode(connection.{step}) == {step.result!r}")
        else:
            body.append(f"    connection.{step}")
    text = "\n".join(body)
    tasks = ("Body", "Done", "Failed", "Fields", "Header", "RequestHeader", "ResponseHeader", "Trailer", "UpgradedBody")
    wire = [task for task in tasks if f"{task}(" in text]
    lines = ["import pytest"] if "pytest." in text else []
    if "Error(" in text:
        lines.append("from sansio_pingora.errors import Error, ErrorType")
    package = "http1" if machine["kind"].startswith("Http1") else "http2"
    lines.append(f"from sansio_pingora.{package} import {machine['kind']}")
    if "NativeCodec(" in text:
        lines.append("from sansio_pingora.http1.codec import NativeCodec")
    lines.append("from sansio_pingora.limits import Limits")
    if "encode(" in text:
        lines.append("from sansio_pingora.testing.transcripts import encode")
    if wire:
        lines.append(f"from sansio_pingora.wire import {', '.join(wire)}")
    return "\n".join([*lines, "", "", f"def test_{name}():", text, ""])


def _made(machine: Mapping[str, Any]) -> str:
    limits = ", ".join(f"{name}={value!r}" for name, value in machine["limits"].items())
    options = [f"{name}={value!r}" for name, value in machine["options"].items()]
    if any(machine.get("codec", {}).values()):
        codec = ", ".join(f"{name}={value}" for name, value in machine["codec"].items())
        options.append(f"codec=NativeCodec(Limits({limits}), server={machine['kind'] == 'Http1Server'}, {codec})")
    return f"{machine['kind']}({', '.join([*options, f'limits=Limits({limits})'])})"


def _pretty(result: Any) -> list[str]:
    if isinstance(result, str):
        return [f"bytes: {line!r}" for line in result.splitlines(keepends=True)]
    if isinstance(result, list):
        return [_event(event) for event in result] or ["no event"]
    return [json.dumps(result)]


def _event(event: Any) -> str:
    stream, value = event
    known = isinstance(value, dict) and not {"value", "writable", "closed"} & value.keys()
    return f"{stream}: {python(value) if known else json.dumps(value)}"


def _run(transcript: Transcript) -> list[Any]:
    """What each call gives, up to the first that our machines refuse as a mistake of the caller's where none was."""
    machine = transcript.machine
    if "why" in machine or machine["kind"] not in _KINDS:
        raise Unplayable(f"this transcript cannot be replayed: {machine.get('why', machine['kind'])}")
    limits = Limits(**machine["limits"])
    options = dict(machine["options"])
    if "codec" in machine:
        options["codec"] = NativeCodec(limits, server=machine["kind"] == "Http1Server", **machine["codec"])
    connection = _KINDS[machine["kind"]](limits=limits, **options)
    found: list[Any] = []
    for step in transcript.steps:
        if step.call == "cut":
            break
        arguments = [decode(argument) for argument in step.arguments]
        named = {name: decode(value) for name, value in (step.options or {}).items()}
        try:
            told = getattr(connection, step.call)(*arguments, **named)
        except Exception as exc:
            refused = {"raises": repr(exc)}
            found.append(refused)
            if isinstance(exc, LocalProtocolError) and refused != step.result:
                break
            continue
        found.append(encode(b"".join(told) if step.call == "data_to_send" else told))
    return found
