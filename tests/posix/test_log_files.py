from __future__ import annotations

import errno
import logging
import os
import threading

import pytest

from sansio_pingora_posix import LineFile, ReopeningHandler
from sansio_pingora_posix.log_files import rest_log_files


def test_lines_of_many_threads_arrive_whole(tmp_path):
    path = tmp_path / "log"
    file = LineFile(str(path))
    threads = [
        threading.Thread(target=lambda: [file.write(f"{number} of {100}") for number in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()

    assert sorted(path.read_text().splitlines()) == sorted([f"{number} of 100" for number in range(100)] * 4)


def test_a_file_that_was_moved_away_is_made_again(tmp_path):
    path = tmp_path / "log"
    file = LineFile(str(path))
    file.write("before")
    while not path.read_text():
        pass
    path.rename(tmp_path / "log.1")
    file.reopen()
    while not path.exists():
        pass
    file.write("after")
    file.close()

    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("before\n", "after\n")


def test_a_slow_disk_holds_nobody_up_and_what_was_thrown_away_is_counted(tmp_path, caplog):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = LineFile(pipe)
    for _ in range(130_000):
        file.write("x" * 100)
    os.set_blocking(reader, True)
    closing = threading.Thread(target=file.close)
    closing.start()
    while os.read(reader, 1_000_000):
        pass
    closing.join()
    os.close(reader)

    assert "lines were thrown away, the disk is too slow" in caplog.text


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        LineFile(str(tmp_path / "missing" / "log"))


def test_the_handler_of_the_logging_module(tmp_path):
    handler = ReopeningHandler(str(tmp_path / "log"))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.emit(logging.LogRecord("a", logging.ERROR, "", 0, "it is %s", ("so",), None))
    handler.close()

    assert (tmp_path / "log").read_text() == "ERROR it is so\n"


def test_a_line_behind_a_rest_that_came_in_the_middle_of_a_batch(tmp_path, monkeypatch):
    """The thread may see that it is to rest, and go, before it is woken for that."""
    path = tmp_path / "access.log"
    file = LineFile(str(path))
    writing, go_on = threading.Event(), threading.Event()
    put, wake = file._put, file._work.set

    def slow(data):
        writing.set()
        assert go_on.wait(10)
        put(data)

    def late():
        go_on.set()
        file._thread.join(10)
        wake()

    monkeypatch.setattr(file, "_put", slow, raising=False)
    file.write("one")
    assert writing.wait(10)
    monkeypatch.setattr(file._work, "set", late)
    file.rest()
    monkeypatch.undo()
    file.write("two")
    file.close()

    assert path.read_text() == "one\ntwo\n"


@pytest.fixture
def disk(monkeypatch):
    """Full for the descriptors in it."""
    full, real = set(), os.write

    def write(descriptor, data):
        if descriptor in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    return full


def test_a_full_disk_under_the_log_of_errors_is_told_once_and_somewhere_else(tmp_path, disk, capfd):
    path = tmp_path / "log"
    handler = ReopeningHandler(str(path))
    log = logging.getLogger("sansio_pingora")
    log.addHandler(handler)
    try:
        disk.add(handler._file._file)
        for _ in range(3):
            log.error("lost")
            handler._file.rest()
        disk.clear()
        log.error("one that fits")
        handler._file.rest()
        disk.add(handler._file._file)
        log.error("lost again")
        handler.close()
    finally:
        log.removeHandler(handler)
    assert path.read_text() == f"one that fits\n{path} can be written again; 3 lines were lost\n"
    told = f"{path} cannot be written, and lines are lost until it can: [Errno 28] No space left on device\n"
    assert capfd.readouterr().err == f"{told}{told}{path}: 1 lines were lost\n"


def test_nothing_comes_behind_the_end(tmp_path):
    path = tmp_path / "log"
    handler = ReopeningHandler(str(path))
    handler.emit(logging.LogRecord("a", logging.ERROR, "", 0, "in time", (), None))
    handler.close()
    handler.emit(logging.LogRecord("a", logging.ERROR, "", 0, "late", (), None))
    handler.reopen()
    rest_log_files()
    handler.close()
    assert path.read_text() == "in time\n"


def test_lines_wait_where_no_thread_is_to_be_had(tmp_path, monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    path = tmp_path / "log"
    file = LineFile(str(path))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        file.write("one")
    file.write("two")
    file.close()
    assert path.read_text() == "one\ntwo\n"
