# SPDX-License-Identifier: Apache-2.0
"""What the clients of tests/conformance/clients do, and the answers that torch gives."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from lossd.v1 import evaluation_service_pb2 as evaluation_pb
from lossd.v1 import options_pb2, regression_pb2, response_pb2
from support.drivers import Scenario

MSE = "/lossd.v1.LossService/MseLoss"
SCORE_STREAM = "/lossd.v1.EvaluationService/ScoreStream"
EVALUATE = "/lossd.v1.EvaluationService/Evaluate"
MIB = 1 << 20
# What `everything` consists of: known to a test before the requests and their answers are made, which takes seconds.
NAMES = ("unary", "mistake", "uploads", "answers_1_mb", "answers_4_mb", "largest_answer", "score_stream", "evaluate")


def unary() -> Scenario:
    """Small calls, 16 at a time."""
    requests = [_request(3 + index, options_pb2.REDUCTION_MEAN, seed=index) for index in range(50)]
    expected = [F.mse_loss(*_tensors(request)) for request in requests]
    return Scenario("unary", "unary", MSE, _encoded(requests), _values_are(expected), count=200, parallel=16)


def mistake() -> Scenario:
    """A request that is refused; the connection goes on."""
    request = _request(3, options_pb2.REDUCTION_MEAN)
    request.target.shape[0] = 4
    return Scenario("mistake", "unary", MSE, _encoded([request]), code=3)


def uploads() -> Scenario:
    """Requests of sizes around that of a window of HTTP/2, up to 16 MB. One at a time: Node opens no stream while 10 MB of others are
    unsent.
    """
    lengths = [3200, *range(13090, 13110), 26000, 200_000, 3_200_000]
    requests = [_request(length, options_pb2.REDUCTION_MEAN) for length in lengths]
    expected = [F.mse_loss(*_tensors(request)) for request in requests]
    return Scenario("uploads", "unary", MSE, _encoded(requests), _values_are(expected), count=len(requests))


def answers(megabytes: int, *, count: int, parallel: int = 1) -> Scenario:
    """Answers of about this size."""
    request = _large(megabytes * 10**6)
    expected = F.mse_loss(*_tensors(request), reduction="none")
    return Scenario(f"answers_{megabytes}_mb", "unary", MSE, _encoded([request]), _values_are([expected]), count=count, parallel=parallel)


def score_stream(*, large_answers: bool = True) -> Scenario:
    """40 messages of 10 small calls, and one of 10 calls whose answers are 1 MiB each, in the middle."""
    requests = [_request(3 + index, options_pb2.REDUCTION_MEAN, seed=index) for index in range(400)]
    if large_answers:
        requests[200:200] = [_large(MIB + 8 * index) for index in range(10)]
    messages = []
    for first in range(0, len(requests), 10):
        message = evaluation_pb.ScoreStreamRequest()
        for id_ in range(first, first + 10):
            message.calls.add(id=id_).call.mse_loss.CopyFrom(requests[id_])
        messages.append(message)

    def check(calls: list[list[bytes]]) -> None:
        (replies,) = calls
        outcomes = [outcome for reply in replies for outcome in evaluation_pb.ScoreStreamResponse.FromString(reply).outcomes]
        assert sorted(outcome.id for outcome in outcomes) == list(range(len(requests)))
        for outcome in outcomes:
            request = requests[outcome.id]
            reduction = "none" if request.reduction == options_pb2.REDUCTION_NONE else "mean"
            _check_value(outcome.outcome.response, F.mse_loss(*_tensors(request), reduction=reduction))

    return Scenario("score_stream", "bidi", SCORE_STREAM, _encoded(messages), check)


def evaluate() -> Scenario:
    """Two series in 30 messages, the largest of 2 MB."""
    names = ["even", "odd"]
    parts: dict[str, list[regression_pb2.MseLossRequest]] = {name: [] for name in names}
    messages = []
    for index in range(30):
        message = evaluation_pb.EvaluateRequest()
        for name in names:
            length = 200_000 if index == 10 else 40 + index
            request = _request(length, options_pb2.REDUCTION_MEAN, seed=2 * index + names.index(name))
            parts[name].append(request)
            message.calls.add(series=name).call.mse_loss.CopyFrom(request)
        messages.append(message)

    def check(calls: list[list[bytes]]) -> None:
        ((reply,),) = calls
        response = evaluation_pb.EvaluateResponse.FromString(reply)
        assert [(series.series, series.call_count) for series in response.series] == [(name, 30) for name in names]
        for series in response.series:
            inputs, targets = zip(*(_tensors(request) for request in parts[series.series]), strict=True)
            expected = F.mse_loss(torch.cat(inputs).double(), torch.cat(targets).double())
            torch.testing.assert_close(torch.tensor(series.value, dtype=torch.float64), expected, rtol=1e-6, atol=0)

    return Scenario("evaluate", "client_stream", EVALUATE, _encoded(messages), check)


def quiet_stream(pause_seconds: int) -> Scenario:
    """Two messages with a pause between them."""
    messages = []
    for id_ in range(2):
        message = evaluation_pb.ScoreStreamRequest()
        message.calls.add(id=id_).call.mse_loss.CopyFrom(_request(3, options_pb2.REDUCTION_MEAN))
        messages.append(message)

    def check(calls: list[list[bytes]]) -> None:
        (replies,) = calls
        assert [outcome.id for reply in replies for outcome in evaluation_pb.ScoreStreamResponse.FromString(reply).outcomes] == [0, 1]

    return Scenario("quiet_stream", "bidi", SCORE_STREAM, _encoded(messages), check, pause_seconds=pause_seconds)


def load(parallel: int) -> Scenario:
    """Small calls without end."""
    return Scenario("load", "load", MSE, _encoded([_request(64, options_pb2.REDUCTION_MEAN)]), parallel=parallel)


@functools.cache
def everything(*, count: int, largest_megabytes: int, both_ways_at_once: bool = True) -> dict[str, Scenario]:
    """What each client does on each route, by NAMES: `count` answers of 1 MB, some of 4 MB, and one of the largest size. Unless
    `both_ways_at_once`, nothing large is answered while something large is still sent.
    """
    made = [
        unary(),
        mistake(),
        uploads(),
        answers(1, count=count),
        answers(4, count=2, parallel=2 if both_ways_at_once else 1),
        answers(largest_megabytes, count=1),
        score_stream(large_answers=both_ways_at_once),
        evaluate(),
    ]
    return dict(zip(NAMES, made, strict=True))


def _request(length: int, reduction: options_pb2.Reduction, seed: int = 0) -> regression_pb2.MseLossRequest:
    random = np.random.default_rng(seed)
    request = regression_pb2.MseLossRequest(reduction=reduction)
    request.input.shape.append(length)
    request.input.float32_values.values.extend(random.normal(size=length).astype(np.float32))
    request.target.shape.append(length)
    request.target.uint8_values = random.integers(0, 7, length, np.uint8).tobytes()
    return request


def _large(answer_bytes: int) -> regression_pb2.MseLossRequest:
    """A request of less than half the size of its answer."""
    length = answer_bytes // 8
    request = regression_pb2.MseLossRequest(reduction=options_pb2.REDUCTION_NONE, precision=options_pb2.PRECISION_FLOAT64)
    request.input.shape.append(length)
    request.input.float16_values = (np.arange(length) % 1999).astype(np.float16).tobytes()
    request.target.shape.append(length)
    request.target.uint8_values = (np.arange(length) % 251).astype(np.uint8).tobytes()
    return request


def _tensors(request: regression_pb2.MseLossRequest) -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.from_numpy(np.frombuffer(request.target.uint8_values, np.uint8).astype(np.float32))
    if request.input.HasField("float16_values"):
        return torch.from_numpy(np.frombuffer(request.input.float16_values, np.float16).astype(np.float64)), target.double()
    return torch.tensor(request.input.float32_values.values, dtype=torch.float32), target


def _encoded(messages: Sequence[object]) -> list[bytes]:
    return [message.SerializeToString() for message in messages]  # type: ignore[attr-defined]


def _values_are(expected: list[torch.Tensor]) -> Callable[[list[list[bytes]]], None]:
    """Unary call i was answered with expected value i modulo their number."""

    def check(calls: list[list[bytes]]) -> None:
        for index, (reply,) in enumerate(calls):
            _check_value(response_pb2.LossResponse.FromString(reply), expected[index % len(expected)])

    return check


def _check_value(response: response_pb2.LossResponse, expected: torch.Tensor) -> None:
    if response.WhichOneof("output") == "value":
        torch.testing.assert_close(torch.tensor(response.value, dtype=expected.dtype), expected)
        return
    assert list(response.values.shape) == list(expected.shape)
    packed = response.values.float64_values.SerializeToString()[-8 * expected.numel() :]  # an array of the machine's doubles
    torch.testing.assert_close(torch.from_numpy(np.frombuffer(packed, np.float64).copy()), expected)
