"""What a configuration names outside of itself: whether it is there."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator

from sansio_pingora.server import ServerConf
from sansio_pingora.transport import SocketAddr
from sansio_pingora_posix.addresses import resolve, sockaddr
from sansio_pingora_posix.identity import Identity

__all__ = ["check_conf"]


def check_conf(conf: ServerConf, *, is_start: bool = True) -> list[str]:
    """One line for everything that would keep the server from starting; nothing is changed, and no port is taken.

    Not *is_start*: it runs already, perhaps as another user, and only what it can still take over is looked at. No name
    is looked up then: a server's thread must not wait for name servers.
    """
    if not is_start:
        return list(_of_sources(conf))
    return [
        *_of_identity(conf),
        *_of_file(conf, "error_log", conf.error_log),
        *_of_file(conf, "pid_file", conf.pid_file),
        *_of_working_directory(conf),
        *_of_path(conf, "upgrade_sock", conf.upgrade_sock),
        *_of_sources(conf),
        *_of_services(conf),
        *_of_upstreams(conf),
    ]


def _of_identity(conf: ServerConf) -> Iterator[str]:
    known = True
    for key, name in (("user", conf.user), ("group", conf.group)):
        try:
            Identity.of(**{"user": None, "group": None, key: name})
        except ValueError as exc:
            known = False
            yield f"{conf.place(key)} {exc}"
    if known and os.geteuid() != 0 and Identity.of(conf.user, conf.group).is_other:
        key = "group" if conf.user is None else "user"
        yield f"{conf.place(key)} only root can become another {key}: start it as root, or leave {key} out"


def _of_working_directory(conf: ServerConf) -> Iterator[str]:
    name = conf.working_directory
    if name is not None and not os.path.isdir(name):
        yield f"{conf.place('working_directory')} the directory {name} does not exist: make it"


def _of_file(conf: ServerConf, path: str, name: str | None) -> Iterator[str]:
    """A file that is appended to."""
    if name is None:
        return
    if os.path.isdir(name):
        yield f"{conf.place(path)} {name} is a directory: name a file in it"
    elif os.path.exists(name):
        if not os.access(name, os.W_OK):
            yield f"{conf.place(path)} {name} cannot be written by this user: change its owner or mode"
    else:
        yield from _of_directory(conf, path, name)


def _of_path(conf: ServerConf, path: str, name: str) -> Iterator[str]:
    """A Unix socket that is made."""
    try:
        mode = os.lstat(name).st_mode
    except OSError:
        yield from _of_directory(conf, path, name)
        return
    if not stat.S_ISSOCK(mode):
        yield f"{conf.place(path)} {name} is there and is no socket: remove it or choose another path"


def _of_directory(conf: ServerConf, path: str, name: str) -> Iterator[str]:
    directory = os.path.dirname(os.path.abspath(name))
    if not os.path.isdir(directory):
        yield f"{conf.place(path)} the directory {directory} does not exist: make it"
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield f"{conf.place(path)} the directory {directory} cannot be written by this user: change its owner or mode"


def _of_sources(conf: ServerConf) -> Iterator[str]:
    for key, sources in (
        ("client_bind_to_ipv4", conf.client_bind_to_ipv4),
        ("client_bind_to_ipv6", conf.client_bind_to_ipv6),
    ):
        for at, source in enumerate(sources):
            if fault := _fault_of_address(SocketAddr(source, 0)):
                yield f"{conf.place(f'{key}[{at}]')} {source}: {fault}"


def _of_services(conf: ServerConf) -> Iterator[str]:
    for at, service in enumerate(conf.services):
        for number, listener in enumerate(service.listeners):
            addr = listener.address.addr
            place = f"services[{at}].listeners[{number}]"
            if addr.path is not None:
                yield from _of_path(conf, f"{place}.uds", addr.path)
            elif fault := _fault_of_address(addr):
                yield f"{conf.place(f'{place}.tcp')} {addr}: {fault}"
        if service.access_log is not None:
            yield from _of_file(conf, f"services[{at}].access_log.path", service.access_log.path)


def _of_upstreams(conf: ServerConf) -> Iterator[str]:
    for at, service in enumerate(conf.services):
        for number, upstream in enumerate(service.upstreams):
            try:
                resolve(SocketAddr.parse(upstream.address))
            except OSError as exc:
                place = conf.place(f"services[{at}].upstreams[{number}].address")
                yield f"{place} {upstream.address}: the name cannot be resolved ({exc.strerror}): correct it"


def _fault_of_address(addr: SocketAddr) -> str | None:
    """Why nobody could listen on *addr*; that it is in use is no fault: by the server that this one is to follow."""
    try:
        family, value = sockaddr(resolve(addr)[0])
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(value)
    except socket.gaierror as exc:
        return f"the name cannot be resolved ({exc.strerror}): correct it"
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return None
        if exc.errno == errno.EADDRNOTAVAIL:
            return "no interface of this host has that address: choose one that has"
        if exc.errno == errno.EACCES:
            return "ports below 1024 need CAP_NET_BIND_SERVICE: give it, or choose another port"
        return f"{exc.strerror}: choose another address"
    return None
