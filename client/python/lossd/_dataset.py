# SPDX-License-Identifier: Apache-2.0
"""The loss over a data set in files. The data is read, cut, scored and merged a piece at a time, so memory does not grow with its size."""

import dataclasses
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lossd import _parts, _split
from lossd._batch import shareable
from lossd._client import Client
from lossd._codec import UNSET, LossResult, Request
from lossd._core import run
from lossd._errors import InvalidArgumentError, LossdError
from lossd._explain import in_whole
from lossd._files import Rows, Window
from lossd._losses import LossMethods
from lossd._tensors import Values

# Larger pieces are no faster, and the process needs about ten times this much memory.
PIECE_BYTES: Final = 1 << 20
_PIECES_UNDER_WAY: Final = 3


class Requests(LossMethods[Request, Request, Request]):
    """The losses; each method returns the request that a client's method would send."""

    def _call(self, request: Request, return_statistics: bool) -> Any:
        return request


@dataclass(frozen=True, slots=True)
class Scored:
    """The result for `rows` of the data set, or for all rows in [start, stop) if `rows` is None."""

    start: int
    stop: int
    rows: NDArray[np.intp] | None
    series: str
    result: LossResult

    @property
    def indices(self) -> NDArray[np.intp]:
        """The indices of the rows in the data set."""
        return np.arange(self.start, self.stop) if self.rows is None else self.rows


class Hardest:
    """The rows with the largest losses; NaN is larger than any number, and equal losses rank in the order of their rows."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: list[tuple[float, int, str]] = []

    def add(self, scored: Scored, reduction: str) -> None:
        """Adds rows scored with reduction="none". If a row has several elements, their mean counts, or their sum."""
        losses = np.asarray(scored.result.value, np.float64).reshape(scored.indices.size, -1)
        losses = losses.sum(axis=1) if reduction == "sum" else losses.mean(axis=1)
        order = np.argsort(np.where(np.isnan(losses), -np.inf, -losses), kind="stable")[: self._count]
        rows = zip(losses[order].tolist(), scored.indices[order].tolist(), strict=True)
        self._found.extend((loss, index, scored.series) for loss, index in rows)
        self._found.sort(key=lambda row: (-np.inf if np.isnan(row[0]) else -row[0], row[1]))
        del self._found[self._count :]

    @property
    def rows(self) -> list[tuple[int, float, str]]:
        """(index, loss, series), the hardest first."""
        return [(index, loss, series) for loss, index, series in self._found]


def score(client: Client, request: Request, by: Rows | None = None) -> Iterator[Scored]:
    """The results of all pieces of a request, in order; with `by`, of all slices of each piece.

    Raises LossdError, FileError, and ValueError if `by` does not name a slice for every row.
    """
    pieces = _pieces(request, by)
    with ThreadPoolExecutor(_PIECES_UNDER_WAY, "lossd") as pool:
        under_way: deque[Future[list[Scored]]] = deque()
        try:
            for piece in pieces:
                under_way.append(pool.submit(_score_piece, client, request, piece))
                if len(under_way) > _PIECES_UNDER_WAY:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


# Implementation details follow.


@dataclass(frozen=True, slots=True)
class _Slice:
    start: int
    stop: int
    rows: NDArray[np.intp] | None
    series: str
    request: Request


def _score_piece(client: Client, request: Request, piece: list[_Slice]) -> list[Scored]:
    calls = [shareable(part.request) for part in piece]
    outcomes = run(client._score_many(calls, client._deadline(UNSET)))
    scored = []
    for part, outcome in zip(piece, outcomes, strict=True):
        if isinstance(outcome, InvalidArgumentError) and part.rows is None and _split.rows_of(request) is not None:
            outcome = in_whole(outcome, request, part.start, part.stop)
        if isinstance(outcome, LossdError):
            outcome.add_note(f"in rows {part.start} to {part.stop - 1}")
            raise outcome
        scored.append(Scored(part.start, part.stop, part.rows, part.series, outcome))
    return scored


def _pieces(request: Request, by: Rows | None) -> Iterator[list[_Slice]]:
    """The pieces, read into memory one after another."""
    count = _split.rows_of(request)
    if count is None:
        if by is not None:
            raise ValueError(f"{request.rpc} has no batch dimension here, so it cannot have slices")
        yield [_Slice(0, 1, None, "", _loaded(request))]
        return
    if by is not None and by.shape != (count,):
        raise ValueError(f"the slices have shape {list(by.shape)}; there are {count} rows")
    shared = _loaded(dataclasses.replace(request, fields={name: request.fields[name] for name in _split.shared_fields(request)}))
    request = dataclasses.replace(request, fields={**request.fields, **shared.fields})
    parts = 1 if request.nbytes <= PIECE_BYTES else _parts.parts_needed(request, PIECE_BYTES)
    edges = [count * i // parts for i in range(parts + 1)]
    selections = [slice(start, stop) for start, stop in pairwise(edges)]
    for selection, part in zip(selections, _split.select(request, selections), strict=True):
        piece = _loaded(part)
        if by is None:
            yield [_Slice(selection.start, selection.stop, None, "", piece)]
        else:
            yield _slices(selection, piece, by.read(selection.start, selection.stop))


def _slices(selection: slice, piece: Request, labels: NDArray[Any]) -> list[_Slice]:
    names, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(names)))
    groups = [order] if len(names) == 1 else np.split(order, ends[:-1])
    if len(names) == 1:  # no selection is needed, and a request of a single row allows none
        requests: Iterator[Request] = iter([piece])
    else:
        requests = _split.select(piece, groups)
    start, stop = selection.start, selection.stop
    return [
        _Slice(start, stop, start + group, name.decode() if isinstance(name, bytes) else str(name), part)
        for name, group, part in zip(names.tolist(), groups, requests, strict=True)
    ]


def _loaded(request: Request) -> Request:
    """The request with its windows read into memory."""
    return dataclasses.replace(request, fields={name: _load(value) for name, value in request.fields.items()})


def _load(value: Any) -> Any:
    if isinstance(value, Values) and isinstance(value.array, Window):
        return Values(value.member, value.array.load())
    if isinstance(value, dict):
        return {name: _load(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_load(item) if isinstance(item, dict) else item for item in value]
    return value
