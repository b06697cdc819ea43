# SPDX-License-Identifier: Apache-2.0
"""Addresses to listen on: HOST:PORT, and unix:PATH for gRPC."""

import ipaddress


def split(address: str) -> tuple[str, int]:
    """Host and port. Raises OSError for what is not HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise OSError(f"{address!r} is not HOST:PORT")
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it. Of host names, localhost alone is known to."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
