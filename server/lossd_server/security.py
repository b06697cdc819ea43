# SPDX-License-Identifier: Apache-2.0
"""Who may call, and over what: bearer tokens, TLS, and where the server may listen without either.

Tokens are random and long (`lossd token` makes them), so their SHA-256 is kept and compared: a file that leaks lets nobody in.
Files are read again when they change; a file that turns out wrong is reported and the last good one stays in force.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import structlog

from lossd_server.errors import Unauthenticated

T = TypeVar("T")

_TOKEN_BYTES = 32

_log = structlog.get_logger("lossd.security")


def make_token(name: str) -> tuple[str, str]:
    """A new token, and the line of the token file that admits it under this name."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return token, f"{name} {_digest(token)}"


def is_loopback(listen: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Tokens:
    """The bearer tokens of a file: lines of `NAME SHA256_HEX`; empty lines and lines that begin with # are skipped.

    Names identify callers in logs, metrics and fair shares. Raises ValueError for a file that is not of this form.
    """

    def __init__(self, path: Path) -> None:
        self._file = _Watched(path, _parse_tokens)

    def authenticate(self, authorization: str | None) -> str:
        """The name of the caller with this `authorization` value. Raises Unauthenticated."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("a bearer token is required: metadata 'authorization: Bearer TOKEN'")
        digest = _digest(token)
        found = None
        for name, expected in self._file.value():  # every line, so that the time taken tells nothing
            if hmac.compare_digest(digest, expected):
                found = name
        if found is None:
            raise Unauthenticated("the bearer token is not known")
        return found


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """TLS with this certificate chain and key, or mutual TLS where `client_ca` is given; changed files are used from the next
    connection on. Raises OSError or ValueError where the files cannot be used.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), certificate.read_bytes())], None if client_ca is None else client_ca.read_bytes()
        )

    watched = [path for path in (certificate, key, client_ca) if path is not None]
    stamps = [_stamp(path) for path in watched]

    def fetch() -> Any:  # a configuration, or None: gRPC keeps the last one
        nonlocal stamps
        try:
            current = [_stamp(path) for path in watched]
            if current == stamps:
                return None
            fresh = configuration()
        except OSError as error:
            _log.error("certificate_not_reloaded", error=type(error).__name__)
            return None
        stamps = current
        _log.info("certificate_reloaded")
        return fresh

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=client_ca is not None)


# Implementation details follow.


class _Watched(Generic[T]):
    """A parsed file, parsed again after it changed. The first parse raises what is wrong with it; later ones are logged."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self._path = path
        self._parse = parse
        self._stamp = _stamp(path)
        self._value = parse(path.read_text())

    def value(self) -> T:
        """The last good content."""
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._value = self._parse(self._path.read_text())
                _log.info("tokens_reloaded")
        except (OSError, ValueError) as error:
            _log.error("tokens_not_reloaded", error=type(error).__name__)
        return self._value


def _stamp(path: Path) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse_tokens(text: str) -> tuple[tuple[str, str], ...]:
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, digest = line.strip().partition(" ")
        digest = digest.strip().lower()
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"line {number} of the token file is not NAME SHA256_HEX")
        tokens.append((name, digest))
    if not tokens:
        raise ValueError("the token file holds no token")
    return tuple(tokens)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
