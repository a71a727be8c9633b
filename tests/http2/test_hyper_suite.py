"""The behaviour suite over the reference engine; what it does otherwise is in the table of differences.

The tests are those of their own modules, with the other engine in the place of the native one.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from sansio_pingora.http2.hyper import HyperHttp2Client, HyperHttp2Server
from tests.http2 import (
    runs,
    test_any_input,
    test_clocks,
    test_exchanges,
    test_flow,
    test_origin_faults,
    test_two_peers,
)
from tests.http2.differences import DIFFERENCES


def suite_of(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name.startswith("test_") and callable(value)}


# Of two peers each once has the other engine for its peer.
SUITE = [*map(suite_of, (test_any_input, test_clocks, test_exchanges, test_flow, test_origin_faults, test_two_peers))]
globals().update({name: test for tests in SUITE for name, test in tests.items()})


@pytest.fixture(autouse=True)
def the_reference_engine(monkeypatch, request):
    monkeypatch.setattr(runs, "Http2Server", HyperHttp2Server)
    monkeypatch.setattr(runs, "Http2Client", HyperHttp2Client)
    monkeypatch.setattr(test_two_peers, "Http2Server", HyperHttp2Server)
    reason = DIFFERENCES.get(request.node.name)
    if reason is not None:  # one that has gone fails the run until its row is taken out
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def test_no_test_hides_another():
    assert sum(map(len, SUITE)) == len({name for tests in SUITE for name in tests})


def test_every_difference_has_a_test(request):
    names = {item.name for item in request.session.items if item.path == request.path}
    if len(names) > len(DIFFERENCES):  # not when a few are picked
        assert DIFFERENCES.keys() <= names
