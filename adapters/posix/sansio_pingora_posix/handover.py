"""Listening sockets from an old process to a new one, over a Unix socket, in two phases.

The new process listens at a path that both know; the old one connects and sends its sockets. It goes on serving until
the new one has acknowledged, which it does when every service is up; only then does the new one accept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Sequence

from sansio_pingora.server import MAX_DESCRIPTORS, Frame, FrameKind, FrameReader, encode_frame, socket_frames

__all__ = ["HandOverFailed", "Receiver", "Sender"]

_PAUSE = 1.0
"""Seconds between two attempts to connect, as in Pingora."""
_STEP = 0.2
"""Seconds between two looks at whether the hand-over was given up."""
_SILENCE = 10.0
"""Seconds for the old process to send what it has announced by connecting."""
_CROSSING = 1.0
"""Seconds after a withdrawal in which an acknowledgement that was on its way counts: the new process accepts then."""


class HandOverFailed(Exception):
    """It did not come to an end; the text says why, and what to do."""


class Receiver:
    """The new process's side. *path* is where the old one comes; *owner*: its user, where it is not this one's.

    :raises HandOverFailed: another new process waits there, or nothing can be bound there.
    """

    def __init__(self, path: str, owner: int | None = None) -> None:
        self._path = path
        self._peer: socket.socket | None = None
        try:
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise HandOverFailed(
                f"{path}.lock: {exc.strerror}; set upgrade_sock to a path that may be written"
            ) from exc
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise HandOverFailed(f"another process waits for sockets at {path}: let it finish first") from exc
            try:
                # Whoever holds the lock owns the path: what is there was left behind.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                self._listener = _listening(path, owner)
            except OSError as exc:
                raise HandOverFailed(f"{path}: {exc.strerror or exc}; set upgrade_sock to another path") from exc
        except BaseException:
            os.close(self._lock)
            raise

    def receive(self, timeout: float) -> list[tuple[str, socket.socket]]:
        """The sockets with their names. The old process waits for :meth:`acknowledge` from here on.

        :raises HandOverFailed: no old process came within *timeout* seconds, or none that made sense.
        """
        give_up = time.monotonic() + timeout
        reason = "no old process came: send SIGQUIT to it, and give both the same upgrade_sock"
        try:
            while (left := give_up - time.monotonic()) > 0:
                self._listener.settimeout(left)
                try:
                    peer, _ = self._listener.accept()
                except TimeoutError:
                    break
                except OSError as exc:  # it would be met again at once
                    raise HandOverFailed(f"nobody can be let in at {self._path}: {exc.strerror or exc}") from exc
                try:
                    _check_credentials(peer)
                    received = _receive_sockets(peer)
                except (HandOverFailed, ValueError, OSError) as exc:
                    reason = str(exc)  # not the last word: whoever it was, the old process may still come
                    peer.close()
                    continue
                self._peer = peer
                return received
        finally:
            self._listener.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        raise HandOverFailed(reason)

    def acknowledge(self) -> None:
        """Tell the old process that everything is up. It stops accepting then.

        :raises HandOverFailed: it has withdrawn meanwhile and goes on serving.
        """
        peer = self._peer
        if peer is None:
            return
        peer.setblocking(False)
        reader = FrameReader()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if any(frame.kind is FrameKind.WITHDRAWN for frame in reader.receive_data(peer.recv(65_536))):
                raise HandOverFailed("the old process has withdrawn and goes on serving")
        # An old process that has died meanwhile takes nothing, and needs nothing: its sockets are here.
        with contextlib.suppress(OSError):
            peer.sendall(encode_frame(FrameKind.ACKNOWLEDGED))

    def close(self) -> None:
        """Let go of the connection and of the path; repeated calls are harmless."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        self._listener.close()
        lock, self._lock = self._lock, -1
        if lock != -1:
            os.close(lock)


def _listening(path: str, owner: int | None) -> socket.socket:
    """:raises OSError:"""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)  # before listen: nobody gets in before
        if owner is not None:
            os.chown(path, owner, -1, follow_symlinks=False)
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


class Sender:
    """The old process's side; :meth:`run` blocks, and belongs in a thread.

    :raises HandOverFailed: no descriptor is free.
    """

    def __init__(
        self, path: str, sockets: Sequence[tuple[str, socket.socket]], *, retries: int, timeout: float
    ) -> None:
        self._path = path
        self._sockets: list[tuple[str, socket.socket]] = []
        try:
            for name, sock in sockets:  # of our own: a service that ends meanwhile closes its own
                self._sockets.append((name, sock.dup()))
        except OSError as exc:
            self.close()
            raise HandOverFailed(
                f"the sockets cannot be duplicated: {exc.strerror or exc}; raise the limit (ulimit -n)"
            ) from exc
        self._retries = retries
        self._timeout = timeout
        self._given_up = False

    def give_up(self) -> None:
        """Wait no longer, soon, since this process ends; from any thread."""
        self._given_up = True

    def run(self) -> None:
        """Send the sockets, and wait until the new process has acknowledged.

        :raises HandOverFailed: it has not; nothing has changed for this process.
        """
        try:
            with self._connect() as peer:
                try:
                    for frame, start, end in socket_frames([name for name, _ in self._sockets]):
                        socks = [sock for _, sock in self._sockets[start:end]]
                        sent = socket.send_fds(peer, [frame], [sock.fileno() for sock in socks]) if socks else 0
                        if sent < len(frame):  # behind the last byte, the new process may be up and have hung up
                            peer.sendall(frame[sent:])
                    self._await_acknowledgement(peer)
                except OSError as exc:
                    raise HandOverFailed(f"the new process is gone: {exc.strerror or exc}; see its log") from exc
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the sockets; repeated calls are harmless."""
        for _, sock in self._sockets:
            sock.close()

    def _connect(self) -> socket.socket:
        attempt = 0
        while True:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.settimeout(_SILENCE)
            try:
                peer.connect(self._path)
                _check_credentials(peer)
            except HandOverFailed:
                peer.close()
                raise
            except OSError as exc:
                peer.close()
                attempt += 1
                if attempt > self._retries:
                    raise HandOverFailed(
                        f"no new process listens at {self._path} ({exc.strerror}): start it with -u"
                    ) from exc
                self._sleep(_PAUSE)
            else:
                return peer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._given_up:
                raise HandOverFailed("it was given up")
            time.sleep(min(left, _STEP))

    def _await_acknowledgement(self, peer: socket.socket) -> None:
        reader = FrameReader()
        peer.settimeout(_STEP)
        if self._is_acknowledged(peer, reader, self._timeout):
            return
        if self._given_up:  # this process ends: without a word, the new one goes on with the sockets
            raise HandOverFailed("it was given up")
        with contextlib.suppress(OSError):
            peer.sendall(encode_frame(FrameKind.WITHDRAWN))
        with contextlib.suppress(HandOverFailed, OSError):
            if self._is_acknowledged(peer, reader, _CROSSING):
                return
        raise HandOverFailed(f"not up within {self._timeout:g} s: see its log")

    def _is_acknowledged(self, peer: socket.socket, reader: FrameReader, timeout: float) -> bool:
        """:raises HandOverFailed: the new process has hung up, or makes no sense."""
        give_up = time.monotonic() + timeout
        while not self._given_up and time.monotonic() < give_up:
            try:
                data = peer.recv(65_536)
            except TimeoutError:
                continue
            if not data:
                raise HandOverFailed("the new process ended before it was up: see its log")
            try:
                frames = reader.receive_data(data)
            except ValueError as exc:
                raise HandOverFailed(str(exc)) from exc
            if any(frame.kind is FrameKind.ACKNOWLEDGED for frame in frames):
                return True
        return False


def _receive_sockets(peer: socket.socket) -> list[tuple[str, socket.socket]]:
    reader = FrameReader()
    descriptors: list[int] = []
    names: list[str] = []
    peer.settimeout(_SILENCE)
    try:
        left = 1
        while left:
            data, more, flags, _ = socket.recv_fds(peer, 65_536, MAX_DESCRIPTORS)
            descriptors += more
            if flags & socket.MSG_CTRUNC:
                raise HandOverFailed("not every socket came through: raise the limit of open files (ulimit -n)")
            if not data:
                raise HandOverFailed("the old process ended in the middle of it")
            for frame in reader.receive_data(data):
                left = _take(frame, names)
        if len(names) != len(descriptors):
            raise HandOverFailed(f"{len(names)} names came with {len(descriptors)} sockets")
        socks = []
        while descriptors:
            sock = socket.socket(fileno=descriptors[0])
            del descriptors[0]
            os.set_inheritable(sock.fileno(), False)
            socks.append(sock)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return list(zip(names, socks, strict=True))


def _take(frame: Frame, names: list[str]) -> int:
    if frame.kind is not FrameKind.SOCKETS:
        raise HandOverFailed(f"the old process said {frame.kind.name.lower()} instead of its sockets")
    names += frame.content["names"]
    left: int = frame.content["left"]
    return left


def _check_credentials(peer: socket.socket) -> None:
    """Sockets go to, and come from, the same user or root alone."""
    if not hasattr(socket, "SO_PEERCRED"):
        return  # the file's mode lets nobody else in
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise HandOverFailed(f"process {pid} of user {uid} wanted to take part: only this user's and root's may")
