# SPDX-License-Identifier: Apache-2.0
"""Remembers the common part of requests of equal structure, whose calls are then made from their payloads alone.

Services send the same shapes again and again. A request that has the bytes of an earlier one outside its payloads (see skeleton.py)
has the same fields, shapes, options and shared tensors, so everything that was parsed, checked and computed for the earlier request
holds for it too. Only the values are checked anew.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lossd_server.call import NONE, Call
from lossd_server.losses.checks import finite
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing
from lossd_server.losses.tensor import Array, DType, Encoded, slices
from lossd_server.requests.skeleton import Skeleton, payload_spans, skeleton_of

# Payloads of longer messages are not copied but are views of the message.
_COPY_BELOW_BYTES = 16 << 10

_MAX_TEMPLATES = 2048
_MAX_OF_ONE_LENGTH = 4


class _Column(NamedTuple):
    """A column whose payload is not known yet."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    where: slice  # of the message


class Template:
    """A call without its payloads."""

    def __init__(self, skeleton: Skeleton, columns: Sequence[_Column], arguments: Arguments, call: Call) -> None:
        self.skeleton = skeleton
        self._columns = columns
        self._call = call
        self._check_values = call.spec.check_values
        names = {column.name for column in columns}
        self._others = Arguments({name: value for name, value in arguments.items() if name not in names})
        self._finite = [c.name for c in columns if c.dtype.kind == "f"] if arguments.get("reject_non_finite") else []

    @property
    def unreduced(self) -> bool:
        """Whether its requests ask for unreduced values, so that each needs an answer of its own."""
        return self._call.reduction == NONE

    def call(self, message: Encoded) -> Call | None:
        """The call of a message that matches the skeleton. None if its values are invalid."""
        source = message if len(message) < _COPY_BELOW_BYTES else memoryview(message)
        return self._make(slices(self._columns, source), 1)

    def calls(self, messages: Sequence[Encoded]) -> tuple[list[bool], Call | None]:
        """Which of several messages, all of the skeleton's length, match it, and one call of those.

        The call is None if a value is invalid or no message matches.
        """
        whole = np.frombuffer(b"".join(messages), np.uint8).reshape(len(messages), self.skeleton.length)
        matching = np.ones(len(messages), bool)
        for where, fixed in self.skeleton.fixed:
            matching &= (whole[:, where] == np.frombuffer(fixed, np.uint8)).all(1)
        if not matching.all():
            whole = whole[matching]
        count = len(whole)
        columns = {
            name: Array(dtype, (count * shape[0], *shape[1:]), whole[:, where].tobytes()) for name, dtype, shape, where in self._columns
        }
        return matching.tolist(), self._make(columns, count) if count else None

    # Implementation details follow.

    def _make(self, columns: dict[str, Array], count: int) -> Call | None:
        call, known = self._call, self._call.arrangement
        arrangement = Arrangement(
            columns,
            known.rows * count,
            known.output_shape,
            known.values_per_row,
            known.shared,
            known.params,
            known.mean_denominator,
            known.ignored_count,
            known.batch_extent,
            known.extra_workspace_elements,
            known.affinity,
            known.operations,
        )
        if self._check_values is not None or self._finite:
            if not all(finite(columns[name]) for name in self._finite):
                return None
            if self._check_values is not None:
                arguments = Arguments(self._others)
                arguments.update(columns)
                try:
                    self._check_values(arguments, arrangement, count)
                except Exception:  # noqa: BLE001 - the request is then read anew, which raises the error
                    return None
        nbytes, elements, cost_seconds = call.nbytes * count, call.elements * count, call.cost_seconds * count
        return Call(call.spec, call.key, arrangement, call.params, call.reduction, call.double, nbytes, elements, cost_seconds, count)


class Templates:
    """Recent templates, by kind and length of message. A template is made the second time that a length is seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, int], list[Template]] = {}
        self._seen: dict[tuple[Hashable, int], None] = {}

    def find(self, kind: Hashable, message: Encoded) -> Template | None:
        """The template that the message matches, if any."""
        for template in self._known.get((kind, len(message)), ()):
            if template.skeleton.matches(message):
                return template
        return None

    def of_length(self, kind: Hashable, length: int) -> Sequence[Template]:
        """The templates that messages of this length may match."""
        return self._known.get((kind, length), ())

    def learn(self, kind: Hashable, descriptor: Any, prefix: str, message: Encoded, arguments: Arguments, call: Call) -> None:
        """Remembers the call of a message that no template matches. `prefix` is the path of its arguments in the message."""
        key = (kind, len(message))
        if key not in self._known and key not in self._seen:
            _put(self._seen, key, None)
            return
        template = _template(descriptor, prefix, message, arguments, call)
        if template is not None:
            self._seen.pop(key, None)
            _put(self._known, key, [template, *self._known.get(key, ())][:_MAX_OF_ONE_LENGTH])


def _put(known: dict[Any, Any], key: Hashable, value: Any) -> None:
    if len(known) >= _MAX_TEMPLATES:
        del known[next(iter(known))]
    known[key] = value


def _template(descriptor: Any, prefix: str, message: Encoded, arguments: Arguments, call: Call) -> Template | None:
    """The template of a request. None if its call does not follow from its skeleton and payloads."""
    spec, arrangement = call.spec, call.arrangement
    if not spec.columns_by_shape or spec.coalescing is Coalescing.ALONE or not call.values_count:
        return None
    spans = payload_spans(descriptor, message)
    columns, free = [], []
    for name, column in arrangement.columns.items():
        span = None if spans is None else spans.get(prefix + name)
        # A column that is not the argument's own payload was made from it, for example by broadcasting.
        if span is None or name not in arguments or arguments[name].payload is not column.payload:
            return None
        columns.append(_Column(name, column.dtype, column.shape, slice(*span)))
        free.append(span)
    skeleton = skeleton_of(message, free)
    if skeleton is None:
        return None
    return Template(skeleton, columns, arguments, replace(call, arrangement=replace(arrangement, columns={})))
