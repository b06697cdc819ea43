# SPDX-License-Identifier: Apache-2.0
"""Reserves a port that several processes will share by SO_REUSEPORT.

Any process of the same user may join such a port, even by mistake. So the port is bound exclusively first, which fails if another
process has it, and only then opened to sharing. While the reserving sockets exist, which never listen, no other supervisor, no single
server and no other user can bind the port, because that takes SO_REUSEPORT and the same user.
"""

import socket

from lossd_server import sockets


def reserve(listen: str) -> sockets.Bound:
    """Reserves HOST:PORT until the result is closed. Raises OSError as sockets.bind does."""
    bound = sockets.bind(listen)
    for each in bound.sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return bound
