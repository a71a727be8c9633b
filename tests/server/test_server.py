"""A server that does not run; whole ones: tests/adapters/test_server.py."""

from __future__ import annotations

from sansio_pingora.server import ExecutionPhase, Server


def test_what_an_observer_raises_keeps_no_phase_from_the_others():
    seen = []

    def break_down(_phase):
        raise OSError("the host of the metrics is down")

    server = Server()
    for observer in (break_down, seen.append):
        server.subscribe(observer)
    assert [str(failure) for failure in server.entered(ExecutionPhase.BOOTSTRAP)] == ["the host of the metrics is down"]
    assert seen == [server.phase] == [ExecutionPhase.BOOTSTRAP]
    assert server.previous is ExecutionPhase.SETUP
