# SPDX-License-Identifier: Apache-2.0
"""A port that several processes are going to share by SO_REUSEPORT, kept for them.

Such a port admits any process of the same user that asks to share it, by mistake too. So it is bound alone first, which fails where
anybody else has it, and only then opened to sharing. As long as the sockets live, which never listen, nobody binds it without
SO_REUSEPORT: no other supervisor, no server that is alone, and no other user at all.
"""

import contextlib
import errno
import os
import socket
from types import TracebackType
from typing import Self

from lossd_server import sockets


class Reservation:
    """HOST:PORT on every address that the host's name has. `address` has the port that was found where it was 0."""

    def __init__(self, listen: str) -> None:
        """Raises OSError without an errno, as a server that cannot bind does, where the address is not to be had."""
        host, port = sockets.split(listen)
        self._sockets: list[socket.socket] = []
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, found_address in dict.fromkeys(found):
                try:
                    port = self._bind(family, (found_address[0], port, *found_address[2:]))
                except OSError as error:
                    if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        raise
            if not self._sockets:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        except OSError:
            self.close()
            raise OSError(f"cannot listen on {listen}") from None
        self.address = f"{host}:{port}"

    def close(self) -> None:
        """Gives it up."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _bind(self, family: int, to: tuple[str | int, ...]) -> int:
        with contextlib.ExitStack() as stack:
            bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server that has ended do not matter
            bound.bind(to)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            stack.pop_all()
        self._sockets.append(bound)
        return int(bound.getsockname()[1])
