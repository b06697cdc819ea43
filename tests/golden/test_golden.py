# SPDX-License-Identifier: Apache-2.0
"""The recorded vectors against a live server, over the wire and through the client, and against what generates them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest

from golden.encoding import Json, to_tensor
from golden.generate import answer
from golden.vectors import vectors
from lossd.v1 import response_pb2

HERE: Final = Path(__file__).parent
INDEX: Final = json.loads((HERE / "index.json").read_text())
FILES: Final = {name: json.loads((HERE / name).read_text()) for name in INDEX["files"]}
every_file = pytest.mark.parametrize("file", FILES.values(), ids=[name.removesuffix(".json") for name in FILES])


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as opened:
        yield opened


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether a number or an array is the recorded one, but for what another CPU may make of it."""
    return bool(np.allclose(np.float64(found), np.float64(expected), rtol=tolerance, atol=tolerance / 10, equal_nan=True))


def assert_same_response(found: Json, expected: Json) -> None:
    tolerance = expected["tolerance"]
    assert found.keys() | {"tolerance"} == expected.keys()
    if "value" in expected:
        assert close(found["value"], expected["value"], tolerance)
    else:
        assert (found["values"]["dtype"], found["values"]["shape"]) == (expected["values"]["dtype"], expected["values"]["shape"])
        assert close(to_tensor(found["values"]).numpy(), to_tensor(expected["values"]).numpy(), tolerance)
    for name, value in expected["statistics"].items():
        assert found["statistics"][name] == value if "count" in name else close(found["statistics"][name], value, tolerance), name


@every_file
def test_the_server_answers_as_recorded(channel: grpc.Channel, file: Json) -> None:
    for vector in file["vectors"]:
        found = answer(channel, file["rpc"], base64.b64decode(vector["request"]))
        if "error" in vector:
            assert found == {"error": vector["error"]}, vector["name"]
        else:
            assert "response" in found, (vector["name"], found)
            assert_same_response(found["response"], vector["response"])


@every_file
def test_the_files_are_what_would_be_generated(file: Json) -> None:
    fresh = {vector.name: vector for vector in vectors(file["loss"])}
    assert list(fresh) == [vector["name"] for vector in file["vectors"]]
    for vector in file["vectors"]:
        made = fresh[vector["name"]]
        assert (vector.get("arguments"), vector["request"]) == (made.arguments, base64.b64encode(made.request).decode()), vector["name"]
        assert vector.get("raw", False) == (made.arguments is None)


@every_file
def test_the_parts_of_a_response_are_those_of_its_message(file: Json) -> None:
    for vector in file["vectors"]:
        if "response" not in vector:
            continue
        recorded, message = vector["response"], response_pb2.LossResponse.FromString(base64.b64decode(vector["response"]["encoded"]))
        for name, value in recorded["statistics"].items():
            assert np.array_equal(float(value), getattr(message.statistics, name), equal_nan=True)
        if message.HasField("value"):
            assert np.array_equal(float(recorded["value"]), message.value, equal_nan=True)
        else:
            held = getattr(message.values, f"{recorded['values']['dtype']}_values").values
            assert recorded["values"]["shape"] == list(message.values.shape)
            assert np.array_equal(to_tensor(recorded["values"]).numpy().reshape(-1), np.array(held), equal_nan=True)
