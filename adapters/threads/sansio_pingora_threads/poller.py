"""Readiness: epoll itself where there is one, else the best that the selectors module finds."""

from __future__ import annotations

import select
import selectors
import socket

from sansio_pingora_posix import Watched

__all__ = ["READABLE", "WRITABLE", "EpollPoller", "SelectorPoller", "new_poller"]

# The values of EPOLLIN and EPOLLOUT, so that epoll's answers are used as they are.
READABLE = 1
WRITABLE = 4
_BATCH = 256
"""Sockets served between two looks at the clock for due timers."""


class EpollPoller:
    """Level-triggered epoll.

    Not through selectors: it has no EPOLLEXCLUSIVE, and makes two objects for every event.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.watched: dict[int, Watched] = {}
        """By descriptor."""
        self.forgotten: set[int] = set()
        """Descriptors that were forgotten since the last wait: what it said of them is void, even where one is watched
        again, as the next wait says what is true."""

    def watch(self, sock: socket.socket, read: bool, write: bool, watched: Watched) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        if not read and not write:
            # A mask of 0 would still report a hang-up, over and over.
            self.forget(sock)
            return
        mask = (READABLE if read else 0) | (WRITABLE if write else 0)
        descriptor = sock.fileno()
        if descriptor in self.watched:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
        self.watched[descriptor] = watched

    def watch_shared(self, sock: socket.socket, watched: Watched) -> None:
        """Wake one of the lanes that watch a listening socket, not all of them."""
        descriptor = sock.fileno()
        self._epoll.register(descriptor, READABLE | select.EPOLLEXCLUSIVE)
        self.watched[descriptor] = watched

    def forget(self, sock: socket.socket) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        descriptor = sock.fileno()
        if self.watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self.forgotten.add(descriptor)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """The ready descriptors with their masks, after *timeout* seconds at most."""
        self.forgotten.clear()
        return self._epoll.poll(timeout, _BATCH)

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()


class SelectorPoller:
    """The same over ``selectors.DefaultSelector``: kqueue on macOS and the BSDs."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.watched: dict[int, Watched] = {}
        """By descriptor."""
        self.forgotten: set[int] = set()
        """Descriptors that were forgotten since the last wait: what it said of them is void, even where one is watched
        again, as the next wait says what is true."""

    def watch(self, sock: socket.socket, read: bool, write: bool, watched: Watched) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        if not read and not write:
            self.forget(sock)
            return
        mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        descriptor = sock.fileno()
        if descriptor in self.watched:
            self._selector.modify(descriptor, mask)
        else:
            self._selector.register(descriptor, mask)
        self.watched[descriptor] = watched

    def watch_shared(self, sock: socket.socket, watched: Watched) -> None:
        """All lanes are woken, and those that come late find nobody."""
        self.watch(sock, True, False, watched)

    def forget(self, sock: socket.socket) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        descriptor = sock.fileno()
        if self.watched.pop(descriptor, None) is not None:
            self._selector.unregister(descriptor)
            self.forgotten.add(descriptor)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """The ready descriptors with their masks, after *timeout* seconds at most."""
        self.forgotten.clear()
        return [
            (
                key.fd,
                (READABLE if ready & selectors.EVENT_READ else 0) | (WRITABLE if ready & selectors.EVENT_WRITE else 0),
            )
            for key, ready in self._selector.select(timeout)
        ]

    def close(self) -> None:
        """Give the descriptor back."""
        self._selector.close()


def new_poller() -> EpollPoller | SelectorPoller:
    """The best poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") and hasattr(select, "EPOLLEXCLUSIVE") else SelectorPoller()
