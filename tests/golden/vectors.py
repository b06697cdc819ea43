# SPDX-License-Identifier: Apache-2.0
"""The calls that are recorded, of every loss: the samples of tests/samples, each element type, and each way to be wrong."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch

from golden.encoding import DTYPES, Json, request, to_json
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Kind, LossSpec, Tensor
from samples import SAMPLES, Kwargs, LossSamples
from samples.record import compute_dtype, map_tensors

# Larger samples are left out: they test kernels, and clients learn nothing from them.
_LARGEST_BYTES: Final = 2_000
_INTEGERS: Final = ("int64", "int32", "uint8")
_FIELDS: Final = {"target": ("target", "class_indices", "class_probabilities"), "targets": ("padded_targets",), "var": ("variance_values",)}


class Vector(NamedTuple):
    """A request before it is answered. Without arguments, no public API can express it. `tolerance` is relative."""

    name: str
    request: bytes
    arguments: Json | None = None
    tolerance: float = 1e-6


def vectors(loss: str) -> list[Vector]:
    """All of a loss."""
    spec = next(spec for spec in LOSSES.values() if spec.name == loss)
    samples = SAMPLES[loss]
    made = [*_samples(spec, samples), *_dtypes(spec, samples), *_options(spec, samples), *_errors(spec, samples)]
    names = [vector.name for vector in made]
    assert len(set(names)) == len(names), f"{loss} has two vectors of one name"
    return made


# Implementation details follow.


def _vector(spec: LossSpec, samples: LossSamples, name: str, kwargs: Kwargs) -> Vector:
    arguments = {argument: _to_json(argument, value) for argument, value in kwargs.items() if value is not None}
    tolerance = 1e-9 if compute_dtype(samples, kwargs) is torch.float64 else 1e-6
    return Vector(name, request(spec.rpc, arguments), arguments, tolerance)


def _to_json(name: str, value: Any) -> Any:
    if name == "tail":
        return [{"projection": to_json(projection), "output": to_json(output)} for projection, output in value]
    if name in ("input_lengths", "target_lengths", "cutoffs"):
        return [int(length) for length in torch.as_tensor(value).reshape(-1).tolist()]
    if name == "distance_function":
        return {value.field: {option: to_json(given) for option, given in value.arguments().items()}}
    return value if isinstance(value, str) else to_json(value)


def _nbytes(kwargs: Kwargs) -> int:
    found: list[int] = []
    map_tensors(kwargs, lambda _, tensor: found.append(tensor.nbytes))
    return sum(found)


def _samples(spec: LossSpec, samples: LossSamples) -> Iterator[Vector]:
    for sample in samples.samples:
        if _nbytes(sample.kwargs) <= _LARGEST_BYTES:
            for reduction in (name for name in samples.reductions if name != "sum" or sample is samples.samples[0]):
                yield _vector(spec, samples, f"{sample.label}, {reduction}", sample.kwargs | {"reduction": reduction})


def _dtypes(spec: LossSpec, samples: LossSamples) -> Iterator[Vector]:
    """The first sample with each tensor, and with all float tensors, in every element type that the loss takes there."""
    plain = samples.samples[0].kwargs
    floats = {name for name, value in plain.items() if isinstance(value, torch.Tensor) and value.is_floating_point()}
    for dtype in ("float16", "bfloat16", "float64"):
        cast = map_tensors(plain, lambda _, tensor, to=DTYPES[dtype]: tensor.to(to) if tensor.is_floating_point() else tensor)
        for reduction in samples.reductions:
            yield _vector(spec, samples, f"{dtype}, {reduction}", cast | {"reduction": reduction})
    for name, value in plain.items():
        fields = [spec.arguments[field] for field in _FIELDS.get(name, (name,)) if field in spec.arguments]
        kinds = [field.kind for field in fields if isinstance(field, Tensor)]
        if not kinds:
            continue
        types = [dtype for dtype in DTYPES if Kind.REAL in kinds or (dtype in _INTEGERS if Kind.INDEX in kinds else "float" in dtype)]
        for dtype in types:
            if name in floats or Kind.REAL in kinds or not value.is_floating_point():
                cast = value.to(DTYPES[dtype])
                yield _vector(spec, samples, f"{name} of {dtype}", plain | {name: cast, "reduction": "none"})


def _options(spec: LossSpec, samples: LossSamples) -> Iterator[Vector]:
    plain = samples.samples[0].kwargs
    yield _vector(spec, samples, "no reduction given", plain)
    for reduction in samples.reductions:
        yield _vector(spec, samples, f"in float64, {reduction}", plain | {"precision": "float64", "reduction": reduction})
    yield _vector(spec, samples, "finite, others rejected", plain | {"reject_non_finite": True})


def _errors(spec: LossSpec, samples: LossSamples) -> Iterator[Vector]:
    for error in samples.errors:
        if _nbytes(error.kwargs) <= _LARGEST_BYTES:
            yield _vector(spec, samples, error.label, error.kwargs)
