# SPDX-License-Identifier: Apache-2.0
"""The command `lossd evaluate`: the loss over a data set in files, overall and by slice, and the rows with the largest losses."""

import dataclasses
import json
from contextlib import ExitStack
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lossd import _dataset, _split
from lossd._cli.arguments import ABOUT_FILES, LossGroup, plain
from lossd._client import Client
from lossd._codec import Request
from lossd._evaluation import SeriesResult
from lossd._files import open_rows

_OWN: Final = (
    click.Option(
        ["--by"], metavar="FILE", help="File with the slice of each row: integers, strings or booleans. Adds a result for each slice."
    ),
    click.Option(["--hardest"], type=click.IntRange(0), default=0, metavar="K", help="Also list the K rows with the largest losses."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print JSON instead of a table."),
)


def _evaluate(client: Client, request: Request, files: ExitStack, by: str | None, hardest: int, as_json: bool) -> None:
    reduction = request.reduction
    rows = _split.rows_of(request) or 1
    if hardest:
        request = dataclasses.replace(request, reduction="none")
    evaluation, found = client.evaluation(), _dataset.Hardest(hardest)
    slices = None if by is None else open_rows(by, files)
    with _progress() as progress:
        task = progress.add_task("rows", total=rows)
        for scored in _dataset.score(client, request, slices):
            result = scored.result
            if hardest:
                found.add(scored, reduction)
                if reduction == "batchmean":  # it divides by rows, and the denominator of NONE counts elements
                    result = dataclasses.replace(result, mean_denominator=float(scored.indices.size))
            evaluation.add(result, reduction=reduction, series=scored.series)
            progress.advance(task, scored.indices.size)
    total, series = evaluation.total(), evaluation.compute() if by is not None else {}
    (_print_json if as_json else _print_tables)(reduction, total, series, found.rows, by is not None)


evaluate = LossGroup(
    "evaluate",
    act=_evaluate,
    own=_OWN,
    unreduced=False,
    short_help="Evaluate a data set in files, overall and by slice.",
    help=f"Evaluates a data set in files on a server: the loss over all rows, for each slice, and the hardest rows.\n\n{ABOUT_FILES}",
)


# Implementation details follow.


def _progress() -> Progress:
    """A progress bar on stderr, disabled if stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print_json(
    reduction: str, total: SeriesResult, series: dict[str, SeriesResult], hardest: list[tuple[int, float, str]], sliced: bool
) -> None:
    document: dict[str, Any] = {"reduction": reduction, **_fields(total)}
    if sliced:
        document["slices"] = {name: _fields(series[name]) for name in _ordered(series)}
    if hardest:
        document["hardest"] = [{"index": i, "loss": plain(loss), **({"slice": name} if sliced else {})} for i, loss, name in hardest]
    click.echo(json.dumps(document, indent=2))


def _fields(result: SeriesResult) -> dict[str, Any]:
    fields = dataclasses.asdict(result)
    del fields["call_count"]
    return {name: plain(value) for name, value in fields.items()}


def _print_tables(
    reduction: str, total: SeriesResult, series: dict[str, SeriesResult], hardest: list[tuple[int, float, str]], sliced: bool
) -> None:
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("slice")
    for heading in (reduction, "losses", "ignored"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, result in [("(all)", total), *((name, series[name]) for name in _ordered(series))]:
        table.add_row(name, f"{result.value:.8g}", f"{result.element_count:,}", f"{result.ignored_count:,}")
    console.print(table)
    if hardest:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="hardest", title_justify="left")
        table.add_column("index", justify="right")
        table.add_column("loss", justify="right")
        if sliced:
            table.add_column("slice")
        for index, loss, name in hardest:
            table.add_row(str(index), f"{loss:.8g}", *([name] if sliced else []))
        console.print(table)


def _ordered(series: dict[str, SeriesResult]) -> list[str]:
    """The names in numeric order if all are numbers, otherwise in alphabetical order."""
    try:
        return sorted(series, key=float)
    except ValueError:
        return sorted(series)
