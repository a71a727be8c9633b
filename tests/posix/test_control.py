"""The handle on a running server."""

import os
import signal
import threading

import pytest

from sansio_pingora.machine import LogLine
from sansio_pingora_posix import Control, Stop, install_signals, write_log


def test_stopping_sharpens_and_is_not_taken_back():
    control = Control()
    rung = []
    control.on_stop(lambda: rung.append(control.asked))
    control.stop()
    control.stop()
    control.stop(graceful=False)
    control.stop()
    assert rung == [Stop.GRACEFUL, Stop.NOW]


def test_who_comes_late_is_told_at_once():
    control = Control()
    control.stop()
    rung = []
    control.on_stop(lambda: rung.append(1))
    assert rung == [1]


def test_nobody_is_woken_after_the_end():
    control = Control()
    control.on_stop(lambda: pytest.fail("woken"))
    assert not control.wait(0)
    control.finish()
    control.stop()
    assert control.wait(0)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_signals(first, second):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    control = Control()
    with install_signals(control):
        os.kill(os.getpid(), first)
        assert control.asked is Stop.GRACEFUL
        os.kill(os.getpid(), second)
        assert control.asked is Stop.NOW
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def install():
        with install_signals(Control()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert seen == [before]


def test_log_lines_reach_their_logger(caplog):
    write_log(LogLine("WARNING", "100 % of it", "sansio_pingora.test"))
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("sansio_pingora.test", "WARNING", "100 % of it")
    ]
