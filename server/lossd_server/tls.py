# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS with certificates that are renewed while the server runs."""

import ssl
from pathlib import Path
from typing import Any, NoReturn

import grpc

from lossd_server.reloading import Reloading


def server_credentials(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> grpc.ServerCredentials:
    """TLS with this certificate chain and key, in PEM; where `client_ca_file` is given, clients need a certificate signed by it.

    Files that change are used from the next connection on, once they belong together. Raises ValueError where they cannot be
    used to begin with.
    """
    paths = [cert_file, key_file] if client_ca_file is None else [cert_file, key_file, client_ca_file]
    files = Reloading("certificates", paths, lambda: _load(cert_file, key_file, client_ca_file))
    initial = used = files.value()

    def fetch() -> Any:
        nonlocal used
        current = files.value()
        if current is used:
            return None  # gRPC keeps what it has
        used = current
        return current

    return grpc.dynamic_ssl_server_credentials(initial, fetch, require_client_authentication=client_ca_file is not None)


# Implementation details follow.


def _load(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> grpc.ServerCertificateConfiguration:
    def read() -> tuple[bytes, bytes, bytes | None]:
        return (
            _read("tls_cert_file", cert_file),
            _read("tls_key_file", key_file),
            None if client_ca_file is None else _read("tls_client_ca_file", client_ca_file),
        )

    certificate, key, client_ca = contents = read()
    _check(cert_file, key_file, client_ca)
    if read() != contents:  # what was checked is not what was read
        raise ValueError("the files are being written")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)


def _check(cert_file: Path, key_file: Path, client_ca: bytes | None) -> None:
    """gRPC itself would find out at the first handshake, and then answer none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except OSError:  # of which ssl.SSLError is a kind
        raise ValueError("tls_cert_file and tls_key_file are not a certificate and its unencrypted key in PEM") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(cadata=client_ca.decode("ascii"))
        except (OSError, ValueError):
            raise ValueError("tls_client_ca_file holds no certificates in PEM") from None


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{setting} cannot be read: {error.strerror}") from None


def _no_password() -> NoReturn:
    raise ssl.SSLError("nobody is there to ask for the key's password")
