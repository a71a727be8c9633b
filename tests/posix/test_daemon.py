"""Who a process is, its number in a file, its logs across a fork. A daemon whole: tests/cli/test_daemon.py."""

from __future__ import annotations

import fcntl
import os
import pwd
import resource
import signal
import threading

import pytest

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora_posix import Daemon, Identity, LineFile, PidFile, daemon
from sansio_pingora_posix.daemon import fork

ME = Identity()


def test_a_number_comes_and_goes(tmp_path):
    path = tmp_path / "pid"
    file = PidFile(str(path), ME)
    file.remove(was_up=True)
    umask = os.umask(0o077)
    try:
        file.write()
    finally:
        os.umask(umask)
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    file.remove(was_up=True)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_another_stays(tmp_path):
    path = tmp_path / "pid"
    file = PidFile(str(path), ME)
    file.write()
    path.write_text("1\n")  # a new process has taken over
    file.remove(was_up=True)
    assert path.read_text() == "1\n"


def test_who_never_was_up_puts_the_old_number_back(tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    file = PidFile(str(path), ME)
    file.write()
    file.remove(was_up=False)
    assert path.read_text() == "1\n"


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "pid").symlink_to("precious")
    PidFile(str(tmp_path / "pid"), ME).write()
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "pid").is_symlink()


def test_a_directory_that_is_not_there(tmp_path):
    file = PidFile(str(tmp_path / "no" / "pid"), ME)
    with pytest.raises(FileNotFoundError):
        file.write()
    file.remove(was_up=False)


def test_names_that_the_host_does_not_know():
    with pytest.raises(ValueError, match="no user 'nobody-here': add it"):
        Identity.of("nobody-here", None)
    with pytest.raises(ValueError, match="no group 'nobody-here': add it"):
        Identity.of(None, "nobody-here")


def test_who_it_is_already_is_no_other():
    entry = pwd.getpwuid(os.geteuid())
    identity = Identity.of(entry.pw_name, None)
    assert (identity.uid, identity.gid) == (entry.pw_uid, entry.pw_gid)
    if entry.pw_gid == os.getegid():
        assert not identity.is_other
        identity.become()
    assert not ME.is_other


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads of pytest-xdist
def test_a_start_from_a_process_with_many_descriptors_that_ignores_its_children(monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2000:
        pytest.skip("so many descriptors are not to be had here")
    monkeypatch.setattr(daemon, "refuse_threads", lambda: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2000, before[0]), before[1]))
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        made = Daemon(20.0, None, ME)
        low, made._ear = made._ear, fcntl.fcntl(made._ear, fcntl.F_DUPFD, 1500)
        os.close(low)
        if made.detach():
            made.ready()
            os._exit(0)
    finally:
        signal.signal(signal.SIGCHLD, ignored)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_daemon_is_forked_from_among_threads():
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="busy")
    thread.start()
    try:
        with pytest.raises(LocalProtocolError, match=r"here there is .*busy.*; start threads in a BackgroundService"):
            Daemon(1.0, None, ME)
    finally:
        over.set()
        thread.join()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads of pytest-xdist
def test_lines_of_both_sides_of_a_fork_arrive_once(tmp_path):
    path = tmp_path / "log"
    file = LineFile(str(path))
    file.write("before")
    child = fork()
    if child == 0:
        file.write("child")
        file.close()
        os._exit(0)
    os.waitpid(child, 0)
    file.write("parent")
    file.close()
    assert path.read_text() == "before\nchild\nparent\n"
