# SPDX-License-Identifier: Apache-2.0
"""Who calls. Callers share the device and the memory under the names that they have here.

A caller is named by its token where there are tokens, else by its certificate where there is mutual TLS, else by the host that it
calls from: then all connections of a host are one caller, and so is whoever comes through one proxy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

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
            peer.name = _subject(peer.info("peercert")) or _host(peer.info("peername"))
        return peer.name


# Implementation details follow.


def _subject(certificate: Mapping[str, Any] | None) -> str:
    """The first subject alternative name of a verified certificate, else its common name."""
    if not certificate:
        return ""
    for _, value in certificate.get("subjectAltName", ()):
        return str(value)
    fields: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    return next((value for field in fields for name, value in field if name == "commonName"), "")


def _host(peername: Any) -> str:
    """The address without its port."""
    return str(peername[0]) if isinstance(peername, tuple) and peername else "unix"
