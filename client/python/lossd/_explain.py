# SPDX-License-Identifier: Apache-2.0
"""Finds mismatched shapes before anything is sent, and words the server's errors in terms of the caller's arguments.

The server decides. Only the rules that callers break most often are also checked here, with the server's messages.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lossd import _split, twins
from lossd._calls import Encoded
from lossd._codec import Request
from lossd._errors import ErrorDetails, FieldViolation, InvalidArgumentError

# By RPC, the fields of request messages whose names differ from the arguments that they hold.
_CLASSES: Final = {"class_indices": "target", "class_probabilities": "target"}
ARGUMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "CrossEntropyLoss": _CLASSES,
    "LinearCrossEntropyLoss": _CLASSES,
    "GaussianNllLoss": {"variance_values": "var", "variance_scalar": "var"},
    "CtcLoss": {"padded_targets": "targets", "concatenated_targets": "targets"},
    "TripletMarginWithDistanceLoss": dict.fromkeys(
        ("pairwise_distance", "cosine_distance", "squared_euclidean_distance"), "distance_function"
    ),
    "AdaptiveLogSoftmaxWithLoss": {"projection": "0", "output": "1"},
}

# Tensors that must all have the shape of the first.
_PAIR: Final = ("input", "target")
_TRIPLET: Final = ("anchor", "positive", "negative")
_SAME_SHAPE: Final[Mapping[str, tuple[str, ...]]] = {
    "L1Loss": (*_PAIR, "weight"),
    "MseLoss": (*_PAIR, "weight"),
    "SmoothL1Loss": _PAIR,
    "HuberLoss": (*_PAIR, "weight"),
    "KlDivLoss": _PAIR,
    "PoissonNllLoss": _PAIR,
    "BceLoss": _PAIR,
    "BceWithLogitsLoss": _PAIR,
    "CrossEntropyLoss": ("input", "class_probabilities"),
    "MultiLabelMarginLoss": _PAIR,
    "MultiLabelSoftMarginLoss": _PAIR,
    "CosineEmbeddingLoss": ("input1", "input2"),
    "TripletMarginLoss": _TRIPLET,
    "TripletMarginWithDistanceLoss": _TRIPLET,
}
# The tensor that must have the shape of `input` without the classes.
_INDICES: Final = {"NllLoss": "target", "CrossEntropyLoss": "class_indices"}
_BAD: Final = re.compile(r"(\d+) of (\d+) (elements|labels)(?: of rows \d+ to \d+)? are not(?:, the first at index \[(.*?)\])?")
_CLUSTER: Final = re.compile(r"(tail\[\d+\])\.(projection|output)\b")
_WORD: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_MISFIT: Final = re.compile(r"has shape \[(.*?)\]; input of shape \[(.*?)\] makes it")


def check_shapes(request: Request) -> None:
    """Raises the InvalidArgumentError that the server would raise, if shapes do not match."""
    fields = request.fields
    first, *others = _SAME_SHAPE.get(request.rpc, ("",))
    for name in others:
        if name not in fields:
            continue
        shape, found = fields[first].array.shape, fields[name].array.shape
        if found != shape and {found, shape} != {(), (1,)}:  # some losses treat () and (1) as equal: the server decides
            raise _misfit(name, f"has shape {list(found)}; it must be {first}'s, {list(shape)}")
    indices = _INDICES.get(request.rpc)
    if indices in fields:
        shape, found = fields["input"].array.shape, fields[indices].array.shape
        expected = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
        if shape and found != expected:
            raise _misfit(indices, f"has shape {list(found)}; input of shape {list(shape)} makes it {list(expected)}")


def explained(error: InvalidArgumentError, call: Request | Encoded) -> InvalidArgumentError:
    """The same error with the names of arguments instead of fields, and with a hint if a common mistake is the likely cause."""
    rpc, hint = call.rpc, _hint(error, call)
    violations = [FieldViolation(in_arguments(rpc, v.field), in_arguments(rpc, v.description) + hint) for v in error.field_violations]
    message = in_arguments(rpc, error.message) + hint
    return InvalidArgumentError(replace(error.details, message=message, field_violations=tuple(violations)))


def in_arguments(rpc: str, text: str) -> str:
    """A message of the server with the names of arguments instead of fields."""
    names = ARGUMENTS.get(rpc)
    if names is None:
        return text
    text = _CLUSTER.sub(lambda match: f"{match[1]}[{names[match[2]]}]", text)
    return _WORD.sub(lambda match: names.get(match[0], match[0]), text)


def in_whole(error: InvalidArgumentError, request: Request, start: int, stop: int) -> InvalidArgumentError:
    """The error of the part of a request with the rows [start, stop), in terms of the whole request."""
    names = ARGUMENTS.get(request.rpc, {})
    offsets = {names.get(name, name): _split.offset(request, name, start) for name in request.fields}

    def moved(field: str, text: str) -> str:
        along, by = offsets.get(field) or (0, 0)

        def move(match: re.Match[str]) -> str:
            bad = f"{match[1]} of {match[2]} {match[3]} of rows {start} to {stop - 1} are not"
            if not match[4]:
                return bad
            index = [int(number) for number in match[4].split(", ")]
            index[along] += by
            return f"{bad}, the first at index {index}"

        return _BAD.sub(move, text) if offsets.get(field) else text

    violations = [FieldViolation(v.field, moved(v.field, v.description)) for v in error.field_violations]
    message = moved(violations[0].field, error.message) if violations else error.message
    return InvalidArgumentError(replace(error.details, message=message, field_violations=tuple(violations)))


# Implementation details follow.


def _misfit(name: str, description: str) -> InvalidArgumentError:
    violations = (FieldViolation(name, description),)
    return InvalidArgumentError(ErrorDetails("INVALID_ARGUMENT", f"{name}: {description}", "SHAPE_MISMATCH", violations, metadata={}))


def _hint(error: InvalidArgumentError, call: Request | Encoded) -> str:
    fields = [violation.field for violation in error.field_violations]
    if error.reason == "SHAPE_MISMATCH" and fields == ["class_probabilities"]:
        dtype = _member(call, "class_probabilities").removesuffix("_values")
        return f"; target is {dtype}, so it is taken as class probabilities: pass integers for class indices"
    misfit = _MISFIT.search(error.message) if call.rpc in ("NllLoss", "CrossEntropyLoss") else None
    if misfit and misfit[2].count(",") > 1 and misfit[1] == misfit[2].rpartition(", ")[0]:
        return "; classes are input's second extent, as in torch: pass input.flatten(0, -2) and target.flatten()"
    return ""


def _member(call: Request | Encoded, field: str) -> str:
    """The member of Tensor.values that is set in a field of a call."""
    if isinstance(call, Request):
        return str(call.fields[field].member)
    message: Any = twins.twin(f"{call.rpc}Request").FromString(call.message)
    return str(getattr(message, field).WhichOneof("values"))
