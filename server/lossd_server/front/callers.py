# SPDX-License-Identifier: Apache-2.0
"""Who calls. Callers share the device, the memory and the connections under the names that they have here.

A caller is named by its token where there are tokens, else by its certificate where there is mutual TLS, else by the host that it
calls from: then all connections of a host are one caller, and so is whoever comes through one proxy.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from lossd_server.front.tokens import Tokens


class Peer(Protocol):
    """A connection. `name` is empty until it is asked for."""

    name: str

    def info(self, name: str) -> Any:
        """See asyncio.BaseTransport.get_extra_info."""


class Callers:
    """Names callers. `named`: by tokens, so that the names are few and may be labels of metrics."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self.named = tokens is not None

    def caller(self, peer: Peer, authorization: str | None) -> str:
        """The name of who sends a request over this connection. Raises Unauthenticated."""
        return self.anybody(peer) if self._tokens is None else self._tokens.authenticate(authorization)

    def anybody(self, peer: Peer) -> str:
        """The same where no token is needed."""
        if not peer.name:
            peer.name = _subject(peer.info("peercert")) or host_of(peer.info("peername"))
        return peer.name


def host_of(peername: Any) -> str:
    """The host of a socket's address, without its port: the address of IPv4; of IPv6 the network of 64 bits, which is one customer's."""
    if not isinstance(peername, tuple) or not peername:
        return "unix"
    address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


# Implementation details follow.


# Of a certificate's subject alternative names, the first of the first type that it has names its caller.
_NAME_TYPES: Final = ("URI", "DNS", "email", "IP Address")


def _subject(certificate: Mapping[str, Any] | None) -> str:
    """The name of a verified certificate, after its type, so that names of two types are never equal: URI:, DNS:, email:, IP Address:,
    and CN: for the common name of a certificate that has none of these.
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
