"""The page on handlers: its examples run on every runtime, and its table has every option of ``serve()``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import urllib.request

import pytest

from sansio_pingora import serve
from sansio_pingora.apps import HttpOptions
from tests.adapters.harness import served
from tests.pages import blocks, page, run_blocks

PAGE = page("handlers.md")
NAMES = run_blocks("handlers.md", blocks(PAGE))


def fetched(url, data=None):
    with urllib.request.urlopen(url, data, timeout=20) as answer:
        return answer.read()


@pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])
def test_the_examples(runtime):
    with served(NAMES["handler"], runtime) as server:
        told = json.loads(fetched(f"http://{server.peer}/a/b?c=d", b"12345"))
    assert (told["path"], told["query"], told["size"]) == ("/a/b", "c=d", 5)
    assert told["agent"].startswith("Python-urllib")
    assert told["client"].startswith("127.0.0.1:")
    for name in ("slow", "patient"):
        with served(NAMES[name], runtime) as server:
            assert fetched(f"http://{server.peer}/") == b"later\n"


def test_no_option_is_missing():
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"(?m)^\| (`.*?) \|", PAGE))))
    named = {
        name
        for name, parameter in inspect.signature(serve).parameters.items()
        if name != "app" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert named | {option.name for option in dataclasses.fields(HttpOptions)} <= told
