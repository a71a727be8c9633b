"""One dial under way: a name resolved, its addresses tried, a transport made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import anyio

from sansio_pingora.machine import Dial
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora_asyncio.transport import Transport
from sansio_pingora_posix import (
    call_error,
    connect_error,
    connect_result,
    dial_socket,
    is_numeric,
    prepare_connected,
    socket_addr,
    start_connect,
    transport_info,
)

__all__ = ["Dialling"]


class Dialling:
    """Connects the endpoint of *command* in a task of its own.

    *make* lets the loop make a transport from a connected socket; *done* takes the outcome, an answer to the
    command, in the loop.
    """

    __slots__ = ("_command", "_connected", "_current", "_done", "_info", "_make", "cancelled", "task")

    _info: TransportInfo

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        command: Dial,
        make: Callable[[socket.socket, Callable[[Transport, float], None]], Awaitable[None]],
        done: Callable[[Any, float], None],
    ) -> None:
        self._command = command
        self._current = command.address
        self._make = make
        self._done = done
        self._connected = False
        self.cancelled = False
        self.task = loop.create_task(self._run())

    def cancel(self) -> None:
        """Give it up, and close what it made."""
        self.cancelled = True
        if not self._connected:  # else _made comes, and sees it
            self.task.cancel()

    async def _run(self) -> None:
        try:
            sock = await self._connect()
            self._connected = True
            await self._make(sock, self._made)
        except OSError as exc:
            self._done(connect_error(exc, self._current), monotonic())
        except Exception as exc:  # of the user's own tweak, for one
            self._done(call_error(exc), monotonic())

    async def _connect(self) -> socket.socket:
        """Pingora tries the first address alone; here ``localhost`` may be either of its two."""
        error = OSError(f"{self._command.address.host!r} has no address")
        for address in await _resolve(self._command.address):
            self._current = address
            try:
                sock = dial_socket(address, self._command.options)
            except OSError as exc:
                error = exc
                continue
            try:
                if not start_connect(sock, address):
                    await anyio.wait_writable(sock)
                    connect_result(sock)
                prepare_connected(sock, self._command.options)
                self._info = transport_info(sock, monotonic())
            except OSError as exc:
                sock.close()
                error = exc
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise error

    def _made(self, transport: Transport, now: float) -> None:
        if self.cancelled:
            transport.drop()
            return
        endpoint = self._command.endpoint
        endpoint.info = self._info
        transport.bind(endpoint)
        self._done(self._info, now)


async def _resolve(address: SocketAddr) -> list[SocketAddr]:
    if address.path is not None or is_numeric(address.host):
        return [address]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [addr for family, *_, value in found if (addr := socket_addr(value, family)) is not None]
