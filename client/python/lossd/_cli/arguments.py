# SPDX-License-Identifier: Apache-2.0
"""Commands with one subcommand per loss, whose options are the arguments of the client's method of that name."""

import inspect
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from lossd import _distances
from lossd._cli.connection import channel_arguments, tls_options
from lossd._client import Client
from lossd._codec import Request
from lossd._dataset import Requests
from lossd._errors import ConnectionFailedError, LossdError
from lossd._files import FileError, load, open_rows, values_of
from lossd._losses import LossMethods
from lossd._tensors import Values

DISTANCES: Final = {
    "pairwise": _distances.PairwiseDistance(),
    "cosine": _distances.CosineDistance(),
    "squared_euclidean": _distances.SquaredEuclideanDistance(),
}
LOSSES: Final = {
    name: inspect.getdoc(method) or "" for name, method in inspect.getmembers(LossMethods, inspect.isfunction) if name[0] != "_"
}
ABOUT_FILES: Final = (
    "FILE is a .npy file, FILE.npz:NAME, or FILE.parquet:COLUMN,COLUMN. Files are read in pieces and may be larger than memory. "
    "LOSS --help lists the options of a loss, named after its arguments in torch."
)
# Read as a whole: lengths are lists in the message, and log_probs are not cut along their first extent.
_WHOLE: Final = ("input_lengths", "target_lengths", "log_probs")
# Later calls wait up to --timeout for a server that restarts. No answer at the beginning more likely means a wrong address.
_CONNECT_SECONDS: Final = 2.0
_OF_A_CLIENT: Final = ("address", "token_file", "timeout", "ca", "cert", "key", "server_name")


class LossGroup(click.Group):
    """A group with one command per loss. `act` takes the client, the request, the ExitStack of its files, and the options of `own`."""

    def __init__(self, name: str, *, act: Callable[..., None], own: Sequence[click.Option], unreduced: bool, **kwargs: Any) -> None:
        super().__init__(name, subcommand_metavar="LOSS [OPTIONS]", **kwargs)
        self._act, self._own, self._unreduced = act, own, unreduced

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(LOSSES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LOSSES:
            return None
        document = LOSSES[cmd_name]
        parameters = inspect.signature(getattr(LossMethods, cmd_name)).parameters
        helps = _argument_helps(document)
        arguments = [
            _option(parameter, helps.get(name, ""), self._unreduced, cmd_name)
            for name, parameter in parameters.items()
            if name not in ("self", "return_statistics", "options")
        ]

        def callback(**options: Any) -> None:
            connection = {name: options.pop(name) for name in _OF_A_CLIENT}
            own = {option.name: options.pop(option.name) for option in self._own if option.name}
            with failing_clearly(connection["address"]), ExitStack() as files, _client(**connection) as client:
                request = _request(cmd_name, options, files)
                client.wait_until_ready(min(connection["timeout"], _CONNECT_SECONDS))
                self._act(client, request, files, **own)

        summary = " ".join(document.partition("\n\n")[0].split())
        return click.Command(
            cmd_name, params=[*arguments, *self._own, *_common()], callback=callback, help=summary, short_help=summary, no_args_is_help=True
        )


@contextmanager
def failing_clearly(address: str) -> Iterator[None]:
    """Turns an expected error into a message of one line and a non-zero exit status."""
    try:
        yield
    except ConnectionFailedError as error:
        raise click.ClickException(f"no lossd server answers at {address}: {error.message}") from None
    except LossdError as error:
        raise click.ClickException("; ".join([str(error), *getattr(error, "__notes__", [])])) from None
    except (FileError, TypeError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


def plain(number: float) -> float | str:
    """A number for JSON, which lacks NaN and infinities: they become the strings that protobuf's JSON has."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


# Implementation details follow.


def _client(address: str, token_file: str | None, timeout: float, **tls: str | None) -> Client:
    token = os.environ.get("LOSSD_TOKEN") if token_file is None else Path(token_file).read_text("ascii").strip()
    credentials, options = channel_arguments(**tls)
    return Client(address, timeout=timeout, token=token, credentials=credentials, options=options)


def _common() -> list[click.Option]:
    return [
        click.Option(["--precision"], type=click.Choice(["float64"]), help="Compute in float64."),
        click.Option(["--reject-non-finite"], is_flag=True, help="Refuse NaN and infinities; by default they propagate."),
        click.Option(["--address"], default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="Address of the server."),
        click.Option(
            ["--token-file"],
            envvar="LOSSD_TOKEN_FILE",
            show_envvar=True,
            metavar="FILE",
            help="File with the bearer token to send; by default the variable LOSSD_TOKEN holds the token.",
        ),
        *tls_options(),
        click.Option(["--timeout"], default=30.0, show_default=True, metavar="SECONDS", help="Timeout of each message to the server."),
    ]


def _argument_helps(document: str) -> dict[str, str]:
    """The Args section of a docstring by name."""
    section = document.partition("Args:\n")[2].partition("\n\n")[0]
    helps: dict[str, str] = {}
    for line in inspect.cleandoc(section).splitlines():
        if line[0] != " ":
            name, _, text = line.partition(": ")
            helps[name] = text
        else:
            helps[name] += f" {line.strip()}"
    return helps


def _option(parameter: inspect.Parameter, text: str, unreduced: bool, loss: str) -> click.Option:
    name, kind = parameter.name, parameter.annotation
    flag = f"--{name.replace('_', '-')}"
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    required = parameter.default is inspect.Parameter.empty
    if name == "reduction":
        choices = ["mean", "sum"] + ["batchmean"] * (loss == "kl_div") + ["none"] * unreduced
        return click.Option([flag], type=click.Choice(choices), default="mean", show_default=True)
    if name == "distance_function":
        return click.Option([flag], type=click.Choice(list(DISTANCES)), default="pairwise", show_default=True)
    if name == "tail":
        return click.Option(
            [flag], type=(str, str), multiple=True, required=True, metavar="FILE FILE", help=f"{text} Repeat for each cluster."
        )
    if name == "cutoffs":
        return click.Option([flag], required=True, metavar="INTEGER,...", help=text)
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=default, help=text)
    if kind in (int, float, int | None):
        type_ = float if kind is float else int
        return click.Option([flag], type=type_, default=default, show_default=default is not None, help=text)
    metavar = "FILE|NUMBER" if name == "var" else "FILE"
    return click.Option([flag], required=required, metavar=metavar, help=text)


def _request(loss: str, options: dict[str, Any], files: ExitStack) -> Request:
    arguments = {name: _argument(name, value, files) for name, value in options.items() if value is not None}
    request: Request = getattr(Requests(), loss)(**arguments)
    return request


def _argument(name: str, value: Any, files: ExitStack) -> Any:
    if name == "distance_function":
        return DISTANCES[value]
    if name == "tail":
        return [tuple(load(open_rows(file, files)) for file in pair) for pair in value]
    if name == "cutoffs":
        return [int(item) for item in value.split(",")]
    if name in ("reduction", "precision") or not isinstance(value, str):
        return value
    if name == "var":
        try:
            return float(value)
        except ValueError:
            pass
    values: Values = values_of(open_rows(value, files), name, whole=name in _WHOLE)
    return values
