# SPDX-License-Identifier: Apache-2.0
"""Bad input for every loss, through a live server: the status, the reason and the field; and the next call is answered."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import torch

import lossd
from lossd import _errors, twins
from lossd.v1 import (
    classification_pb2,
    loss_service_pb2_grpc,
    options_pb2,
    regression_pb2,
    response_pb2,
    sequence_pb2,
    tensor_pb2,
    vocabulary_pb2,
)
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Real, Tensor
from samples import SAMPLES, ErrorInput
from support.arguments import argument
from support.encoded_requests import encoded

ERRORS = [pytest.param(name, error, id=f"{name}-{error.label}") for name, loss in SAMPLES.items() for error in loss.errors]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[lossd.Client]:
    """A client that does not split requests that are too large for the server."""
    with lossd.Client(address, split=False) as connected:
        yield connected


def still_answers(client: lossd.Client) -> bool:
    return client.cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3])) == pytest.approx(np.log(4))


@pytest.mark.parametrize(("name", "error"), ERRORS)
def test_a_bad_argument_is_named(client: lossd.Client, name: str, error: ErrorInput) -> None:
    with pytest.raises(lossd.LossdError) as caught:
        getattr(client, name)(**error.kwargs)
    assert (caught.value.code, caught.value.reason) == (error.code, error.reason)
    if error.field:
        assert [violation.field for violation in caught.value.details.field_violations] == [argument(name, error.field)]
    assert still_answers(client)


@pytest.mark.parametrize("name", SAMPLES)
def test_non_finite_input_can_be_rejected(client: lossd.Client, name: str) -> None:
    loss = SAMPLES[name]
    if not loss.free:
        pytest.skip("every float tensor has a domain")
    kwargs = dict(loss.samples[0].kwargs)
    bad = kwargs[loss.free[0]].clone()
    bad.view(-1)[0] = float("nan")
    with pytest.raises(lossd.InvalidArgumentError) as caught:
        getattr(client, name)(**{**kwargs, loss.free[0]: bad}, reject_non_finite=True)
    assert caught.value.reason == "NON_FINITE_INPUT"


# -- messages that our own client would not send

HUGE = 2**62


def floats(shape: list[int], values: list[float]) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=shape, float32_values=tensor_pb2.Float32Values(values=values))


def longs(shape: list[int], values: list[int]) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=shape, int64_values=tensor_pb2.Int64Values(values=values))


PAIR = {"input": floats([2], [0.5, 0.5]), "target": floats([2], [0.0, 1.0])}
ROWS = {"input": floats([2, 2], [1, 2, 3, 4]), "class_indices": longs([2], [0, 1])}
Mse, Bce, Ce, Ctc = (
    regression_pb2.MseLossRequest,
    classification_pb2.BceLossRequest,
    classification_pb2.CrossEntropyLossRequest,
    sequence_pb2.CtcLossRequest,
)

RAW = {
    "wrong byte count": ("MseLoss", Mse(input=floats([3], [1, 2]), target=PAIR["target"]), "TENSOR_BYTE_LENGTH_MISMATCH", "input"),
    "half an element": (
        "MseLoss",
        Mse(input=tensor_pb2.Tensor(shape=[2], float16_values=b"abc"), target=PAIR["target"]),
        "TENSOR_BYTE_LENGTH_MISMATCH",
        "input",
    ),
    "missing input": ("MseLoss", Mse(target=PAIR["target"]), "TENSOR_MISSING", "input"),
    "empty message": ("MseLoss", Mse(), "TENSOR_MISSING", "input"),
    "tensor without values": ("MseLoss", Mse(input=tensor_pb2.Tensor(shape=[2]), target=PAIR["target"]), "TENSOR_MISSING", "input"),
    "missing oneof": ("CrossEntropyLoss", Ce(input=ROWS["input"]), "TENSOR_MISSING", "class_indices"),
    "negative extent": ("MseLoss", Mse(input=floats([-2, -1], [1, 2]), target=PAIR["target"]), "SHAPE_MISMATCH", "input"),
    "rank 9": ("MseLoss", Mse(input=floats([1] * 9, [1]), target=PAIR["target"]), "SHAPE_MISMATCH", "input"),
    "a million extents": ("MseLoss", Mse(input=floats([HUGE] * 10**6, [1]), target=PAIR["target"]), "SHAPE_MISMATCH", "input"),
    "an enormous shape": ("MseLoss", Mse(input=floats([HUGE] * 8, [1]), target=PAIR["target"]), "TENSOR_BYTE_LENGTH_MISMATCH", "input"),
    "unknown reduction": ("MseLoss", Mse(**PAIR, reduction=77), "REDUCTION_UNSUPPORTED", "reduction"),
    "batch mean of MSE": ("MseLoss", Mse(**PAIR, reduction=4), "REDUCTION_UNSUPPORTED", "reduction"),
    "unknown precision": ("MseLoss", Mse(**PAIR, precision=9), "PRECISION_UNSUPPORTED", "precision"),
    "indices out of range": (
        "CrossEntropyLoss",
        Ce(input=ROWS["input"], class_indices=longs([2], [0, 2])),
        "TARGET_OUT_OF_RANGE",
        "class_indices",
    ),
    "indices at the end of int64": (
        "CrossEntropyLoss",
        Ce(input=ROWS["input"], class_indices=longs([2], [-(2**63), 2**63 - 1])),
        "TARGET_OUT_OF_RANGE",
        "class_indices",
    ),
    "zero classes, many rows": (
        "CrossEntropyLoss",
        Ce(input=floats([HUGE, 0], []), class_indices=longs([0], [])),
        "SHAPE_MISMATCH",
        "input",
    ),
    "probabilities above 1": ("BceLoss", Bce(input=floats([2], [0.5, 1.5]), target=PAIR["target"]), "VALUE_OUT_OF_RANGE", "input"),
    "a label bomb": (
        "CtcLoss",
        Ctc(log_probs=floats([2, 1, 3], [-1.0] * 6), padded_targets=longs([1, 1], [100_000]), input_lengths=[2], target_lengths=[1]),
        "TARGET_OUT_OF_RANGE",
        "padded_targets",
    ),
    "lengths beyond the input": (
        "CtcLoss",
        Ctc(log_probs=floats([2, 1, 3], [-1.0] * 6), padded_targets=longs([1, 1], [1]), input_lengths=[3], target_lengths=[1]),
        "VALUE_OUT_OF_RANGE",
        "input_lengths",
    ),
}


@pytest.mark.parametrize(("rpc", "request_message", "reason", "field"), RAW.values(), ids=list(RAW))
def test_a_message_that_no_client_of_ours_sends(
    client: lossd.Client, address: str, rpc: str, request_message: Any, reason: str, field: str
) -> None:
    error = _fails(address, rpc, request_message.SerializeToString())
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert [violation.field for violation in error.details.field_violations] == [field]
    assert still_answers(client)


def _spoilt(name: str) -> Iterator[tuple[str, Any, str, str]]:
    """(label, message, reason, field): a good request of this loss with one thing wrong, for every tensor and every option."""
    rpc, good = encoded(name, **SAMPLES[name].samples[0].kwargs)
    public = twins.public(f"{rpc}Request")

    def but() -> Any:
        return public.FromString(good)

    for field, value in but().ListFields():
        if field.message_type is None or field.message_type.name != "Tensor":
            continue
        member = value.WhichOneof("values")
        changes: dict[str, tuple[Callable[[Any], Any], str]] = {
            "without values": (lambda tensor, member=member: tensor.ClearField(member), "TENSOR_MISSING"),
            "with one element too few": (lambda tensor, member=member: getattr(tensor, member).values.pop(), "TENSOR_BYTE_LENGTH_MISMATCH"),
            "of an enormous shape": (lambda tensor: tensor.shape.append(HUGE), "TENSOR_BYTE_LENGTH_MISMATCH"),
            "of a negative shape": (lambda tensor: tensor.shape.extend([-1, -1]), "SHAPE_MISMATCH"),
            "of nine extents": (lambda tensor: tensor.shape.extend([1] * 9), "SHAPE_MISMATCH"),
        }
        for label, (change, reason) in changes.items():
            message = but()
            change(getattr(message, field.name))
            yield f"{field.name} {label}", message, reason, field.name
        message = but()
        message.ClearField(field.name)
        choices = LOSSES[rpc].one_of
        known = LOSSES[rpc].arguments[field.name]
        if (isinstance(known, Tensor) and known.required) or any(field.name in members for members in choices):
            members = next((members for members in choices if field.name in members), (field.name,))
            yield f"{field.name} missing", message, "TENSOR_MISSING", members[0]
    for option, reason in (("reduction", "REDUCTION_UNSUPPORTED"), ("precision", "PRECISION_UNSUPPORTED")):
        message = but()
        setattr(message, option, 99)
        yield f"unknown {option}", message, reason, option


@pytest.mark.parametrize("name", SAMPLES)
def test_every_tensor_and_option_of_every_loss_is_checked(client: lossd.Client, address: str, name: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/lossd.v1.LossService/{SAMPLES[name].rpc}")
        for label, message, reason, field in _spoilt(name):
            with pytest.raises(grpc.RpcError) as caught:
                call(message.SerializeToString(), timeout=60)
            error = _errors.error_of_rpc(caught.value)
            found = (error.code, error.reason, [violation.field for violation in error.details.field_violations])
            assert found == ("INVALID_ARGUMENT", reason, [field]), label
    assert still_answers(client)


REALS = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, loss in SAMPLES.items()
    for argument, known in LOSSES[loss.rpc].arguments.items()
    if isinstance(known, Real) and known.maximum > 1e39
]


@pytest.mark.parametrize(("name", "argument"), REALS)
def test_a_number_that_the_compute_type_cannot_hold_is_named(address: str, name: str, argument: str) -> None:
    rpc, good = encoded(name, **SAMPLES[name].samples[0].kwargs)
    message = twins.public(f"{rpc}Request").FromString(good)
    setattr(message, argument, 1e39)
    error = _fails(address, rpc, message.SerializeToString())
    assert (error.reason, [violation.field for violation in error.details.field_violations]) == ("HYPERPARAMETER_OUT_OF_RANGE", [argument])
    message.precision = options_pb2.PRECISION_FLOAT64
    with grpc.insecure_channel(address) as channel:
        assert channel.unary_unary(f"/lossd.v1.LossService/{rpc}")(message.SerializeToString(), timeout=60)


def test_weights_whose_sum_overflows_make_an_infinite_denominator(client: lossd.Client) -> None:
    weight = torch.full((2,), 1.7e308, dtype=torch.float64)
    result = client.nll_loss(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), weight, return_statistics=True)
    assert result.mean_denominator == np.inf


def test_bytes_that_are_no_message(client: lossd.Client, address: str) -> None:
    error = _fails(address, "MseLoss", b"\xff\xff\xff")
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MESSAGE_MALFORMED")
    assert still_answers(client)


def test_a_column_against_a_row_never_broadcasts(client: lossd.Client) -> None:
    """8 MB of request would be 4 TB of result."""
    column, row = torch.zeros(1_000_000, 1), torch.zeros(1, 1_000_000)
    for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits", "kl_div"):
        with pytest.raises(lossd.InvalidArgumentError, match="SHAPE_MISMATCH"):
            getattr(client, name)(column, row)
    assert still_answers(client)


def _ctc_that_asks_for_40_gb() -> Any:
    times, labels = 100_000, 50_000
    return Ctc(
        log_probs=tensor_pb2.Tensor(shape=[times, 1, 2], float32_values=tensor_pb2.Float32Values(values=np.zeros(2 * times))),
        padded_targets=tensor_pb2.Tensor(shape=[1, labels], uint8_values=b"\1" * labels),
        input_lengths=[times],
        target_lengths=[labels],
    )


def _logits_that_take_4_tb() -> Any:
    rows = 1_000_000
    return vocabulary_pb2.LinearCrossEntropyLossRequest(
        input=tensor_pb2.Tensor(shape=[rows, 1], float16_values=bytes(2 * rows)),
        linear_weight=tensor_pb2.Tensor(shape=[rows, 1], float16_values=bytes(2 * rows)),
        class_indices=tensor_pb2.Tensor(shape=[rows], uint8_values=bytes(rows)),
    )


@pytest.mark.parametrize(
    ("rpc", "make"), [("CtcLoss", _ctc_that_asks_for_40_gb), ("LinearCrossEntropyLoss", _logits_that_take_4_tb)], ids=["ctc", "linear"]
)
def test_a_small_request_for_an_enormous_computation(client: lossd.Client, address: str, rpc: str, make: Callable[[], Any]) -> None:
    error = _fails(address, rpc, make().SerializeToString())
    assert error.code == "RESOURCE_EXHAUSTED"
    assert error.reason in ("WORKSPACE_TOO_LARGE", "OPERATIONS_TOO_LARGE")
    assert {name.partition("_")[0] for name in error.metadata} == {"limit", "actual"}
    assert still_answers(client)


@pytest.mark.parametrize("service", [loss_service_pb2_grpc.LossServiceStub])
def test_an_empty_batch_is_answered_by_rule(address: str, service: type) -> None:
    with grpc.insecure_channel(address) as channel:
        empty = Mse(input=floats([0, HUGE], []), target=floats([0, HUGE], []))
        response: response_pb2.LossResponse = service(channel).MseLoss(empty)
    assert np.isnan(response.value)
    assert response.statistics == response_pb2.LossStatistics()


def _fails(address: str, rpc: str, message: bytes) -> lossd.LossdError:
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/lossd.v1.LossService/{rpc}")(message, timeout=60)
        return _errors.error_of_rpc(caught.value)
