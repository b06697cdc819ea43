# SPDX-License-Identifier: Apache-2.0
"""Addresses to listen on: HOST:PORT and unix:PATH become bound sockets. No other module binds.

Every OSError keeps its errno and says "cannot listen on ADDRESS: REASON".
"""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

BACKLOG = 1024

_UNIX = "unix:"


def split(address: str) -> tuple[str, int]:
    """The host, without IPv6 brackets, and the port. Raises OSError if the address is not HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise OSError(errno.EINVAL, f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address. Host names other than localhost count as reachable by others."""
    if address.startswith(_UNIX):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Bound:
    """The non-blocking sockets of an address: one for each IP address of the host name, all on one port.

    `address` has the actual port, also if port 0 was requested.
    """

    def __init__(self, address: str, sockets: list[socket.socket], remove: Callable[[], None] | None = None) -> None:
        self.address = address
        self.sockets = sockets
        self._remove = remove

    def close(self) -> None:
        """Closes the sockets, and removes the file of a unix: address if it still belongs to them. Idempotent."""
        remove, self._remove = self._remove, None
        if remove is not None:
            remove()
        for each in self.sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def bind(address: str, *, shared: bool = False) -> Bound:
    """Binds an address. If `shared`, other processes may bind the same port in the same way (SO_REUSEPORT). Raises OSError."""
    try:
        if address.startswith(_UNIX):
            return _bind_unix(address, Path(address.removeprefix(_UNIX)))
        return _bind_inet(address, shared=shared)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror or error}") from None


# Implementation details follow.


def _bind_unix(address: str, path: Path) -> Bound:
    """Replaces only the socket of a server that has ended. Listens at once, so that other servers see that this one is alive."""
    with _locked(path.parent):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise OSError(errno.EEXIST, "a file that is not a socket is there")
            if _is_live(path):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
        with contextlib.ExitStack() as stack:
            bound = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            bound.setblocking(False)
            bound.bind(str(path))
            ours = _identity(path)
            bound.listen(BACKLOG)
            stack.pop_all()

    def remove() -> None:
        with contextlib.suppress(OSError), _locked(path.parent):
            if _identity(path) == ours:
                path.unlink()

    return Bound(address, [bound], remove)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock, so that servers check and change a path one at a time."""
    import fcntl  # Windows has neither this module nor unix: addresses

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _is_live(path: Path) -> bool:
    """Whether a process may have the socket open. Only a refused connection proves that none has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            pass
    return True


def _bind_inet(address: str, *, shared: bool) -> Bound:
    host, port = split(address)
    found = dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, _, _, _, to in found:
            # A single [::] means every address, including IPv4, as in other gRPC servers.
            ipv6_only = family == socket.AF_INET6 and not (to[0] == "::" and len(found) == 1)
            try:
                bound = _bind_one(family, (to[0], port, *to[2:]), shared=shared, ipv6_only=ipv6_only)
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # the host name has several addresses, and this machine lacks this one
                raise
            stack.enter_context(bound)
            port = int(bound.getsockname()[1])
            sockets.append(bound)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        stack.pop_all()
    return Bound(f"{address.rpartition(':')[0]}:{port}", sockets)


def _bind_one(family: int, to: tuple[str | int, ...], *, shared: bool, ipv6_only: bool) -> socket.socket:
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # despite connections of a server that has ended
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ipv6_only))
        bound.setblocking(False)
        bound.bind(to)
        stack.pop_all()
    return bound
