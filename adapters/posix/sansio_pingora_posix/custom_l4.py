"""Connections that a program makes by itself: a socket, or anything that reads and writes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.transport import SocketAddr

__all__ = ["open_custom"]

_PIECE = 65_536


def open_custom(connect: Callable[[SocketAddr], Any], address: SocketAddr) -> socket.socket:
    """A non-blocking socket to what *connect*, which may block, has made of *address*.

    :raises Error: ``CONNECT_ERROR``: it raised, or what it returned cannot be read and written.
    """
    try:
        stream = connect(address)
    except Error:
        raise
    except Exception as exc:
        text = f"custom_l4 failed to connect to {address}: {type(exc).__name__}: {exc}"
        raise Error(ErrorType.CONNECT_ERROR, text, cause=exc, esource=ErrorSource.UPSTREAM) from exc
    # An SSLSocket is a socket below its TLS: read and written through its methods alone.
    if isinstance(stream, socket.socket) and not hasattr(stream, "do_handshake"):
        stream.setblocking(False)
        return stream
    if not (callable(getattr(stream, "read", None)) and callable(getattr(stream, "write", None))):
        text = (
            f"custom_l4 made {stream!r} of {address}: a socket, or an object with read(size) and write(data), is needed"
        )
        raise Error(ErrorType.CONNECT_ERROR, text, esource=ErrorSource.UPSTREAM)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _Bridge(stream, theirs).start()
    return ours


class _Bridge:
    """Carries bytes between a stream that blocks and a socket, in a thread for each direction."""

    def __init__(self, stream: Any, sock: socket.socket) -> None:
        self._stream = stream
        self._sock = sock
        name = "sansio-pingora-custom-l4"
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._writer = threading.Thread(target=self._write, name=name, daemon=True)

    def start(self) -> None:
        self._reader.start()
        self._writer.start()

    def _read(self) -> None:
        with contextlib.suppress(Exception):  # of the stream's own: its end; of the socket's: ours
            while data := self._stream.read(_PIECE):
                self._sock.sendall(data)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _write(self) -> None:
        with contextlib.suppress(Exception):
            while data := self._sock.recv(_PIECE):
                self._write_all(data)
            if (write_eof := getattr(self._stream, "write_eof", None)) is not None:
                write_eof()
                self._reader.join()
        if isinstance(self._stream, socket.socket):
            # Closed alone it would leave the reader waiting, and its number to whoever opens something next.
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
            self._reader.join()
        with contextlib.suppress(Exception):
            if (close := getattr(self._stream, "close", None)) is not None:
                close()
        self._reader.join()
        self._sock.close()

    def _write_all(self, data: bytes) -> None:
        while data:
            written = self._stream.write(data)
            if written is None:  # all of it
                return
            data = data[written:]
