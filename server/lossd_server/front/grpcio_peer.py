# SPDX-License-Identifier: Apache-2.0
"""The caller of a grpcio RPC: converts grpcio's description of a peer and its certificate to the form that asyncio and ssl use."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

# The types of subject alternative names: grpcio's names and those of the ssl module.
_NAME_TYPES: Final = {"peer_dns": "DNS", "peer_uri": "URI", "peer_email": "email", "peer_ip": "IP Address"}


class GrpcioPeer:
    """A connection; see callers.Peer."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.name = ""

    def info(self, name: str) -> Any:
        """`peercert` or `peername`, as asyncio.BaseTransport.get_extra_info returns them."""
        return _certificate(self._context.auth_context()) if name == "peercert" else _address(self._context.peer())


# Implementation details follow.


def _certificate(properties: Mapping[str, Iterable[bytes]]) -> dict[str, Any]:
    """The names in a verified certificate, as ssl.SSLSocket.getpeercert returns them; empty without a certificate."""
    types = {value: type_ for name, type_ in _NAME_TYPES.items() for value in properties.get(name, ())}
    names = [(types.get(value, ""), value.decode()) for value in properties.get("x509_subject_alternative_name", ())]
    common = [(("commonName", value.decode()),) for value in properties.get("x509_common_name", ())]
    return {"subjectAltName": names, "subject": common} if names or common else {}


def _address(peer: str) -> tuple[str, int] | None:
    """The host and port of "ipv4:HOST:PORT" or "ipv6:%5BHOST%5D:PORT"; None for other sockets."""
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") else None
