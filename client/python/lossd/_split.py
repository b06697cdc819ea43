# SPDX-License-Identifier: Apache-2.0
"""Cutting a request that is too large along its batch dimension, and merging the answers of the parts exactly.

RULES says for every RPC which fields are cut and how; the rest is the same for all losses. Fields that no rule names (per-class
weights, output layers, hyper-parameters) go with every part. Cutting copies nothing.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lossd._codec import Execution, LossResult, Request
from lossd._errors import ErrorDetails, FieldViolation, InvalidArgumentError, TooLargeError
from lossd._tensors import Values
from lossd.statistics import Totals


class Cut(Enum):
    """How a field is cut if the batch is cut along extent `axis`."""

    ROWS = "rows"  # along the same extent
    ROWS_AFTER_TIME = "rows after time"  # along the extent after it: (T, N, C)
    LEFT_BROADCAST = "left broadcast"  # along the same extent, unless that is missing or 1
    RIGHT_BROADCAST = "right broadcast"  # the same, extents aligned on the right
    ITEMS = "items"  # a list with one item per row
    CONCATENATED = "concatenated"  # rows of `lengths`, concatenated


@dataclass(frozen=True, slots=True)
class Rule:
    """How the requests of one RPC are cut. `lead` is the tensor whose leading extents are the batch."""

    lead: str
    fields: Mapping[str, Cut] = field(default_factory=dict)
    row_rank: int = 0  # minimum number of trailing extents of `lead` in a row
    one_axis: bool = False  # the batch has one extent, and all later extents belong to the row
    lengths: str = ""  # the list of lengths by which CONCATENATED is cut


def _elementwise(*names: str, **others: Cut) -> Rule:
    return Rule(names[0], {**dict.fromkeys(names, Cut.ROWS), **others})


def _rowwise(*names: str, **others: Cut) -> Rule:
    return Rule(names[0], {**dict.fromkeys(names, Cut.ROWS), **others}, row_rank=1, one_axis=True)


_TRIPLET: Final = Rule("anchor", dict.fromkeys(("anchor", "positive", "negative"), Cut.ROWS), row_rank=1)

RULES: Final[Mapping[str, Rule]] = {
    "L1Loss": _elementwise("input", "target", "weight"),
    "MseLoss": _elementwise("input", "target", "weight"),
    "SmoothL1Loss": _elementwise("input", "target"),
    "HuberLoss": _elementwise("input", "target", "weight"),
    "KlDivLoss": _elementwise("input", "target"),
    "PoissonNllLoss": _elementwise("input", "target"),
    "GaussianNllLoss": _elementwise("input", target=Cut.RIGHT_BROADCAST, variance_values=Cut.LEFT_BROADCAST),
    "NllLoss": _rowwise("input", "target"),
    "CrossEntropyLoss": _rowwise("input", "class_indices", "class_probabilities"),
    "BceLoss": _elementwise("input", "target", weight=Cut.RIGHT_BROADCAST),
    "BceWithLogitsLoss": _elementwise("input", "target", weight=Cut.RIGHT_BROADCAST, pos_weight=Cut.RIGHT_BROADCAST),
    "SoftMarginLoss": _elementwise("input", target=Cut.RIGHT_BROADCAST),
    "MultiMarginLoss": _rowwise("input", "target"),
    "MultiLabelMarginLoss": _rowwise("input", "target"),
    "MultiLabelSoftMarginLoss": Rule("input", {"input": Cut.ROWS, "target": Cut.ROWS, "weight": Cut.RIGHT_BROADCAST}, row_rank=1),
    "MarginRankingLoss": _elementwise("input1", input2=Cut.LEFT_BROADCAST, target=Cut.LEFT_BROADCAST),
    "HingeEmbeddingLoss": _elementwise("input", target=Cut.RIGHT_BROADCAST),
    "CosineEmbeddingLoss": _rowwise("input1", "input2", "target"),
    "TripletMarginLoss": _TRIPLET,
    "TripletMarginWithDistanceLoss": _TRIPLET,
    "CtcLoss": Rule(
        "log_probs",
        {
            "log_probs": Cut.ROWS_AFTER_TIME,
            "padded_targets": Cut.ROWS,
            "concatenated_targets": Cut.CONCATENATED,
            "input_lengths": Cut.ITEMS,
            "target_lengths": Cut.ITEMS,
        },
        row_rank=2,
        one_axis=True,
        lengths="target_lengths",
    ),
    "AdaptiveLogSoftmaxWithLoss": _rowwise("input", "target"),
    "LinearCrossEntropyLoss": _rowwise("input", "class_indices", "class_probabilities"),
}


def cut(request: Request, parts: int) -> list[Request]:
    """The request in that many parts of about equal size, as views; fewer if it has fewer rows.

    Raises TooLargeError if it cannot be cut, and InvalidArgumentError if the shapes of its tensors do not match.
    """
    _, rows = _batch(request)
    edges = sorted({rows * i // parts for i in range(parts + 1)})
    return list(select(request, [slice(start, end) for start, end in pairwise(edges)]))


def select(request: Request, selections: Iterable[slice | NDArray[np.intp]]) -> Iterator[Request]:
    """One request for each selection, with only these rows of the batch: slices select views, indices copies.

    Raises as `cut` does.
    """
    axis, rows = _batch(request)
    selectors = {name: _selector(request, name, axis, rows) for name in request.fields}
    for selection in selections:
        yield dataclasses.replace(request, fields={name: select(selection) for name, select in selectors.items()})


def count_rows(request: Request) -> int:
    """The number of rows of the batch along the extent that is cut. Raises TooLargeError if it cannot be cut."""
    return _batch(request)[1]


def rows_of(request: Request) -> int | None:
    """`count_rows`, or None if the request cannot be cut."""
    try:
        return count_rows(request)
    except TooLargeError:
        return None


def shared_fields(request: Request) -> list[str]:
    """The names of the fields that go with every part."""
    axis, _ = _batch(request)
    return [name for name in request.fields if not _is_cut(request, name, axis)]


def rows_in(request: Request, part: Request) -> int:
    """How many of the request's rows a part has."""
    axis, _ = _batch(request)
    lead = RULES[request.rpc].lead
    return int(part.fields[lead].array.shape[_axis_of(request, lead, axis) or 0])


def offset(request: Request, name: str, start: int) -> tuple[int, int] | None:
    """The extent along which a tensor is cut and the index in it at which row `start` begins; None if the tensor goes with every part."""
    axis, _ = _batch(request)
    if not _is_cut(request, name, axis):
        return None
    rule = RULES[request.rpc]
    how = rule.fields[name]
    if how is Cut.CONCATENATED:
        return 0, sum(request.fields[rule.lengths][:start])
    return (0 if how is Cut.ITEMS else _axis_of(request, name, axis) or 0), start


def merge(request: Request, results: Sequence[LossResult]) -> LossResult:
    """The result of the request, from the results of its parts in order."""
    totals = Totals()
    for result in results:
        totals.add(result)
    denominator = totals.mean_denominator
    if request.reduction == "batchmean":  # the parts' sum is the first extent only if the first extent was cut
        denominator = float(request.fields[RULES[request.rpc].lead].array.shape[0])
    if request.reduction == "none":
        # A target of a higher rank broadcasts with the lead: the extents of both are aligned on the right.
        lead, rule = request.fields[RULES[request.rpc].lead].array, RULES[request.rpc]
        missing = results[0].value.ndim - lead.ndim if rule.fields.get("target") is Cut.RIGHT_BROADCAST else 0
        value: Any = np.concatenate([result.value for result in results], axis=_batch(request)[0] + missing)
    elif request.reduction == "batchmean":
        value = totals.mean_numerator / denominator
    else:
        value = totals.value(request.reduction)
    executions = [result.execution for result in results]
    return LossResult(
        value=value,
        sum=totals.sum,
        mean_numerator=totals.mean_numerator,
        mean_denominator=denominator,
        element_count=totals.element_count,
        ignored_count=totals.ignored_count,
        execution=Execution(
            queue_seconds=max(execution.queue_seconds for execution in executions),
            compute_seconds=sum(execution.compute_seconds for execution in executions),
            calls_in_batch=max(execution.calls_in_batch for execution in executions),
            device=executions[0].device,
        ),
    )


def too_large(request: Request, limit: int) -> TooLargeError:
    """The error for a request above the client's limit."""
    metadata = {"limit_bytes": str(limit), "actual_bytes": str(request.nbytes)}
    message = f"the {request.rpc} request has {request.nbytes} bytes; {limit} are allowed: split the batch"
    return TooLargeError(ErrorDetails("RESOURCE_EXHAUSTED", message, "REQUEST_TOO_LARGE", metadata=metadata))


def uncuttable(request: Request, why: str) -> TooLargeError:
    """The error for a request that is too large and cannot be cut."""
    message = f"the {request.rpc} request is too large, and it cannot be split: {why}"
    return TooLargeError(ErrorDetails("RESOURCE_EXHAUSTED", message, "REQUEST_TOO_LARGE"))


# Implementation details follow.


def _batch(request: Request) -> tuple[int, int]:
    """The extent along which to cut, and how many rows it has. Raises TooLargeError if there is none."""
    rule = RULES[request.rpc]
    shape = request.fields[rule.lead].array.shape
    first = int(rule.fields[rule.lead] is Cut.ROWS_AFTER_TIME)
    batch = shape[first : first + 1] if rule.one_axis and len(shape) > rule.row_rank else shape[first : max(0, len(shape) - rule.row_rank)]
    for axis, extent in enumerate(batch):
        if extent > 1:
            return axis, extent
    why = "it is a single row" if batch else f"{rule.lead} of shape {list(shape)} has no batch dimension"
    raise uncuttable(request, why)


def _axis_of(request: Request, name: str, axis: int) -> int | None:
    """The extent along which a tensor is cut, or None if it goes with every part."""
    rule = RULES[request.rpc]
    how = rule.fields.get(name)
    shape = request.fields[name].array.shape
    if how is Cut.ROWS:
        return axis
    if how is Cut.ROWS_AFTER_TIME:
        return axis + 1
    if how is Cut.RIGHT_BROADCAST:
        axis -= request.fields[rule.lead].array.ndim - len(shape)
    elif how is not Cut.LEFT_BROADCAST:
        return None
    return axis if 0 <= axis < len(shape) and shape[axis] != 1 else None


def _is_cut(request: Request, name: str, axis: int) -> bool:
    how = RULES[request.rpc].fields.get(name)
    if how is None:
        return False
    return how in (Cut.ITEMS, Cut.CONCATENATED) or _axis_of(request, name, axis) is not None


def _selector(request: Request, name: str, axis: int, rows: int) -> Callable[[Any], Any]:
    """The function from selected rows to the value of a field for them."""
    value = request.fields[name]
    if not _is_cut(request, name, axis):
        return lambda selection: value
    rule = RULES[request.rpc]
    how = rule.fields[name]
    if how is Cut.ITEMS:
        _check(name, len(value), rows)
        return lambda selection: value[selection] if isinstance(selection, slice) else [value[row] for row in selection]
    if how is Cut.CONCATENATED:
        ends = [0, *accumulate(request.fields[rule.lengths])]
        _check(rule.lengths, len(ends) - 1, rows)
        _check(name, value.array.size, ends[-1])

        def concatenated(selection: Any) -> Values:
            if isinstance(selection, slice):
                return Values(value.member, value.array[ends[selection.start] : ends[selection.stop]])
            pieces = [value.array[ends[row] : ends[row + 1]] for row in selection]
            return Values(value.member, np.concatenate([value.array[:0], *pieces]))

        return concatenated
    along = _axis_of(request, name, axis) or 0
    _check(name, value.array.shape[along] if value.array.ndim > along else 0, rows)
    index = (slice(None),) * along
    return lambda selection: Values(value.member, value.array[(*index, selection)])


def _check(name: str, found: int, expected: int) -> None:
    if found != expected:
        description = f"has {found} where {expected} are expected"
        violations = (FieldViolation(name, description),)
        raise InvalidArgumentError(ErrorDetails("INVALID_ARGUMENT", f"{name}: {description}", "SHAPE_MISMATCH", violations))
