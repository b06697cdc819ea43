# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS with certificates that may be renewed while the server runs."""

import ssl
from pathlib import Path
from typing import NoReturn

from lossd_server.front.reloading import Reloading


def contexts(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> Reloading[ssl.SSLContext]:
    """The context that `load` returns for the current files. Get its value for every connection.

    A new context has no sessions and a new ticket key, so a client whose CA was removed cannot resume an earlier session.
    """
    paths = [cert_file, key_file] if client_ca_file is None else [cert_file, key_file, client_ca_file]
    return Reloading("certificates", paths, lambda: load(cert_file, key_file, client_ca_file))


def load(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> ssl.SSLContext:
    """A context with this certificate chain and key, in PEM. With `client_ca_file`, clients need a certificate that this CA signed.

    Raises ValueError if the files cannot be used, or if they change while they are read.
    """

    def read() -> tuple[bytes, bytes, bytes | None]:
        return (
            _read("tls_cert_file", cert_file),
            _read("tls_key_file", key_file),
            None if client_ca_file is None else _read("tls_client_ca_file", client_ca_file),
        )

    contents = read()
    context = _context(cert_file, key_file, contents[2])
    if read() != contents:  # the context may have loaded other contents
        raise ValueError("the files are being written")
    return context


# Implementation details follow.


def _context(cert_file: Path, key_file: Path, client_ca: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except OSError:  # includes ssl.SSLError
        raise ValueError("tls_cert_file and tls_key_file are not a certificate and its unencrypted key in PEM") from None
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=client_ca.decode("ascii"))
        except (OSError, ValueError):
            raise ValueError("tls_client_ca_file holds no certificates in PEM") from None
    return context


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{setting} cannot be read: {error.strerror}") from None


def _no_password() -> NoReturn:
    raise ssl.SSLError("nobody is there to ask for the key's password")
