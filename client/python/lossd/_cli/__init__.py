# SPDX-License-Identifier: Apache-2.0
"""The commands of `lossd`, one module each. Only the commands that run torch and the server import them."""

from importlib.metadata import version

import click

from lossd._cli.demo import demo
from lossd._cli.evaluate import evaluate
from lossd._cli.health import health
from lossd._cli.score import losses, score
from lossd._cli.serve import serve
from lossd._cli.token import token


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(version("lossd"), message="%(prog)s %(version)s")
def lossd() -> None:
    """PyTorch's losses over gRPC: exact, and computed in batches that many callers share."""


for _command in (serve, score, evaluate, demo, losses, health, token):
    lossd.add_command(_command)
