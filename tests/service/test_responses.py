# SPDX-License-Identifier: Apache-2.0
"""The generated classes read the responses that `encode` writes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossd.v1 import evaluation_service_pb2 as pb
from lossd.v1 import response_pb2, tensor_pb2
from lossd_server import errors
from lossd_server.call import Answer, Answers, Execution, Statistics, Success
from lossd_server.requests.messages import OUTCOME_BYTES
from lossd_server.requests.protobuf import encoded_varint
from lossd_server.service import responses

doubles = st.floats(allow_nan=False)
counts = st.integers(0, 2**62)
statistics = st.builds(Statistics, doubles, doubles, doubles, counts, counts)
executions = st.builds(Execution, doubles, doubles, st.integers(0, 2**31 - 1), st.sampled_from(["cpu", "cuda:0", "cuda:15"]))
TAG = b"\x0a"


def message_of(answer: Answer, execution: Execution) -> response_pb2.LossResponse:
    s = answer.statistics
    message = response_pb2.LossResponse(
        statistics=response_pb2.LossStatistics(
            sum=s.sum,
            mean_numerator=s.mean_numerator,
            mean_denominator=s.mean_denominator,
            element_count=s.element_count,
            ignored_count=s.ignored_count,
        ),
        execution=response_pb2.Execution(**execution._asdict()),
    )
    if answer.values is None:
        message.value = answer.value
    elif answer.double:
        values = tensor_pb2.Float64Values(values=np.frombuffer(answer.values, "<f8"))
        message.values.CopyFrom(tensor_pb2.Tensor(shape=answer.shape, float64_values=values))
    else:
        values = tensor_pb2.Float32Values(values=np.frombuffer(answer.values, "<f4"))
        message.values.CopyFrom(tensor_pb2.Tensor(shape=answer.shape, float32_values=values))
    return message


@given(doubles, statistics, executions)
def test_a_value(value: float, sums: Statistics, execution: Execution) -> None:
    answer = Answer(sums, value)
    assert response_pb2.LossResponse.FromString(responses.response(answer, execution)) == message_of(answer, execution)
    outcome = responses.outcome(Success(answer, execution))
    assert pb.LossOutcome.FromString(outcome).response == message_of(answer, execution)
    assert len(outcome) + 24 < OUTCOME_BYTES  # with an id, tags and lengths


@given(statistics, executions, st.booleans(), st.lists(st.integers(0, 200), max_size=3))
def test_values(sums: Statistics, execution: Execution, double: bool, shape: list[int]) -> None:
    size = math.prod(shape) if math.prod(shape) < 10_000 else 0
    payload = np.arange(size, dtype="<f8" if double else "<f4").tobytes()
    answer = Answer(sums, values=payload, shape=tuple(shape) if size else (0,), double=double)
    encoded = responses.response(answer, execution)
    assert response_pb2.LossResponse.FromString(encoded) == message_of(answer, execution)
    assert len(encoded) - len(payload) < OUTCOME_BYTES


def test_not_a_number_is_a_value() -> None:
    answer = Answer(Statistics(math.nan, math.inf, -0.0, 0, 0), math.nan)
    found = response_pb2.LossResponse.FromString(responses.response(answer, Execution(0.0, 0.0, 1, "cpu")))
    assert math.isnan(found.value)
    assert math.copysign(1, found.statistics.mean_denominator) == -1


@pytest.mark.parametrize("ignored", [[0, 0, 0], [0, 300, 2]])
@pytest.mark.parametrize("failed", [False, True])
def test_the_answers_of_several_requests_are_those_of_each(ignored: list[int], failed: bool) -> None:
    error = errors.KernelFailure("L1Loss")
    answers = Answers([1.5, -2.5, math.inf], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], ignored, 1000, {1: error} if failed else {})
    execution = Execution(1e-3, 2e-3, 3, "cpu")
    expected = [responses.outcome(error if failed and i == 1 else Success(answers.of(i), execution)) for i in range(3)]  # type: ignore[arg-type]
    assert responses.outcomes(Success(answers, execution), 3) == expected
    assert responses.outcomes(error, 2) == [responses.outcome(error)] * 2


def test_an_error_says_what_a_status_would() -> None:
    error = errors.TargetOutOfRange("class_indices", "is wrong")
    found = pb.LossOutcome.FromString(responses.outcome(error)).error
    assert (found.code, found.reason, found.field_violations[0].field) == (error.number, error.reason, "class_indices")
    full = errors.QueueFull("full", retry_after_seconds=0.25)
    assert pb.LossOutcome.FromString(responses.outcome(full)).error.retry_after_seconds == 0.25


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_repeated_fields(messages: list[bytes]) -> None:
    encoded_responses = [pb.LossOutcome(error=pb.Error(message=message.hex())) for message in messages]
    encoded = responses.repeated(TAG, [response.SerializeToString() for response in encoded_responses])
    assert encoded == pb.ScoreBatchResponse(outcomes=encoded_responses).SerializeToString()


@given(st.integers(0, 2**64 - 1))
def test_numbers(number: int) -> None:
    assert pb.StreamOutcome.FromString(b"\x08" + encoded_varint(number)).id == number
