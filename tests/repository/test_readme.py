# SPDX-License-Identifier: Apache-2.0
"""README.md is short and true. Its snippets and links are tested with those of docs/, by test_docs.py."""

import json
import re

import grpc
import pytest
from google.protobuf import json_format

from lossd.v1 import classification_pb2, loss_service_pb2_grpc
from support.snippets import ADDRESS, ROOT, blocks

README = (ROOT / "README.md").read_text()
BLOCKS = blocks(ROOT / "README.md")


def test_it_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("end", ["lossd demo", "pytest"])
def test_each_of_the_two_commands_is_one_line_that_installs_what_was_tested(end: str) -> None:
    (line,) = re.findall(rf"^[^ ].* && \.venv/bin/{end}$", README, re.MULTILINE)
    assert " -c constraints.txt " in line


def test_the_json_request_gets_the_json_answer(address: str) -> None:
    (command,) = [block.text for block in BLOCKS if "grpcurl" in block.text]
    (request,) = re.findall(r"-d '(.*?)'", command, re.DOTALL)
    assert f"{ADDRESS} lossd.v1.LossService/CrossEntropyLoss" in command
    message = json_format.Parse(request, classification_pb2.CrossEntropyLossRequest())
    with grpc.insecure_channel(address) as channel:
        response = loss_service_pb2_grpc.LossServiceStub(channel).CrossEntropyLoss(message)
    answer = json.loads(json_format.MessageToJson(response))
    (expected,) = (json.loads(block.text) for block in BLOCKS if block.language == "json")
    assert answer["execution"].keys() == expected.pop("execution").keys()
    assert {name: answer[name] for name in expected} == expected


def test_the_seven_promises_are_there() -> None:
    assert re.findall(r"^\| (\d) \|", README, re.MULTILINE) == list("1234567")


def test_the_ratios_are_those_recorded() -> None:
    recorded = json.loads((ROOT / "tests/bench/results/bench.json").read_text())["ratios"]
    section = README.split("\n## How fast it is\n")[1].split("\n## ")[0]
    medians = {ratio["ratio"]: f"{ratio['median']:.2f}" for ratio in recorded}
    for name in (
        "CE 32x10, 128 in flight, of the aio echo",
        "CE 32x10, 128 in flight, of the naive aio",
        "lone caller, p50, of the naive aio",
    ):
        assert f"{medians[name]} times as" in section, name
