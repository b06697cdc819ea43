# SPDX-License-Identifier: Apache-2.0
"""The command `lossd health`. It encodes grpc.health.v1 itself, so that it needs nothing beyond the client."""

from typing import Final

import click
import grpc

from lossd._cli.connection import channel_arguments, tls_options

_SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


@click.command()
@click.argument("address", default="127.0.0.1:50051")
@click.option("--timeout", default=5.0, show_default=True, metavar="SECONDS", help="Maximum time to wait for the answer.")
def health(address: str, timeout: float, **tls: str | None) -> None:
    """Asks the server at ADDRESS (default 127.0.0.1:50051) whether it is serving; exits with status 0 if it is."""
    try:
        credentials, options = channel_arguments(**tls)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    try:
        with _channel(address, credentials, options) as channel:
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
            answer = check(b"", timeout=timeout)
    except grpc.RpcError as error:
        raise click.ClickException(f"{address} does not answer: {error.code().name}") from None
    if answer != _SERVING:
        raise click.ClickException(f"{address} is not serving")
    click.echo(f"{address} is serving")


health.params += tls_options()


def _channel(address: str, credentials: grpc.ChannelCredentials | None, options: list[tuple[str, str]]) -> grpc.Channel:
    return grpc.insecure_channel(address, options) if credentials is None else grpc.secure_channel(address, credentials, options)
