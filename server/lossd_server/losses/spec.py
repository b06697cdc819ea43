# SPDX-License-Identifier: Apache-2.0
"""The record types of a loss. A loss is one LossSpec: data, plus a few small functions.

`to_columns` runs on the host for each request by itself: it checks the shapes and lays the tensors out as columns, in an Arrangement.
`check_values` then checks the values and completes the Arrangement with what follows from them. `kernel` runs on the device for many
requests at once: it is pure, receives the concatenated columns and returns the unreduced loss. Everything in between (concatenate,
reduce, split, encode) is generic.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from lossd_server.losses.tensor import Array

if TYPE_CHECKING:
    import torch


class Kind(Enum):
    """What a tensor argument may hold."""

    FLOAT = "float"  # float; decides the compute dtype
    REAL = "real"  # any dtype, cast to the compute dtype; decides it too if it is float
    INDEX = "integer"  # integers, cast to int64
    PER_CLASS = "per-class"  # float and finite, cast to the compute dtype without deciding it


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor argument."""

    kind: Kind
    required: bool = True


@dataclass(frozen=True, slots=True)
class Real:
    """A real hyper-parameter: its default and range. NaN is never in range. Without a default, it is absent if unset."""

    default: float | None
    minimum: float = -math.inf
    maximum: float = math.inf
    above: float | None = None  # exclusive lower bound
    finite: bool = True

    def describe(self) -> str:
        """The range in words."""
        words = ["finite"] if self.finite else []
        if self.above is not None:
            words.append(f"> {self.above:g}")
        elif self.minimum > -math.inf:
            words.append(f">= {self.minimum:g}")
        if self.maximum < math.inf:
            words.append(f"<= {self.maximum:g}")
        return ", ".join(words) or "a number"

    def admits(self, value: float) -> bool:
        """Whether the value is in range."""
        return (
            self.minimum <= value <= self.maximum and (self.above is None or value > self.above) and not (self.finite and math.isinf(value))
        )


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer hyper-parameter. Empty `choices` allow any value."""

    default: int
    choices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean hyper-parameter."""

    default: bool = False


@dataclass(frozen=True, slots=True)
class Lengths:
    """A required list of integers that `to_columns` checks and lays out itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """A message argument (or a list of them) with arguments of its own; `to_columns` lays it out itself."""

    arguments: "Mapping[str, Argument]"
    repeated: bool = False


Argument = Tensor | Real | Integer | Flag | Lengths | Group


@dataclass(slots=True)
class Arrangement:
    """One validated request, laid out for its kernel.

    The first extent of all columns is `rows`; a batch concatenates its requests' columns along it. Shared tensors are the same for
    all requests of a batch. The unreduced loss has `rows * values_per_row` elements, in the order of `output_shape`.
    """

    columns: dict[str, Array]
    rows: int
    output_shape: tuple[int, ...]
    values_per_row: int = 1
    shared: dict[str, Array] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    # MEAN's denominator if it is known on the host; None for the element count, or the kernel's. A list has one for each request, if
    # several requests of equal structure are laid out as one.
    mean_denominator: float | list[float] | None = None
    ignored_count: int | list[int] = 0
    # First extent of the request, for BATCH_MEAN; 1 for a 0-d input, which torch does not divide.
    batch_extent: int = 1
    # Working memory of the kernel, in elements of the compute dtype, beyond the loss's workspace_factor.
    extra_workspace_elements: int = 0
    # Requests that differ in it share no batch, even if they could: padding would waste too much.
    affinity: Hashable = None
    # Multiply-adds or equivalent operations, if they are not proportional to the columns' elements.
    operations: int | None = None


@dataclass(slots=True)
class Unreduced:
    """What a kernel returns: flat tensors of one element for each value of the unreduced loss."""

    loss: "torch.Tensor"
    mean_numerator: "torch.Tensor | None" = None  # None: the same as `loss`
    mean_denominator: "torch.Tensor | None" = None  # None: 1 for each element
    ignored: "torch.Tensor | None" = None  # bool; None: no element is ignored


class Coalescing(Enum):
    """How requests of a loss share a batch."""

    ELEMENTS = "elements"  # requests of any shapes merge, flattened
    ROWS = "rows"  # requests merge if their trailing extents and per-class tensors are equal
    PADDED = "padded"  # requests merge, padded to common extents
    ALONE = "alone"  # requests never merge


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """One loss. `name` is torch's, `rpc` the method of LossService and, with "Request", its message."""

    name: str
    rpc: str
    arguments: Mapping[str, Argument]
    coalescing: Coalescing
    to_columns: "Callable[[Arguments], Arrangement]"
    kernel: "Callable[..., torch.Tensor | Unreduced]"
    # (arguments, arrangement, count): checks the values and writes what follows from them (ignored_count, mean_denominator) to the
    # arrangement, for each of `count` requests whose tensors follow each other. Raises InvalidArgument. None: all values are valid.
    check_values: "Callable[[Arguments, Arrangement, int], None] | None" = None
    # Whether `to_columns` reads shapes and hyper-parameters only. If it reads values too, its result holds for one request only.
    columns_by_shape: bool = True
    # The members of each oneof of which one must be set.
    one_of: tuple[tuple[str, ...], ...] = ()
    batch_mean: bool = False
    # Joins the columns of requests, if not by concatenation; see batch.py.
    merge: "Callable[[list[Arrangement]], dict[str, Array]] | None" = None
    # Elements of the compute dtype that the kernel holds at once besides its columns, its result among them, for each element of
    # the largest column or, if it has more, of the unreduced loss. tests/compute/test_peak_memory.py measures it.
    workspace_factor: float = 2.0
    # Estimated time of the kernel on one CPU thread for each operation; an element of the largest column unless set otherwise.
    nanoseconds_per_operation: float = 1.0


class Arguments(dict[str, Any]):
    """The decoded arguments of one request by name: Arrays, numbers, flags, sequences of lengths, nested Arguments.

    Unset hyper-parameters have their defaults; unset tensors, groups and hyper-parameters without a default are missing. `given`
    holds the names that the message set.
    """

    __slots__ = ("given",)

    given: frozenset[str]
