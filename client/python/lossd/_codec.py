# SPDX-License-Identifier: Apache-2.0
"""Arguments -> request messages, response messages -> results. Pure: no channel, no clock, no torch."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypedDict

from lossd._encoding import encode
from lossd._tensors import Values, array_of
from lossd.v1 import options_pb2

ReductionName = Literal["none", "mean", "sum", "batchmean"]

_REDUCTIONS: Final = {
    "none": options_pb2.REDUCTION_NONE,
    "mean": options_pb2.REDUCTION_MEAN,
    "sum": options_pb2.REDUCTION_SUM,
    "batchmean": options_pb2.REDUCTION_BATCH_MEAN,
}


class Unset(Enum):
    """The default of arguments that fall back to the client's."""

    UNSET = "the client's"

    def __repr__(self) -> str:
        return self.name


UNSET: Final = Unset.UNSET


class CallOptions(TypedDict, total=False):
    """Options of every loss method."""

    # "float64" computes in float64; by default 16-bit inputs are computed in float32 and others as given.
    precision: Literal["float64"] | None
    # True: NaN and infinities in float tensors raise InvalidArgumentError; by default they propagate as in torch.
    reject_non_finite: bool
    # Seconds for this call, instead of the client's timeout; None means no limit.
    timeout: float | None


@dataclass(slots=True)
class Request:
    """One loss call before it is encoded. `fields` are those of the request message; tensors are Values."""

    rpc: str
    fields: dict[str, Any]
    reduction: str
    options: CallOptions = field(default_factory=CallOptions)
    nbytes: int = field(init=False)  # the approximate size of its message, never too small

    def __post_init__(self) -> None:
        self.nbytes = 64 + sum(map(_nbytes, self.fields.values()))

    def encode(self) -> bytes:
        """The request message on the wire. Raises TypeError or ValueError for hyper-parameters of a wrong type."""
        options: dict[str, Any] = {"reduction": _REDUCTIONS[self.reduction]}
        if self.options.get("precision") == "float64":
            options["precision"] = options_pb2.PRECISION_FLOAT64
        if self.options.get("reject_non_finite"):
            options["reject_non_finite"] = True
        return encode(f"{self.rpc}Request", self.fields | options)


@dataclass(frozen=True, slots=True)
class Execution:
    """How a call was computed: times in seconds, and how many calls shared the batch."""

    queue_seconds: float
    compute_seconds: float
    calls_in_batch: int
    device: str


@dataclass(frozen=True, slots=True)
class LossResult:
    """A loss with what is needed to merge it exactly with others.

    The mean over several results is the sum of their `mean_numerator` divided by the sum of their `mean_denominator`; their
    sum is the sum of their `sum`. `value` is a float, or an array for reduction="none".
    """

    value: Any
    sum: float
    mean_numerator: float
    mean_denominator: float
    element_count: int
    ignored_count: int
    execution: Execution


def request(rpc: str, reduction: str, options: CallOptions, /, **fields: Any) -> Request:
    """A call of this RPC. Fields that are None are left unset. Raises TypeError or ValueError for values that cannot be sent."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; it must be one of {', '.join(_REDUCTIONS)}")
    if options:
        _check_options(options)
    return Request(rpc, {name: value for name, value in fields.items() if value is not None}, reduction, options)


def value(response: Any) -> Any:
    """The value in a LossResponse twin: a float, or an array for reduction="none"."""
    return response.value if response.WhichOneof("output") == "value" else array_of(response.values)


def result(response: Any) -> LossResult:
    """The result in a LossResponse twin."""
    statistics, execution = response.statistics, response.execution
    return LossResult(
        value=value(response),
        sum=statistics.sum,
        mean_numerator=statistics.mean_numerator,
        mean_denominator=statistics.mean_denominator,
        element_count=statistics.element_count,
        ignored_count=statistics.ignored_count,
        execution=Execution(execution.queue_seconds, execution.compute_seconds, execution.calls_in_batch, execution.device),
    )


# Implementation details follow.


def _check_options(options: CallOptions) -> None:
    if options.get("precision") not in (None, "float64"):
        raise ValueError(f"precision is {options['precision']!r}; it must be None or 'float64'")
    unknown = set(options) - set(CallOptions.__annotations__)
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")


def _nbytes(value: Any) -> int:
    kind = type(value)
    if kind is Values:
        return int(value.array.nbytes) + 128
    if kind is dict:
        return 64 + sum(map(_nbytes, value.values()))
    if kind is list:
        return 64 + (sum(map(_nbytes, value)) if value and type(value[0]) is dict else 10 * len(value))
    return 16
