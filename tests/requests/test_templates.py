# SPDX-License-Identifier: Apache-2.0
"""A call made from a cached template equals the call that reading the request anew makes, or no call is made."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossd.v1 import classification_pb2, evaluation_service_pb2
from lossd_server.call import NONE, Call
from lossd_server.compute.batch import compute
from lossd_server.compute.memory import HostMemory
from lossd_server.errors import CallError
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Coalescing
from lossd_server.requests import reader
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from samples import SAMPLES, Kwargs, LossSamples
from samples.record import map_tensors, rng
from support.encoded_requests import encoded

each_loss = pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)

_MEMBERS = {field.message_type.name: field.name for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields}


def wrapped(rpc: str, message: bytes) -> bytes:
    """The request in a LossCall."""
    call = evaluation_service_pb2.LossCall()
    getattr(call, _MEMBERS[f"{rpc}Request"]).MergeFromString(message)
    return call.SerializeToString()


def facts(call: Call) -> tuple[Any, ...]:
    """Everything about a call. The key of a loss that never merges is its own."""
    a = call.arrangement
    key = None if call.spec.coalescing is Coalescing.ALONE else call.key
    columns = {name: (array.dtype, array.shape, bytes(array.payload)) for name, array in a.columns.items()}
    shared = {name: (array.dtype, array.shape, bytes(array.payload)) for name, array in a.shared.items()}
    denominator = None if a.mean_denominator is None else struct.pack("<d", a.mean_denominator)
    rest = (a.rows, a.output_shape, a.values_per_row, denominator, a.ignored_count, a.batch_extent, a.affinity, a.operations)
    return call.spec, key, columns, shared, call.params, call.reduction, call.double, call.nbytes, call.elements, call.cost_seconds, rest


def result(read: Any) -> Any:
    """The facts of the call, or the error's words."""
    try:
        return facts(read())
    except CallError as error:
        return type(error), str(error), error.metadata


def shuffled(kwargs: Kwargs, generator: np.random.Generator) -> Kwargs:
    """The same values elsewhere in their tensors."""
    moved: Kwargs = map_tensors(kwargs, lambda _, t: t.flatten()[generator.permutation(t.numel())].view(t.shape))
    return moved


@each_loss
def test_a_request_read_from_a_template_is_the_one_read_anew(loss: LossSamples) -> None:
    """Values of every kind in requests of one template: right ones, others, and wrong ones."""
    remembering = Reader(RequestLimits())
    generator = rng(11)
    for sample in loss.samples:
        for wild in (False, False, False, True, True):
            # Shuffled targets are in range again; a few wild ones need not be.
            kwargs = map_tensors(
                sample.kwargs, lambda _, tensor: tensor.flatten()[generator.permutation(tensor.numel())].view(tensor.shape)
            )
            rpc, message = encoded(loss.name, **kwargs)
            if wild and message:
                message = bytearray(message)
                message[int(generator.integers(len(message)))] ^= 1 << int(generator.integers(8))
                message = bytes(message)
            spec = LOSSES[rpc]
            remembered = result(lambda: remembering.read(spec, message))  # noqa: B023
            assert remembered == result(lambda: Reader(RequestLimits()).read(spec, message)), sample.label  # noqa: B023


@settings(max_examples=300)
@given(data=st.data())
def test_a_changed_byte_at_any_place_is_noticed(data: st.DataObject) -> None:
    loss = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    sample = data.draw(st.sampled_from(loss.samples))
    rpc, message = encoded(loss.name, **sample.kwargs)
    spec = LOSSES[rpc]
    remembering = Reader(RequestLimits())
    for _ in range(3):
        result(lambda: remembering.read(spec, message))
    assume(message)
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 2))):
        changed[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    assert result(lambda: remembering.read(spec, bytes(changed))) == result(lambda: Reader(RequestLimits()).read(spec, bytes(changed)))


@pytest.mark.parametrize("loss", [loss for loss in SAMPLES.values() if LOSSES[loss.rpc].columns_by_shape], ids=lambda loss: loss.name)
def test_a_second_request_of_a_template_is_not_parsed(loss: LossSamples, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering = Reader(RequestLimits())
    rpc, message = encoded(loss.name, **loss.samples[0].kwargs)
    for _ in range(2):
        remembering.read(LOSSES[rpc], message)
        remembering.read_call(wrapped(rpc, message))
    monkeypatch.setattr(reader, "validate", None)
    monkeypatch.setattr(reader, "decode", None)
    remembering.read(LOSSES[rpc], message)
    remembering.read_call(wrapped(rpc, message))


@each_loss
def test_requests_read_together_are_answered_as_each_alone(loss: LossSamples) -> None:
    remembering, memory, generator = Reader(RequestLimits()), HostMemory(), rng(5)
    for sample in loss.samples:
        for reduction in set(loss.reductions) - {"none"}:
            kwargs = sample.kwargs | {"reduction": reduction}
            messages = [wrapped(*encoded(loss.name, **shuffled(kwargs, generator))) for _ in range(9)]
            alone = []
            for message in messages:
                try:
                    call = remembering.read_call(message)
                except CallError:
                    alone.append(None)
                else:
                    alone.append(compute([call], memory)[0] if call.values_count else None)
            seen: set[int] = set()
            for indices, call in remembering.read_together(messages, range(len(messages))):
                assert call.count == len(indices)
                assert not seen.intersection(indices)
                seen.update(indices)
                (answers,) = compute([call], memory)
                parts = call.parts()
                for position, index in enumerate(indices):
                    answer = answers if call.count == 1 else answers.of(position)
                    for found in (answer, compute([parts[position]], memory)[0]):
                        assert repr(found) == repr(alone[index]), sample.label


def test_unreduced_values_are_not_read_together() -> None:
    remembering = Reader(RequestLimits())
    message = wrapped(*encoded("mse_loss", input=np.ones(4, np.float32), target=np.ones(4, np.float32), reduction="none"))
    for _ in range(3):
        assert remembering.read_call(message).reduction == NONE
    assert list(remembering.read_together([message] * 5, range(5))) == []


def test_one_wrong_value_makes_the_requests_of_its_group_be_read_alone() -> None:
    remembering = Reader(RequestLimits())
    labels = [np.array([1, 0]), np.array([2, 1]), np.array([3, 0])]
    messages = [wrapped(*encoded("cross_entropy", input=np.zeros((2, 3), np.float32), target=target)) for target in labels]
    for _ in range(2):
        remembering.read_call(messages[0])
    assert [indices for indices, _ in remembering.read_together(messages, [0, 1])] == [[0, 1]]
    assert list(remembering.read_together(messages, range(len(messages)))) == []
    with pytest.raises(CallError, match="class_indices"):
        remembering.read_call(messages[2])


def test_fields_that_protobuf_merges_are_read_anew() -> None:
    """Twice the same tensor: the values of both follow each other, and the shape too."""
    request = classification_pb2.NllLossRequest()
    request.input.shape.append(1)
    request.input.float32_values.values.append(0.5)
    twice = request.SerializeToString() * 2
    rest = classification_pb2.NllLossRequest()
    rest.target.shape.append(1)
    rest.target.int64_values.values.append(0)
    message = twice + rest.SerializeToString()
    remembering, spec = Reader(RequestLimits()), LOSSES["NllLoss"]
    for _ in range(4):
        assert result(lambda: remembering.read(spec, message)) == result(lambda: Reader(RequestLimits()).read(spec, message))


def test_templates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossd_server.requests.templates._MAX_TEMPLATES", 3)
    remembering, spec = Reader(RequestLimits()), LOSSES["MseLoss"]
    for _ in range(3):
        for size in range(1, 9):
            ones = np.ones(size, np.float32)
            remembering.read(spec, encoded("mse_loss", input=ones, target=ones)[1])
    assert len(remembering._templates._known) <= 3
    assert len(remembering._templates._seen) <= 3
