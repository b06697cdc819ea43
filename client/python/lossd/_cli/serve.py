# SPDX-License-Identifier: Apache-2.0
"""The command `lossd serve`, with one flag for each setting of the server.

The flags are made from the fields of lossd_server.config.Settings when they are first needed, so `lossd` works if the server is
not installed. A flag that is not given is not passed on: then the variable, the file or the default applies.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import ValidationError

    from lossd_server.config import Settings

_SERVER_NEEDS = {"grpc_health", "grpc_reflection", "prometheus_client", "pydantic", "pydantic_settings", "structlog", "torch", "uvloop"}
_METAVARS: dict[Any, str] = {int: "INTEGER", float: "NUMBER"}
_PREFIX = "LOSSD_"


class _ServeCommand(click.Command):
    """A command whose options are the server's settings."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if len(self.params) == 1:
            self.params = _options() + self.params
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists what operators need first, and the advanced settings after that."""
        with server_installed():
            from lossd_server.config import ADVANCED
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Advanced options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections["Advanced options" if param.name in ADVANCED else "Options"].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


@click.command(cls=_ServeCommand, short_help="Run a server until SIGTERM or Ctrl-C.")
@click.option(
    "--config", metavar="FILE", help="TOML file with settings, named like the flags but with underscores.  [variable: LOSSD_CONFIG]"
)
def serve(config: str | None, **flags: Any) -> None:
    """Runs a server until SIGTERM or Ctrl-C, and then completes the calls that it has accepted.

    A flag overrides its variable, the variable overrides the file, and the file overrides the default.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = _settings(given, config)
    try:
        with server_installed():
            from lossd_server.__main__ import run

            run(settings)
    except (OSError, ValueError) as error:
        raise click.ClickException(_why(error, settings)) from None


@contextmanager
def server_installed() -> Iterator[None]:
    """Turns a missing package of the server into a message of one line that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_NEEDS:
            raise
        raise click.ClickException(f"the server needs {error.name}: pip install 'lossd[server]'") from None


def _options() -> list[click.Parameter]:
    with server_installed():
        from lossd_server.config import Settings
    options: list[click.Parameter] = []
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        default = field.get_default(call_default_factory=True)
        shown = str(default).lower() if isinstance(default, bool) else default
        help_text = f"{field.description}  [default: {shown}; variable: {_PREFIX}{name.upper()}]"
        if field.annotation is bool:
            options.append(click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=help_text))
        else:
            # Values stay text: Settings converts and checks them, whatever their source.
            options.append(click.Option([flag], metavar=_METAVARS.get(field.annotation, "TEXT"), help=help_text))
    return options


def _settings(flags: dict[str, Any], config: str | None) -> "Settings":
    from pydantic import ValidationError

    from lossd_server.config import Settings

    try:
        return Settings(**(flags if config is None else {**flags, "config": config}))
    except ValidationError as error:
        raise click.UsageError(_what_is_wrong(error, flags)) from None
    except ValueError as error:  # the file is missing, or is not TOML
        raise click.UsageError(f"{config or os.environ.get(_PREFIX + 'CONFIG')}: {error}") from None


def _what_is_wrong(error: "ValidationError", flags: dict[str, Any]) -> str:
    """The first error, with the flag, variable or field that holds the wrong value."""
    first = error.errors()[0]
    if not first["loc"]:  # settings that contradict each other
        return first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"the configuration file has {name!r}, which is not a setting"
    if name in flags:
        source = f"--{name.replace('_', '-')}"
    elif _PREFIX + name.upper() in os.environ:
        source = _PREFIX + name.upper()
    else:
        source = f"{name} in the configuration file"
    return f"{source}: {first['msg'].removeprefix('Value error, ')} (it is {first['input']!r})"


def _why(error: Exception, settings: "Settings") -> str:
    text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    for flag, address in (("admin-listen", settings.admin_listen), ("listen", settings.listen)):
        if text.startswith(f"cannot listen on {address}: "):
            return f"{text}; --{flag} chooses another"
    return text
