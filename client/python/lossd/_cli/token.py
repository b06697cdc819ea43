# SPDX-License-Identifier: Apache-2.0
"""`lossd token`: a bearer token, and what the server needs to know it by."""

import click

from lossd._cli.serve import server_installed


@click.command(short_help="Make a bearer token for a caller.")
@click.argument("name")
def token(name: str) -> None:
    """Makes a bearer token for the caller NAME.

    Prints the token, which is the caller's secret and stored nowhere, and the line for the server's --tokens-file, which is no secret.
    """
    with server_installed():
        from lossd_server.front.tokens import make_token
    try:
        secret, line = make_token(name)
    except ValueError as error:
        raise click.UsageError(f"NAME: {error}") from None
    click.echo(f"token, for {name} alone:\n{secret}\n\nline for the server's --tokens-file:\n{line}")
