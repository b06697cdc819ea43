# SPDX-License-Identifier: Apache-2.0
"""`lossd` as a program: help, errors, precedence of the settings, and a server's life from start to SIGTERM."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lossd._cli import lossd
from lossd_server.config import Settings

PROGRAM = [sys.executable, "-W", "error", "-m", "lossd.cli"]
ADDRESSES = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOSSD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of servers that `lossd serve` would have run."""
    settings: list[Settings] = []
    monkeypatch.setattr("lossd_server.__main__.run", settings.append)
    return settings


def call(*arguments: str) -> Result:
    return CliRunner().invoke(lossd, arguments)


def test_serve_help_names_every_setting_with_its_default_and_variable() -> None:
    text = " ".join(call("serve", "--help").output.split())
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = str(default).lower() if isinstance(default, bool) else default
        assert f"--{name.replace('_', '-')}" in text
        assert f"{field.description} [default: {shown}; variable: LOSSD_{name.upper()}]" in text


def test_a_flag_overrules_the_variable_and_the_variable_the_file(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "lossd.toml"
    file.write_text('listen = "127.0.0.1:1"\nmax_queue_bytes = 1\ndrain_seconds = 1.5\nreflection = false\n')
    monkeypatch.setenv("LOSSD_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("LOSSD_MAX_QUEUE_BYTES", "2")
    assert call("serve", "--config", str(file), "--listen", "127.0.0.1:3").exit_code == 0
    (settings,) = started
    assert settings.listen == "127.0.0.1:3"
    assert settings.max_queue_bytes == 2
    assert settings.drain_seconds == 1.5
    assert settings.reflection is False
    assert settings.max_request_bytes == 64 << 20


def test_the_file_may_be_named_by_a_variable(started: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "lossd.toml"
    file.write_text("log_level = 'debug'\n")
    monkeypatch.setenv("LOSSD_CONFIG", str(file))
    assert call("serve", "--no-reflection").exit_code == 0
    assert started[0].log_level == "debug"
    assert started[0].reflection is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such-flag"], "No such option"),
        (["--intra-op-threads", "0"], "--intra-op-threads: Input should be greater than or equal to 1 (it is '0')"),
        (["--max-queue-bytes", "many"], "--max-queue-bytes: Input should be a valid integer"),
        (["--log-level", "loud"], "--log-level: must be debug, info, warning or error (it is 'loud')"),
        (["--listen", "localhost"], "--listen: must be HOST:PORT with a port up to 65535 (it is 'localhost')"),
        (["--admin-listen", "127.0.0.1:65536"], "--admin-listen: must be HOST:PORT"),
        (["--config", "no/such/file.toml"], "no/such/file.toml: there is no file"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(started: list[Settings], arguments: list[str], message: str) -> None:
    result = call("serve", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(re.findall("^Error: ", result.output, re.MULTILINE)) == 1
    assert "Traceback" not in result.output
    assert not started


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSD_DRAIN_SECONDS", "-1")
    result = call("serve")
    assert result.exit_code == 2
    assert "LOSSD_DRAIN_SECONDS: Input should be greater than or equal to 0" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lisen = '127.0.0.1:1'", "has 'lisen', which is not a setting"),
        ("drain_seconds = -1", "drain_seconds in the configuration file: Input should be greater"),
        ("drain_seconds = = 1", "lossd.toml: "),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lossd.toml"
    file.write_text(text)
    result = call("serve", "--config", str(file))
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["listen", "admin-listen"])
def test_an_address_in_use_is_one_line_and_exit_code_1(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [*PROGRAM, "serve", *ADDRESSES, f"--{flag}={address}", "--device=cpu"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert f"Error: cannot listen on {address}" in done.stderr
    assert f"--{flag} chooses another" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_device_that_is_not_there_is_one_line() -> None:
    done = subprocess.run([*PROGRAM, "serve", *ADDRESSES, "--device=abacus"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: device 'abacus' is not auto, cpu or cuda:N\n"


def test_serve_prints_its_address_answers_and_exits_0_at_sigterm() -> None:
    with server() as (process, address):
        assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
        healthy = call("health", address)
        assert (healthy.exit_code, healthy.output) == (0, f"{address} is serving\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    unhealthy = call("health", address, "--timeout", "1")
    assert unhealthy.exit_code == 1
    assert "does not answer" in unhealthy.output


@pytest.mark.slow
def test_sigterm_right_after_the_address_is_printed_exits_0() -> None:
    with server() as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_without_the_server_extra_serve_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.modules['torch'] = None; from lossd.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "serve"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the server needs torch: pip install 'lossd[server]'\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_cli_extra_every_command_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from lossd.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: the command line needs {missing}: pip install 'lossd[cli]'\n"


@contextmanager
def server() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    process = subprocess.Popen(
        [*PROGRAM, "serve", *ADDRESSES, "--device=cpu"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("lossd listens on "), line
        yield process, line.removeprefix("lossd listens on ").strip()
    finally:
        process.kill()
        process.communicate()
