# SPDX-License-Identifier: Apache-2.0
"""The commands `lossd score` and `lossd losses`."""

import json
from contextlib import ExitStack
from typing import Any, Final

import click
import numpy as np

from lossd import _dataset, _split
from lossd._cli.arguments import ABOUT_FILES, LOSSES, LossGroup, plain
from lossd._client import Client
from lossd._codec import Request

_OWN: Final = (
    click.Option(["--output"], metavar="FILE.npy", help="File for the losses of --reduction none; by default they are printed."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print the value and its statistics as JSON."),
)


def _score(client: Client, request: Request, files: ExitStack, output: str | None, as_json: bool) -> None:
    if output is not None and request.reduction != "none":
        raise click.UsageError("--output needs --reduction none")
    if output is None:
        results = [scored.result for scored in _dataset.score(client, request)]
    else:
        _write(client, request, output)
        return
    whole = _split.merge(request, results) if len(results) > 1 else results[0]
    value = np.asarray(whole.value)
    if as_json:
        numbers = {name: plain(getattr(whole, name)) for name in ("sum", "mean_numerator", "mean_denominator")}
        counts = {name: getattr(whole, name) for name in ("element_count", "ignored_count")}
        click.echo(json.dumps({"value": _nested(value.tolist()), **numbers, **counts}, indent=2))
    else:
        click.echo("\n".join(repr(float(number)) for number in value.reshape(-1)))


def _write(client: Client, request: Request, output: str) -> None:
    """Writes the losses of all rows to a .npy file, piece by piece."""
    file: Any = None
    for scored in _dataset.score(client, request):
        values = scored.result.value
        if file is None:
            rows = _split.rows_of(request)
            shape = values.shape if rows is None else (rows, *values.shape[1:])
            file = np.lib.format.open_memmap(output, mode="w+", dtype=values.dtype, shape=shape)
        file[... if values.shape == file.shape else slice(scored.start, scored.stop)] = values
    file.flush()


def _nested(value: Any) -> Any:
    return [_nested(item) for item in value] if isinstance(value, list) else plain(value)


score = LossGroup(
    "score",
    act=_score,
    own=_OWN,
    unreduced=True,
    short_help="Score arrays in files.",
    help=f"Scores arrays in files on a server, and prints the loss.\n\n{ABOUT_FILES}",
)


@click.command()
def losses() -> None:
    """Lists the losses, by their names in torch.nn.functional, with their definitions."""
    width = max(map(len, LOSSES))
    for name, document in LOSSES.items():
        click.echo(f"{name.ljust(width)}  {' '.join(document.partition(chr(10) * 2)[0].split())}")
