# SPDX-License-Identifier: Apache-2.0
"""READ FIRST: what travels through the server.

A request becomes a Call; a batch of Calls is computed to Answers; an Outcome is an answer or an error.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from lossd.v1 import options_pb2
from lossd_server.errors import CallError
from lossd_server.losses.spec import Arrangement, LossSpec
from lossd_server.losses.tensor import Array, Encoded

UNSPECIFIED = options_pb2.REDUCTION_UNSPECIFIED
NONE = options_pb2.REDUCTION_NONE
MEAN = options_pb2.REDUCTION_MEAN
SUM = options_pb2.REDUCTION_SUM
BATCH_MEAN = options_pb2.REDUCTION_BATCH_MEAN

# The bytes that a call counts besides its tensors, from its arrival to its answer, so that a flood of tiny calls is bounded too.
CALL_OVERHEAD_BYTES: Final = 4096


@dataclass(slots=True, eq=False)
class Call:
    """A validated request, or several of equal structure. Calls with equal keys may be computed together."""

    spec: LossSpec
    key: Hashable
    arrangement: Arrangement
    params: dict[str, Any]
    reduction: int  # NONE, MEAN, SUM or BATCH_MEAN
    double: bool  # computed in float64, else float32
    nbytes: int  # of its tensors
    elements: int  # of its largest column, or of its extra working memory if that is larger
    cost_seconds: float  # estimated, one thread of a CPU
    # The number of requests, of equal structure and reduction, that are laid out as one. Their tensors follow each other in the
    # columns, and `nbytes`, `elements` and `cost_seconds` are totals.
    count: int = 1

    @property
    def values_count(self) -> int:
        """Elements of the unreduced loss, of all requests together."""
        return self.arrangement.rows * self.arrangement.values_per_row

    def parts(self) -> "list[Call]":
        """The requests, each as a call of its own."""
        if self.count == 1:
            return [self]
        arrangement, count = self.arrangement, self.count
        rows = arrangement.rows // count

        def part(index: int) -> Call:
            columns = {}
            for name, column in arrangement.columns.items():
                width = len(column.payload) // count
                shape = (column.shape[0] // count, *column.shape[1:])
                columns[name] = Array(column.dtype, shape, column.payload[index * width : (index + 1) * width])
            denominator, ignored = arrangement.mean_denominator, arrangement.ignored_count
            alone = replace(
                arrangement,
                columns=columns,
                rows=rows,
                mean_denominator=denominator[index] if isinstance(denominator, list) else denominator,
                ignored_count=ignored[index] if isinstance(ignored, list) else ignored,
            )
            sizes = {name: getattr(self, name) // count for name in ("nbytes", "elements")}
            return replace(self, arrangement=alone, count=1, cost_seconds=self.cost_seconds / count, **sizes)

        return [part(index) for index in range(count)]

    @property
    def answer_bytes(self) -> int:
        """Bytes of the unreduced values of all requests together; 0 unless the reduction is NONE."""
        return self.values_count * (8 if self.double else 4) if self.reduction == NONE else 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """LossStatistics: what is needed to merge answers exactly."""

    sum: float
    mean_numerator: float
    mean_denominator: float
    element_count: int
    ignored_count: int


@dataclass(slots=True)
class Answer:
    """The result of a request. Exactly one of `value` and `values` is set; `values` is a payload of float64 if `double`, else float32."""

    statistics: Statistics
    value: float | None = None
    values: Encoded | None = None
    shape: tuple[int, ...] = ()
    double: bool = False


@dataclass(slots=True)
class Answers:
    """The results of a call's requests: each list holds one field of their Answers or Statistics, in the order of the requests.

    A request in `errors` has failed, and its entries in the lists mean nothing. The reduction is not NONE.
    """

    value: list[float]
    sum: list[float]
    mean_numerator: list[float]
    mean_denominator: list[float]
    ignored_count: list[int]
    element_count: int  # of each request
    errors: dict[int, CallError] = field(default_factory=dict)

    def of(self, index: int) -> Answer | CallError:
        """The result of one request."""
        if index in self.errors:
            return self.errors[index]
        sums = self.sum[index], self.mean_numerator[index], self.mean_denominator[index]
        return Answer(Statistics(*sums, self.element_count, self.ignored_count[index]), self.value[index])


class Execution(NamedTuple):
    """How a call was computed: Execution of the schema."""

    queue_seconds: float
    compute_seconds: float
    calls_in_batch: int
    device: str


class Success(NamedTuple):
    """A computed call: an Answer, or Answers if it stands for several requests."""

    answer: Answer | Answers
    execution: Execution


Outcome = Success | CallError
