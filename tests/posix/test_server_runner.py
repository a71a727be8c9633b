"""A run without services, in which a hand-over meets what the system may say."""

from __future__ import annotations

import threading

import pytest

from sansio_pingora.server import ExecutionPhase, ServerLifecycle, ShutdownSignal
from sansio_pingora.services import Service, ServiceGraph
from sansio_pingora_posix import DescriptorTable, HandOverFailed, ServerRunner, ServiceThreads, server_runner


class Launcher:
    def admit(self):
        pass


def no_thread(_thread):
    raise RuntimeError("can't start new thread")


def test_a_receiver_that_breaks_down_ends_the_start(tmp_path, monkeypatch, caplog):
    closed = []

    class Receiver:
        def __init__(self, path, owner):
            pass

        def receive(self, timeout):
            raise OSError("the descriptors are used up")

        def close(self):
            closed.append(self)

    monkeypatch.setattr(server_runner, "Receiver", Receiver)
    lifecycle = ServerLifecycle(ServiceGraph(), upgrade=True)
    runner = ServerRunner(lifecycle, Launcher(), DescriptorTable(), upgrade_sock=str(tmp_path / "up.sock"))
    assert runner.run() == 1
    assert "no sockets from the old process: the descriptors are used up" in caplog.text
    assert closed


def no_descriptor(*_args, **_options):
    raise HandOverFailed("Too many open files")


@pytest.mark.parametrize(
    ("what", "by", "text"),
    [
        ((server_runner, "Sender"), no_descriptor, "Too many open files"),
        ((threading.Thread, "start"), no_thread, "can't start new thread"),
    ],
)
def test_a_hand_over_that_cannot_begin_changes_nothing(tmp_path, monkeypatch, caplog, what, by, text):
    phases = []

    def enter(phase):
        phases.append(phase)
        if phase is ExecutionPhase.RUNNING:
            is_first = phases.count(phase) == 1
            runner.signal(ShutdownSignal.GRACEFUL_UPGRADE if is_first else ShutdownSignal.GRACEFUL_TERMINATE)

    lifecycle = ServerLifecycle(ServiceGraph())
    path = str(tmp_path / "up.sock")
    runner = ServerRunner(lifecycle, Launcher(), DescriptorTable(), upgrade_sock=path, on_phase=enter)
    monkeypatch.setattr(*what, by)
    assert runner.run() == 0
    assert phases.count(ExecutionPhase.RUNNING) == 2
    assert f"no hand-over, and this process goes on serving: {text}" in caplog.text


def test_a_service_that_gets_no_thread_has_failed(monkeypatch):
    class Runner:
        def ready(self, name):
            pass

        def ended(self, *said):
            endings.append(said)

    endings = []
    service = Service("web", lambda request: None)
    launcher = ServiceThreads({"web": service}, DescriptorTable(), lambda *_: None, lambda _: None)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    launcher.start("web", None, Runner())
    assert endings == [("web", "can't start new thread")]
    launcher.drain("web", handed_over=False)
