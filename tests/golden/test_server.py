# SPDX-License-Identifier: Apache-2.0
"""The server answers the recorded requests as recorded, and the files are those that would be generated now."""

import base64
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

import lossd.testing
from golden.answers import answer_to_loss, answer_to_message, to_base64
from golden.encoding import Json, to_tensor
from golden.files import FILES, LIMITED, MESSAGES, assert_recorded, every_file, request_of
from golden.messages import messages
from golden.vectors import LIMITS, Vector, limited_vectors, vectors
from lossd.v1 import response_pb2


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as opened:
        yield opened


def assert_answers(channel: grpc.Channel, file: Json) -> None:
    for vector in file["vectors"]:
        found = answer_to_loss(channel, file["rpc"], request_of(vector))
        if "error" in vector:
            assert found == {"error": vector["error"]}, vector["name"]
            continue
        assert "response" in found, (vector["name"], found)
        response = found["response"]
        value = to_tensor(response["values"]).numpy() if "values" in response else response["value"]
        assert_recorded(vector, value, response["statistics"])


@every_file
def test_the_server_answers_as_recorded(channel: grpc.Channel, file: Json) -> None:
    assert_answers(channel, file)


def test_a_server_of_low_limits_answers_as_recorded() -> None:
    (file,) = LIMITED
    with lossd.testing.server(**file["settings"]) as address, grpc.insecure_channel(address) as channel:
        assert_answers(channel, file)


def test_messages_of_many_calls_are_answered_as_recorded(channel: grpc.Channel) -> None:
    (file,) = MESSAGES
    for vector in file["vectors"]:
        recorded = {key: vector[key] for key in ("response", "error") if key in vector}
        assert answer_to_message(channel, vector["method"], request_of(vector)) == recorded, vector["name"]


# -- the files


def assert_fresh(file: Json, made: list[Vector]) -> None:
    assert [vector["name"] for vector in file["vectors"]] == [vector.name for vector in made]
    for recorded, fresh in zip(file["vectors"], made, strict=True):
        assert recorded["request"] == to_base64(fresh.request), fresh.name
        assert recorded.get("arguments") == fresh.arguments, fresh.name
        assert recorded.get("raw", False) == (fresh.arguments is None)
        assert recorded.get("response", {}).get("tolerance", fresh.tolerance) == fresh.tolerance


@every_file
def test_the_files_are_up_to_date(file: Json) -> None:
    assert_fresh(file, vectors(file["loss"]))


def test_the_file_of_low_limits_is_up_to_date() -> None:
    (file,) = LIMITED
    assert file["settings"] == LIMITS
    assert_fresh(file, limited_vectors())


def test_the_file_of_messages_is_up_to_date() -> None:
    (file,) = MESSAGES
    recorded = [(vector["name"], vector["method"], vector["request"], vector["times"]) for vector in file["vectors"]]
    assert recorded == [(name, method, to_base64(encoded), times) for name, method, encoded, times in messages()]


@pytest.mark.parametrize("file", [*FILES, *LIMITED], ids=lambda file: file["loss"])
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
