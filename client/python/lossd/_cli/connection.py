# SPDX-License-Identifier: Apache-2.0
"""The TLS options of the commands."""

from pathlib import Path

import click
import grpc


def tls_options() -> list[click.Option]:
    """The options whose values `channel_arguments` takes."""
    return [
        _option("--ca", "FILE", "Use TLS, and trust the certificates in this PEM file."),
        _option("--cert", "FILE", "Certificate of this client in PEM, for a server that requires one."),
        _option("--key", "FILE", "Private key of the certificate, in PEM."),
        _option("--server-name", "NAME", "Name that the server's certificate must have; by default the host of the address."),
    ]


def channel_arguments(
    ca: str | None, cert: str | None, key: str | None, server_name: str | None
) -> tuple[grpc.ChannelCredentials | None, list[tuple[str, str]]]:
    """Credentials (None for plaintext) and options of a channel."""
    if bool(cert) != bool(key):
        raise click.UsageError("--cert and --key need each other: give both or neither")
    if ca is None:
        if cert or server_name:
            raise click.UsageError("--cert, --key and --server-name need TLS: give --ca too")
        return None, []
    credentials = grpc.ssl_channel_credentials(_read(ca), _read(key), _read(cert))
    return credentials, [] if server_name is None else [("grpc.ssl_target_name_override", server_name)]


def _option(flag: str, metavar: str, help_text: str) -> click.Option:
    return click.Option([flag], metavar=metavar, envvar=f"LOSSD_{flag[2:].replace('-', '_').upper()}", show_envvar=True, help=help_text)


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
