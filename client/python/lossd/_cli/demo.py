# SPDX-License-Identifier: Apache-2.0
"""The command `lossd demo` and its table. lossd._demo scores and checks."""

from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from lossd import _demo
from lossd._errors import LossdError


@click.command()
@click.option("--address", metavar="HOST:PORT", help="Use a server that is already running instead of starting one.")
@click.option("--device", default="auto", show_default=True, help="Device of the server that is started: auto, cpu or cuda:N.")
@click.option(
    "--callers", default=32, show_default=True, type=click.IntRange(1, 1024), help="Number of threads that make calls at the same time."
)
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the predictions and targets to DIR as .npy files, for `lossd score`, and do not score them.",
)
def demo(address: str | None, device: str, callers: int, save: Path | None) -> None:
    """Scores real predictions over gRPC and compares the losses with torch's.

    Starts a server in its own process on a free port. Many callers score a digit classifier, a tumour detector and a regressor in
    mini-batches, while two other callers keep the server busy with large calls. Exits with status 1 if any answer is wrong.
    """
    if save is not None:
        _save(save)
        return
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 110)
    try:
        if address is None:
            console.print("Starting a server ...", highlight=False)
            with _demo.server(device) as started:
                report = _demo.run(started, callers)
        else:
            report = _demo.run(address, callers)
    except (LossdError, _demo.ServerFailedError) as error:
        raise click.ClickException(str(error)) from None
    _show(console, report)
    if report.failures:
        raise click.ClickException(f"{len(report.failures)} answers are wrong; the first: {report.failures[0]}")


def _save(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _demo.files():
            (folder / name).write_bytes(data)
            click.echo(folder / name)
    except OSError as error:
        raise click.ClickException(f"cannot write to {folder}: {error.strerror}") from None


def _show(console: Console, report: _demo.Report) -> None:
    info = report.info
    console.print(f"lossd {info.server_version} with torch {info.torch_version} on {', '.join(info.devices)}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", overflow="fold")
    for heading in (
        "value",
        "torch" if report.torch_version else "recorded",
        "calls",
        "mean\nbatch",
        "largest\nbatch",
        "p50\nms",
        "p99\nms",
        "",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            row.label,
            f"{row.value:.6g}",
            f"{row.expected:.6g}",
            f"{row.calls:,}",
            f"{row.mean_batch:.1f}",
            f"{row.largest_batch}",
            f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}",
            "[red]off[/red]" if row.failures else "[green]ok[/green]",
        )
    console.print(table)
    calls = sum(row.calls for row in report.rows)
    paragraphs = (
        f"{calls:,} calls in {report.seconds:.1f} s: {report.callers} callers score every mini-batch of {_demo.ROWS_A_CALL} rows; "
        f"{report.neighbours} others send {report.neighbour_rows:,} rows per call. A batch is the calls that the server computed together. "
        "Times are measured by the callers.",
        "Checked: every answer against torch's for its mini-batch;" if report.torch_version else "Checked (torch is not installed here):",
        "all answers for a mini-batch against each other, bit for bit, whatever other calls were in its batches; each value, merged from "
        "its mini-batches' statistics, against the loss of the whole data set.",
    )
    console.print(paragraphs[0], " ".join(paragraphs[1:]), sep="\n", highlight=False)
