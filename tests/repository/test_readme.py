# SPDX-License-Identifier: Apache-2.0
"""README.md is true: its examples run, its tables agree with the schema, the client and the server."""

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

import lossd
from lossd import _demo
from lossd.v1 import classification_pb2, loss_service_pb2, loss_service_pb2_grpc
from lossd_server.config import Settings
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.workers.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
METHODS = {method.name: method for method in loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].methods}
ADDRESS = "127.0.0.1:50051"
COMMON = {"reduction", "precision", "reject_non_finite"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with _demo.server("cpu") as address:
        yield address


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below this heading, without its header."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


LOSS_ROWS = {names(row[0])[0]: row for row in table("Losses")}


@pytest.mark.parametrize("example", blocks("python"))
def test_a_python_example_prints_what_it_says(address: str, example: str) -> None:
    assert ADDRESS in example
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example.replace(ADDRESS, address), "README.md", "exec"), {})
    assert printed.getvalue().splitlines() == re.findall(r"print\(.*\)  # (.*)", example)


def test_the_json_request_gets_the_json_answer(address: str) -> None:
    (command,) = [block for block in blocks("sh") if "grpcurl" in block]
    (request,) = re.findall(r"-d '(.*?)'", command, re.DOTALL)
    assert f"{ADDRESS} lossd.v1.LossService/CrossEntropyLoss" in command
    message = json_format.Parse(request, classification_pb2.CrossEntropyLossRequest())
    with grpc.insecure_channel(address) as channel:
        response = loss_service_pb2_grpc.LossServiceStub(channel).CrossEntropyLoss(message)
    answer = json.loads(json_format.MessageToJson(response))
    (expected,) = (json.loads(block) for block in blocks("json"))
    assert answer["execution"].keys() == expected.pop("execution").keys()
    assert {name: answer[name] for name in expected} == expected


def test_the_table_of_losses_has_every_loss_in_the_order_of_the_schema() -> None:
    assert list(LOSS_ROWS) == [name for name in METHODS if name != "GetServerInfo"]


@pytest.mark.parametrize("rpc", LOSS_ROWS)
def test_a_row_has_the_fields_of_its_message(rpc: str) -> None:
    _, _, tensors, arguments, *_ = LOSS_ROWS[rpc]
    fields = {field.name for field in METHODS[rpc].input_type.fields}
    assert sorted(names(tensors) + names(arguments)) == sorted(fields - COMMON)


@pytest.mark.parametrize("rpc", LOSS_ROWS)
def test_a_row_names_a_method_of_the_client(rpc: str) -> None:
    (method,) = names(LOSS_ROWS[rpc][1])
    assert callable(getattr(lossd.Client, method))
    if rpc in LOSSES:
        assert method == LOSSES[rpc].name


@pytest.mark.parametrize("rpc", LOSSES)
def test_a_row_says_how_the_loss_coalesces(rpc: str) -> None:
    assert LOSS_ROWS[rpc][5] == LOSSES[rpc].coalescing.value


def test_readme_says_which_losses_are_served() -> None:
    served = re.findall(r"^Served by this version: (.*)\.$", README, re.MULTILINE)
    listed = names(served[0]) if served else list(LOSS_ROWS)
    assert sorted(listed) == sorted(LOSSES)


def test_settings_and_their_defaults() -> None:
    rows = table("Settings")
    assert rows
    for flag, default, text in rows:
        field = Settings.model_fields[names(flag)[0].removeprefix("--").replace("-", "_")]
        assert (default, text) == (str(field.get_default(call_default_factory=True)), field.description)


def test_metrics() -> None:
    registries = (Metrics().registry, Supervisor(Settings(workers=2)).registry)
    known = {metric.name for registry in registries for metric in registry.collect()}
    listed = re.findall(r"`((?:grpc_server|lossd)_[a-z_]+)`", README.split("\n## Settings\n")[1].split("\n## ")[0])
    assert len(listed) > 5
    assert {name.removesuffix("_total") for name in listed} == known


def test_ratios_are_those_recorded() -> None:
    recorded = json.loads((ROOT / "tests/bench/results/bench.json").read_text())["ratios"]
    expected = [
        (r["ratio"], f"{r['median']:.2f}", r["target"].replace("<=", "≤").replace(">=", "≥"), "yes" if r["holds"] else "no")
        for r in recorded
    ]
    assert [tuple(row) for row in table("How fast it is")] == expected


def test_the_attack_is_the_one_recorded() -> None:
    recorded = json.loads((ROOT / "tests/attack/results.json").read_text())
    assert f"Last run on {recorded['date']}" in README
    rows = [(name, recorded[name]) for name in dict(table("Hard to break"))]
    assert [tuple(row) for row in table("Hard to break")] == [(name, f"{value:,}") for name, value in rows]
    assert recorded["findings"] == []


def test_the_layouts_paths_and_links_exist() -> None:
    (layout,) = [block for block in blocks("") if "proto/lossd/v1/" in block]
    paths = [line.split()[0] for line in layout.splitlines() if not line.startswith(" ")]
    for path in [*paths, *re.findall(r"\]\(([^)]+)\)", README)]:
        assert (ROOT / path).exists(), path


def test_every_command_it_names_exists() -> None:
    help_text = subprocess.run([sys.executable, "-m", "lossd.cli", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    for command in set(re.findall(r"lossd (serve|demo|health|score|evaluate|losses)\b", README)):
        assert f"  {command} " in help_text
