# SPDX-License-Identifier: Apache-2.0
"""Names callers. Callers share the device, the memory and the connections, and their shares are counted under these names.

A caller is named by its token if the server has tokens, else by its certificate if the server uses mutual TLS, else by its host. Then
all connections from one host count as one caller, and so do all clients behind one proxy.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from lossd_server.front.tokens import Tokens


class Peer(Protocol):
    """A connection. `name` caches the name of its caller, and is empty until the name is first needed."""

    name: str

    def info(self, name: str) -> Any:
        """See asyncio.BaseTransport.get_extra_info."""


class Callers:
    """Names callers. `named`: names come from tokens, so they are few and may be labels of metrics."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self.named = tokens is not None

    def caller(self, peer: Peer, authorization: str | None) -> str:
        """The name of the caller that sends a request over this connection. Raises Unauthenticated."""
        return self.anybody(peer) if self._tokens is None else self._tokens.authenticate(authorization)

    def anybody(self, peer: Peer) -> str:
        """The name of the caller if the method needs no token."""
        if not peer.name:
            peer.name = _subject(peer.info("peercert")) or host_of(peer.info("peername"))
        return peer.name


def host_of(peername: Any) -> str:
    """The host of a socket's address, without its port: an IPv4 address, or the /64 network of an IPv6 address, because one customer
    usually has all of it. All Unix sockets are one host.
    """
    if not isinstance(peername, tuple) or not peername:
        return "unix"
    address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


# Implementation details follow.


# Types of subject alternative names, by precedence. The certificate's first name of the first type that it has names the caller.
_NAME_TYPES: Final = ("URI", "DNS", "email", "IP Address")


def _subject(certificate: Mapping[str, Any] | None) -> str:
    """The name in a verified certificate. Its type comes first, so that names of two types are never equal: URI:, DNS:, email:,
    IP Address:, or CN: for the common name of a certificate without any of these. Empty without a certificate.
    """
    if not certificate:
        return ""
    names: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    for wanted in _NAME_TYPES:
        for type_, value in names:
            if type_ == wanted:
                return f"{type_}:{value}"
    fields: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    return next((f"CN:{value}" for field in fields for name, value in field if name == "commonName"), "")
