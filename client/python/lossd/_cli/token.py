# SPDX-License-Identifier: Apache-2.0
"""The command `lossd token`: makes a bearer token and the server's record of it."""

import click

from lossd._cli.serve import server_installed


@click.command(short_help="Make a bearer token for a caller.")
@click.argument("name")
def token(name: str) -> None:
    """Makes a bearer token for the caller NAME.

    Prints the token, which is the caller's secret and is stored nowhere, and a line for the server's --tokens-file, which is not secret.
    """
    with server_installed():
        from lossd_server.front.tokens import make_token
    try:
        secret, line = make_token(name)
    except ValueError as error:
        raise click.UsageError(f"NAME: {error}") from None
    click.echo(f"token, for {name} only:\n{secret}\n\nline for the server's --tokens-file:\n{line}")
