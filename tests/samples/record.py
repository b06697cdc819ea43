# SPDX-License-Identifier: Apache-2.0
"""What the samples of a loss are: data in the signature that the client's method shares with torch.nn.functional.

The same keyword arguments drive the client, torch and the float64 reference. Tensors are torch tensors; reduction is never
among them, as every test chooses its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st

Kwargs = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One valid call. Not `torch`: torch takes no such arguments or gives another answer, for the reason in the label."""

    label: str
    kwargs: Kwargs
    torch: bool = True
    reference: bool = True


@dataclass(frozen=True)
class ErrorInput:
    """One call that must fail, and how. `field` is the path in the request message; empty if no field is at fault."""

    label: str
    kwargs: Kwargs
    reason: str
    field: str
    code: str = "INVALID_ARGUMENT"


@dataclass(frozen=True)
class Sizes:
    """The extents that generated calls draw from."""

    batch: st.SearchStrategy[int]
    width: st.SearchStrategy[int]
    inner: st.SearchStrategy[tuple[int, ...]]  # d1..dK

    @property
    def shapes(self) -> st.SearchStrategy[tuple[int, ...]]:
        """Of element-wise losses."""
        full = st.builds(lambda batch, width, inner: (batch, width, *inner), self.batch, self.width, self.inner)
        return st.one_of(st.just(()), st.tuples(self.batch), full)


@dataclass(frozen=True, kw_only=True)
class LossSamples:
    """Everything that the generic tests need to know of one loss. The first sample is a plain one with a batch."""

    name: str
    rpc: str
    samples: Sequence[Sample]
    errors: Sequence[ErrorInput]
    cases: Callable[[Sizes], st.SearchStrategy[Kwargs]]
    # Arguments with the axis that counts the batch, the most important first, and that one's rank without a batch.
    batched: Mapping[str, int]
    row_rank: int = 0
    # Arguments that broadcast to the first one; they are expanded before a batch is split.
    broadcast: tuple[str, ...] = ()
    # Whether integer tensors are class indices; otherwise they are values.
    indices: bool = False
    # Tensors that do not decide the compute type.
    per_class: tuple[str, ...] = ("weight",)
    # Float tensors that may hold NaN and infinities.
    free: tuple[str, ...] = ("input",)
    reductions: tuple[str, ...] = ("mean", "sum", "none")
    # torch's function, where it is not the one of this name; and how to split a batch, where `batched` does not say.
    function: Callable[..., torch.Tensor] | None = None
    pieces: Callable[[Kwargs, list[int]], list[Kwargs]] | None = None

    def torch_function(self) -> Callable[..., torch.Tensor]:
        """(**kwargs, reduction=) -> tensor."""
        return self.function or getattr(F, self.name)  # type: ignore[no-any-return]

    def batch_of(self, kwargs: Kwargs) -> int | None:
        """The extent of the batch; None for a call without one."""
        name, axis = next(iter(self.batched.items()))
        return int(kwargs[name].shape[axis]) if kwargs[name].ndim > self.row_rank else None

    def split(self, kwargs: Kwargs, extents: list[int]) -> list[Kwargs]:
        """The calls that the batch of this call comes apart into; the extents add up to the batch."""
        if self.pieces is not None:
            return self.pieces(kwargs, extents)
        first = kwargs[next(iter(self.batched))]
        whole = {n: v.expand(first.shape) if n in self.broadcast and v is not None else v for n, v in kwargs.items()}
        parts = {name: whole[name].split(extents, axis) for name, axis in self.batched.items() if whole.get(name) is not None}
        return [{**whole, **{name: part[index] for name, part in parts.items()}} for index in range(len(extents))]


def map_tensors(value: Any, function: Callable[[str, torch.Tensor], Any], name: str = "") -> Any:
    """`value` with each tensor replaced by function(argument, tensor), through dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return function(name, value)
    if isinstance(value, dict):
        return {key: map_tensors(item, function, name or key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, function, name) for item in value)
    return value


def compute_dtype(loss: LossSamples, kwargs: Kwargs) -> torch.dtype:
    """float64 if a tensor that decides is, or the precision says so; float32 otherwise."""
    found: list[torch.dtype] = []
    map_tensors(kwargs, lambda name, tensor: found.append(tensor.dtype) if name not in loss.per_class else None)
    return torch.float64 if kwargs.get("precision") == "float64" or torch.float64 in found else torch.float32


def computed(loss: LossSamples, kwargs: Kwargs) -> Kwargs:
    """The arguments as they enter the computation: torch's and the reference's. Labels become int64, options go."""
    dtype = compute_dtype(loss, kwargs)

    def convert(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(torch.int64 if loss.indices and not tensor.is_floating_point() else dtype)

    converted: Kwargs = map_tensors(kwargs, convert)
    for option in ("precision", "allow_any_target"):
        converted.pop(option, None)
    return converted


# -- random tensors, from a seed


def rng(seed: int) -> np.random.Generator:
    """All samples are the same in every run."""
    return np.random.default_rng(seed)


seeds = st.integers(0, 2**32 - 1).map(rng)
scales = st.sampled_from([1.0, 1e-3, 30.0])


def normal(generator: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """float32, of this standard deviation."""
    return torch.from_numpy(np.asarray(generator.standard_normal(shape) * scale, np.float32))


def uniform(generator: np.random.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """float32 in [low, high]."""
    return torch.from_numpy(np.asarray(generator.uniform(low, high, shape), np.float32))


def labels(generator: np.random.Generator, classes: int, *shape: int) -> torch.Tensor:
    """int64 in [0, classes)."""
    return torch.from_numpy(np.asarray(generator.integers(0, classes, shape), np.int64))


def signs(generator: np.random.Generator, *shape: int) -> torch.Tensor:
    """float32, 1 or -1."""
    return torch.from_numpy(np.asarray(generator.integers(0, 2, shape) * 2 - 1, np.float32))


INTEGERS = (torch.int64, torch.int32, torch.uint8)
index_types = st.sampled_from(INTEGERS)
sign_types = st.sampled_from([torch.float32, torch.int64, torch.int32, torch.float64])


@st.composite
def real_targets(draw: st.DrawFn, generator: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> torch.Tensor:
    """Any element type: floats, or non-negative integers, or booleans."""
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool]))
    if dtype.is_floating_point:
        return normal(generator, *shape, scale=scale)
    return labels(generator, 2 if dtype is torch.bool else 9, *shape).to(dtype)


def apart(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, not contiguous: every second column of a wider tensor, or a transposed one."""
    return tensor.repeat_interleave(2, -1)[..., ::2] if tensor.ndim == 1 else tensor.transpose(0, -1).contiguous().transpose(0, -1)


def poked(tensor: torch.Tensor, *values: float) -> torch.Tensor:
    """The tensor with its first elements replaced."""
    flat = tensor.clone().reshape(-1)
    flat[: len(values)] = torch.tensor(values, dtype=tensor.dtype)
    return flat.reshape(tensor.shape)


def mean_over_rows(values: torch.Tensor, reduction: str) -> torch.Tensor:
    """The reductions, if torch's module has MEAN only."""
    return {"none": lambda: values, "sum": values.sum, "mean": values.mean}[reduction]()
