# SPDX-License-Identifier: Apache-2.0
"""The calls that are recorded, of every loss: the samples of tests/samples, each element type, and each way to be wrong."""

import inspect
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch

from golden.encoding import DTYPES, Json, fields, request, to_json
from golden.raw import raw_requests
from lossd._losses import LossMethods
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Kind, LossSpec, Real, Tensor
from samples import SAMPLES, Kwargs, LossSamples
from samples.record import compute_dtype, map_tensors
from support.arguments import argument

# Larger samples are left out: they test kernels, and clients learn nothing from them.
_LARGEST_BYTES: Final = 2_000
_FLOATS: Final = ("float16", "bfloat16", "float32", "float64")
_TYPES: Final = {Kind.FLOAT: _FLOATS, Kind.PER_CLASS: _FLOATS, Kind.REAL: tuple(DTYPES), Kind.INDEX: ("int32", "int64", "uint8")}
_REFUSED: Final = {Kind.FLOAT: ("int64", "bool"), Kind.PER_CLASS: ("int32",), Kind.REAL: (), Kind.INDEX: ("bool",)}

# Limits of a server that has the errors of large requests for small ones, and the loss that is asked of it.
LIMITS: Final = {"max_request_bytes": 720, "max_response_bytes": 64, "max_workspace_bytes": 3_000, "max_operations": 2_000}
LIMITED_LOSS: Final = "linear_cross_entropy"


class Vector(NamedTuple):
    """A request before it is answered. Without arguments, no public API can express it. `tolerance` is relative."""

    name: str
    request: bytes
    arguments: Json | None = None
    tolerance: float = 1e-6


def vectors(loss: str) -> list[Vector]:
    """All of a loss."""
    spec, samples = _spec(loss), SAMPLES[loss]
    made = [*_samples(spec, samples), *_dtypes(spec, samples), *_options(spec, samples), *_errors(spec, samples), *_raw(spec, samples)]
    names = [vector.name for vector in made]
    assert len(set(names)) == len(names), f"{loss} has two vectors of one name"
    return made


def limited_vectors() -> list[Vector]:
    """All of LIMITED_LOSS for a server with these LIMITS."""
    calls = {
        "within the limits": (4, 3, 2, "mean"),
        "a request too large": (200, 3, 1, "mean"),
        "an answer too large": (17, 2, 1, "none"),
        "too much working memory": (20, 20, 1, "mean"),
        "too many operations": (4, 16, 8, "mean"),
    }
    made = []
    for name, (rows, classes, features, reduction) in calls.items():
        kwargs = {"input": torch.ones(rows, features), "linear_weight": torch.ones(classes, features), "reduction": reduction}
        kwargs["target"] = torch.zeros(rows, dtype=torch.uint8)
        made.append(_vector(_spec(LIMITED_LOSS), SAMPLES[LIMITED_LOSS], name, kwargs))
    return made


# Implementation details follow.


def _spec(loss: str) -> LossSpec:
    return next(spec for spec in LOSSES.values() if spec.name == loss)


def _vector(spec: LossSpec, samples: LossSamples, name: str, kwargs: Kwargs) -> Vector:
    arguments = _arguments(kwargs)
    tolerance = 1e-9 if compute_dtype(samples, kwargs) is torch.float64 else 1e-6
    return Vector(name, request(spec.rpc, arguments), arguments, tolerance)


def _arguments(kwargs: Kwargs) -> Json:
    return {name: _to_json(name, value) for name, value in kwargs.items() if value is not None}


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
    """All float tensors, and each tensor by itself, in each element type that the loss takes there, and in one that it does not."""
    for dtype in ("float16", "bfloat16", "float64"):
        cast = map_tensors(
            samples.samples[0].kwargs, lambda _, tensor, to=DTYPES[dtype]: tensor.to(to) if tensor.is_floating_point() else tensor
        )
        for reduction in samples.reductions:
            yield _vector(spec, samples, f"{dtype}, {reduction}", cast | {"reduction": reduction})
    for field, known in spec.arguments.items():
        if isinstance(known, Tensor):
            name, kwargs = _with_field(spec, samples, field)
            for dtype in _TYPES[known.kind]:
                yield _vector(spec, samples, f"{field} of {dtype}", kwargs | {name: _cast(kwargs[name], dtype), "reduction": "none"})
            for dtype in _REFUSED[known.kind] if field != "class_probabilities" else ():  # whose integers are class indices
                yield _vector(spec, samples, f"{field} of {dtype}", kwargs | {name: _cast(kwargs[name], dtype)})


def _with_field(spec: LossSpec, samples: LossSamples, field: str) -> tuple[str, Kwargs]:
    """The argument that a field of the request holds, and the first sample that sets the field."""
    name = argument(spec.name, field)
    for sample in samples.samples:
        if isinstance(sample.kwargs.get(name), torch.Tensor) and field in fields(spec.rpc, _arguments(sample.kwargs)):
            return name, sample.kwargs
    raise AssertionError(f"no sample of {spec.name} sets {field}")


def _cast(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    unsigned = dtype in ("uint8", "bool")
    return (tensor.abs() if unsigned and tensor.dtype is not torch.bool else tensor).to(DTYPES[dtype])


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
    if "batchmean" not in samples.reductions:
        yield _vector(spec, samples, "a reduction of another loss", samples.samples[0].kwargs | {"reduction": "batchmean"})
    for name, known in spec.arguments.items():
        if isinstance(known, Real) and name in inspect.signature(getattr(LossMethods, spec.name)).parameters:
            for value in (math.nan, 1e39):  # the second is above float32's largest number
                yield _vector(spec, samples, f"{name} of {value:g}", samples.samples[0].kwargs | {name: value})


def _raw(spec: LossSpec, samples: LossSamples) -> Iterator[Vector]:
    for name, message in raw_requests(spec.rpc, _arguments(samples.samples[0].kwargs)):
        yield Vector(name, message)
