"""Threads for calls that may block."""

from __future__ import annotations

import queue
import threading

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora_posix import Workers
from tests.posix.harness import PATIENCE, runtime_of
from tests.posix.machines import Asker


@pytest.fixture
def refused(monkeypatch):
    """No thread can be started while the name in it is true."""
    real = threading.Thread.start
    state = {"refused": True}

    def start(thread):
        if state["refused"] and thread.name.startswith("test-"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    return state


def test_a_thread_that_is_refused_is_none(refused):
    workers = Workers(limit=2, name="test-worker")
    for _ in range(5):
        with pytest.raises(Error, match=r"can't start new thread.*TasksMax") as caught:
            workers.submit(lambda: pytest.fail("refused"))
        assert caught.value.etype is ErrorType.INTERNAL_ERROR
    refused["refused"] = False
    run = threading.Event()
    workers.submit(run.set)
    assert run.wait(PATIENCE)
    workers.close()


def test_where_there_is_a_thread_a_call_waits_for_it(refused):
    workers = Workers(limit=2, name="test-worker")
    refused["refused"] = False
    busy, gate, second = threading.Event(), threading.Event(), threading.Event()
    workers.submit(lambda: (busy.set(), gate.wait(PATIENCE)))
    assert busy.wait(PATIENCE)
    refused["refused"] = True
    workers.submit(second.set)
    gate.set()
    assert second.wait(PATIENCE)
    workers.close()


def test_as_many_threads_as_calls_up_to_the_limit():
    workers = Workers(limit=3, name="test-worker")
    begun: queue.Queue[str] = queue.Queue()
    gate = threading.Event()
    for _ in range(5):
        workers.submit(lambda: (begun.put(threading.current_thread().name), gate.wait(PATIENCE)))
    assert {begun.get(timeout=PATIENCE) for _ in range(3)} == {"test-worker-1", "test-worker-2", "test-worker-3"}
    assert begun.empty()
    gate.set()
    for _ in range(2):
        begun.get(timeout=PATIENCE)
    workers.close()


def test_what_waits_at_the_end_is_dropped_and_its_thread_ends():
    workers = Workers(limit=1, name="test-worker")
    begun: queue.Queue[threading.Thread] = queue.Queue()
    gate = threading.Event()
    workers.submit(lambda: (begun.put(threading.current_thread()), gate.wait(PATIENCE)))
    thread = begun.get(timeout=PATIENCE)
    workers.submit(lambda: begun.put(thread))
    workers.close()
    workers.submit(lambda: begun.put(thread))
    gate.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert begun.empty()


@pytest.mark.parametrize("name", ["threads", "asyncio"])
def test_a_call_that_gets_no_thread_fails(name, monkeypatch):
    real = threading.Thread.start

    def start(thread):
        if thread.name.startswith("sansio-pingora-"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    askers = []
    runtime_of(name).run(lambda lane, now: askers.append(Asker(lane, [lambda: 1])))
    (answer,) = askers[0].answers.values()
    assert answer.etype is ErrorType.INTERNAL_ERROR
    assert "no thread can be started for a call that may block" in str(answer)
