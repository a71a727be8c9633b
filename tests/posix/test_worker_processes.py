"""The supervisor's side of worker processes: what it is led to when the system does not play along."""

from __future__ import annotations

import errno
import os
import signal
import socket

import pytest

from sansio_pingora_posix import DescriptorTable, WorkerProcesses, worker_processes
from tests.posix.harness import PATIENCE

NAME = "worker 1"
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads of pytest-xdist


class Runner:
    """In the place of a ServerRunner: what it is told."""

    def __init__(self):
        self.endings = []

    def ended(self, name, error):
        self.endings.append((name, error))

    def watch(self, sock, act):
        pass

    def forget(self, sock):
        pass

    def forget_hand_over(self):
        pass


@pytest.fixture
def launched(monkeypatch):
    """Workers whose life is the function given; killed at the end."""
    monkeypatch.setattr(worker_processes, "refuse_threads", lambda: None)
    made = []

    def launch(work, table=None):
        processes = WorkerProcesses(table or DescriptorTable(), [], work)
        made.append(processes)
        return processes

    yield launch
    for one in made:
        one.close()


def end_of(processes, runner):
    """Wait for the worker, and reap it: with what error it has ended."""
    os.waitid(os.P_PID, processes._workers[NAME].pid, os.WEXITED | os.WNOWAIT)
    processes.reap(runner)
    ((name, error),) = runner.endings
    assert name == NAME
    return error


def sleep(_number, _leash, _table):
    signal.pause()
    return 0


def descriptors():
    return sorted(os.listdir("/dev/fd"))


@pytest.mark.parametrize("call", ["fork", "socketpair"])
def test_a_start_that_fails_is_an_end_of_the_worker_alone(launched, monkeypatch, call):
    def fail(*_args):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    processes, runner = launched(sleep), Runner()
    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fork" else socket, call, fail)
        processes.start(NAME, None, runner)
    assert runner.endings == [(NAME, "no process can be started: Resource temporarily unavailable")]
    assert descriptors() == before


def test_orders_to_one_who_is_gone_are_nothing(launched):
    processes = launched(sleep)
    processes.drain(NAME, handed_over=False)
    processes.abort(NAME)


def test_killed_by_a_signal_that_has_no_name(launched):
    def work(_number, _leash, _table):
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
        return 0

    processes, runner = launched(work), Runner()
    processes.start(NAME, None, runner)
    assert end_of(processes, runner).endswith(f"was killed by signal {signal.SIGRTMIN + 6}")


def test_a_listener_that_nobody_has_taken_is_closed_in_the_worker(launched):
    table = DescriptorTable()
    with socket.create_server(("127.0.0.1", 0)) as dropped:
        table.inherit("dropped", dropped)
        processes, runner = launched(lambda *_: 0 if dropped.fileno() == -1 else 3, table), Runner()
        processes.start(NAME, None, runner)
        assert end_of(processes, runner).endswith("has ended unasked")  # with 0
        assert dropped.fileno() != -1  # here


def test_one_that_is_starting_opens_its_log_files_again(launched):
    def work(_number, leash, _table):
        leash.settimeout(PATIENCE)
        return leash.recv(1)[0]

    processes, runner = launched(work), Runner()
    processes.start(NAME, None, runner)
    processes.order_reload()  # it has read its files or will do so; see reload()
    processes.order_reopen()
    assert end_of(processes, runner).endswith(f"exit code {worker_processes._Order.REOPEN}")


def test_the_end_where_children_are_not_waited_for(launched):
    processes = launched(sleep)
    processes.start(NAME, None, Runner())
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        processes.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
