# SPDX-License-Identifier: Apache-2.0
"""A port that several processes are going to share by SO_REUSEPORT, kept for them.

Such a port admits any process of the same user that asks to share it, by mistake too. So it is bound alone first, which fails if
anybody else has it, and only then opened to sharing. As long as the sockets live, which never listen, nobody binds it without
SO_REUSEPORT: no other supervisor, no server that is alone, and no other user at all.
"""

import socket

from lossd_server import sockets


def reserve(listen: str) -> sockets.Bound:
    """HOST:PORT, kept until it is closed. Raises OSError as sockets.bind does."""
    bound = sockets.bind(listen)
    for each in bound.sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return bound
