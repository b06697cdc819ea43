# SPDX-License-Identifier: Apache-2.0
"""How many parts a request that is too large must be cut into, from the limit on its bytes or from a server's refusals."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossd import _split
from lossd._codec import Request
from lossd._errors import TooLargeError


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server refused a request of `rows` rows: it needs `actual`, and `limit` is allowed; NaN if the server did not say."""

    rows: int
    limit: float
    actual: float
    error: TooLargeError


def refusal(rows: int, error: TooLargeError) -> Refusal:
    """What the error says about a request of `rows` rows. Raises the error if cutting the request cannot help."""
    for name, limit in error.metadata.items():
        if name.startswith("limit_"):
            return Refusal(rows, float(limit), float(error.metadata.get(f"actual_{name.removeprefix('limit_')}", "nan")), error)
    if not refused_by_grpc(error):
        raise error
    return Refusal(rows, math.nan, math.nan, error)


def refused_by_grpc(error: TooLargeError) -> bool:
    """Whether gRPC itself refused the request or the answer for its size. gRPC does not say which."""
    return "larger than max" in error.message


def rows_that_fit(request: Request, refusals: Sequence[Refusal]) -> int:
    """How many rows a part of the request may have, at least one, from refusals of fewer and fewer of its rows.

    A request needs a fixed amount for the fields that go with every part, and the same amount for each row. One refusal bounds the
    rows, and two give both amounts. Raises TooLargeError if the fixed amount alone is above the limit.
    """
    last = refusals[-1]
    rows = last.rows * last.limit / last.actual if last.actual else math.nan
    if len(refusals) > 1 and refusals[-2].limit == last.limit:
        before = refusals[-2]
        a_row = (before.actual - last.actual) / (before.rows - last.rows)
        every_part = last.actual - a_row * last.rows
        if a_row <= 0 or every_part >= last.limit:
            raise _split.uncuttable(request, f"what goes with every part is above the limit by itself. {last.error.message}")
        rows = (last.limit - every_part) / a_row
    return max(1, int(rows) if rows < last.rows else last.rows // 2)


def parts_needed(request: Request, limit: int) -> int:
    """Into how many parts a request above `limit` bytes must be cut. Raises TooLargeError if cutting cannot help.

    Parts may still be too large, if rows are of unequal length or one row is too large by itself: cut them again.
    """
    rows = _split.count_rows(request)
    rest = {name: request.fields[name] for name in _split.shared_fields(request)}
    whole = dataclasses.replace(request, fields=rest).nbytes
    room = limit - whole - 128 * len(request.fields)
    if room <= 0:
        sizes = {name: dataclasses.replace(request, fields={name: value}).nbytes for name, value in rest.items()}
        name = max(sizes, key=sizes.__getitem__)
        raise _split.uncuttable(request, f"{name} of about {sizes[name]} bytes must go with every part, and {limit} bytes are allowed")
    rows_a_part = room * rows // (request.nbytes - whole)
    return math.ceil(rows / max(1, rows_a_part))
