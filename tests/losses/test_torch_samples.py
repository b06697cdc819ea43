# SPDX-License-Identifier: Apache-2.0
"""Promise 1 on samples that we did not choose: those of torch's own test suite, all computed or refused for a stated reason."""

import functools
import inspect
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import lossd
from lossd_server.call import NONE, Answer
from lossd_server.compute.batch import answer_empty, compute
from lossd_server.compute.memory import HostMemory
from lossd_server.errors import CallError
from lossd_server.losses import LOSSES
from support.encoded_requests import call_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Kwargs = dict[str, Any]
_ALLOWS_ANY_TARGET = {"margin_ranking_loss", "hinge_embedding_loss", "soft_margin_loss", "cosine_embedding_loss"}
# torch's module has no function of its own; how a linear cross entropy is chunked is the server's business.
_WITHOUT_SAMPLES = {"adaptive_log_softmax_with_loss"}
_NOT_SENT = {"size_average", "reduce", "options"}


# What is refused on purpose: (loss, reason of the error) and why. Nothing else may be refused.
REFUSED: dict[tuple[str, str], str] = {}


@functools.cache
def ops() -> dict[str, Any]:
    """torch's operations by name. Imported late, because the import takes seconds and every run of pytest collects this module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {op.name.removeprefix("nn.functional."): op for op in op_db if op.name.startswith("nn.functional.")}


def calls(name: str, dtype: torch.dtype) -> list[Kwargs]:
    """The arguments of torch's samples, by name."""
    parameters = list(inspect.signature(getattr(F, name)).parameters)
    found = []
    for sample in ops()[name].sample_inputs("cpu", dtype):
        positional = dict(zip(parameters, (sample.input, *sample.args), strict=False))
        found.append({key: value for key, value in (positional | sample.kwargs).items() if key not in _NOT_SENT})
    return found


def expected(name: str, kwargs: Kwargs, dtype: torch.dtype) -> torch.Tensor:
    """torch's answer, 16-bit types computed in float32."""

    def convert(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    with torch.no_grad():
        return getattr(F, name)(**{key: convert(value) for key, value in kwargs.items()})  # type: ignore[no-any-return]


def answered(name: str, kwargs: Kwargs) -> torch.Tensor:
    """The server's own answer. Raises CallError."""
    more: Kwargs = {"allow_any_target": True} if name in _ALLOWS_ANY_TARGET else {}
    if isinstance(distance := kwargs.get("distance_function"), torch.nn.PairwiseDistance):
        more["distance_function"] = lossd.PairwiseDistance(p=distance.norm, eps=distance.eps)
    call = call_of(name, **kwargs | more)
    with torch.no_grad():
        (answer,) = compute([call], HostMemory()) if call.values_count else [answer_empty(call)]
    assert isinstance(answer, Answer)
    dtype = torch.float64 if call.double else torch.float32
    if call.reduction == NONE:
        assert answer.values is not None
        return torch.frombuffer(bytearray(answer.values), dtype=dtype).reshape(answer.shape) if answer.values else torch.empty(answer.shape)
    return torch.tensor(answer.value, dtype=dtype)


def test_every_loss_has_samples() -> None:
    assert {spec.name for spec in LOSSES.values()} - ops().keys() == _WITHOUT_SAMPLES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", sorted({spec.name for spec in LOSSES.values()} - _WITHOUT_SAMPLES))
def test_torchs_samples_have_torchs_answers(name: str, dtype: torch.dtype) -> None:
    if dtype not in ops()[name].dtypes:
        pytest.skip("torch has no samples of this type")
    wrong, agreed = [], 0
    for kwargs in calls(name, dtype):
        shapes = {key: tuple(value.shape) if isinstance(value, torch.Tensor) else value for key, value in kwargs.items()}
        try:
            found = answered(name, kwargs)
        except CallError as error:
            if (name, error.reason) not in REFUSED:
                wrong.append(f"{shapes} refused: {error.message}")
            continue
        wanted = expected(name, kwargs, found.dtype)
        try:
            torch.testing.assert_close(found, wanted.to(found.dtype), equal_nan=True)
            agreed += 1
        except AssertionError as error:
            wrong.append(f"{shapes}: {error}")
    assert not wrong, f"{agreed} agree, {len(wrong)} do not:\n" + "\n".join(wrong[:20])
