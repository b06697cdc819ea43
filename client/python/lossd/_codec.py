# SPDX-License-Identifier: Apache-2.0
"""Arguments -> request messages, response messages -> results. Pure: no channel, no clock, no torch.

Tensors may be torch tensors, numpy arrays, anything with DLPack or `__array__`, or nested sequences, the only ones read by element.
"""

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from lossd import twins
from lossd.v1 import options_pb2

ReductionName = Literal["none", "mean", "sum", "batchmean"]

_REDUCTIONS: Final = {
    "none": options_pb2.REDUCTION_NONE,
    "mean": options_pb2.REDUCTION_MEAN,
    "sum": options_pb2.REDUCTION_SUM,
    "batchmean": options_pb2.REDUCTION_BATCH_MEAN,
}

# numpy dtype -> member of Tensor.values, after widening types that the schema lacks.
_MEMBERS: Final[dict[np.dtype[Any], str]] = {
    np.dtype("<f2"): "float16_values",
    np.dtype("<f4"): "float32_values",
    np.dtype("<f8"): "float64_values",
    np.dtype("<i4"): "int32_values",
    np.dtype("<i8"): "int64_values",
    np.dtype("u1"): "uint8_values",
    np.dtype("?"): "bool_values",
}
_NUMPY: Final[dict[str, np.dtype[Any]]] = {member: dtype for dtype, member in _MEMBERS.items()}
_WIDENED: Final[dict[np.dtype[Any], np.dtype[Any]]] = {
    np.dtype("i1"): np.dtype("<i4"),
    np.dtype("<i2"): np.dtype("<i4"),
    np.dtype("<u2"): np.dtype("<i4"),
    np.dtype("<u4"): np.dtype("<i8"),
}
_TYPED: Final = {
    "float32_values": "Float32Values",
    "float64_values": "Float64Values",
    "int32_values": "Int32Values",
    "int64_values": "Int64Values",
    "bool_values": "BoolValues",
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


class Values(NamedTuple):
    """A tensor ready for the wire: the member that names its element type, and its elements (bfloat16 as uint16)."""

    member: str
    array: NDArray[Any]

    @property
    def is_float(self) -> bool:
        """Whether the elements are of a float type."""
        return "float" in self.member


@dataclass(slots=True)
class Request:
    """One loss call before it is encoded. `fields` are those of the request message; tensors are Values."""

    rpc: str
    fields: dict[str, Any]
    reduction: str
    options: CallOptions = field(default_factory=CallOptions)

    @property
    def nbytes(self) -> int:
        """The approximate size of its message in bytes, never too small."""
        total = 64
        for value in self.fields.values():
            total += value.array.nbytes + 128 if type(value) is Values else _nbytes(value)
        return total

    def encode(self) -> bytes:
        """The request message on the wire."""
        encoded: bytes = self.message().SerializeToString()
        return encoded

    def message(self) -> Any:
        """The twin of the request message."""
        message = twins.twin(f"{self.rpc}Request")(reduction=_REDUCTIONS[self.reduction])
        if self.options.get("precision") == "float64":
            message.precision = options_pb2.PRECISION_FLOAT64
        if self.options.get("reject_non_finite"):
            message.reject_non_finite = True
        _fill(message, self.fields)
        return message


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
    if options.get("precision") not in (None, "float64"):
        raise ValueError(f"precision is {options['precision']!r}; it must be None or 'float64'")
    unknown = set(options) - set(CallOptions.__annotations__)
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    return Request(rpc, {name: value for name, value in fields.items() if value is not None}, reduction, options)


def values(data: Any, name: str) -> Values:
    """A tensor argument, ready for the wire. Raises TypeError for what is not a tensor of numbers."""
    if type(data) is np.ndarray and data.dtype in _MEMBERS:
        return Values(_MEMBERS[data.dtype], data)
    if isinstance(data, Values):
        return data
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        return _of_torch(torch, data, name)
    array = _to_numpy(data, name)
    if array.dtype.name == "bfloat16":  # ml_dtypes' type has kind "V"
        return Values("bfloat16_values", np.ascontiguousarray(array).view(np.uint16).reshape(array.shape))
    member, dtype = on_the_wire(array.dtype, name)
    return Values(member, array.astype(dtype, copy=False))


def on_the_wire(dtype: np.dtype[Any], name: str) -> tuple[str, np.dtype[Any]]:
    """The member of Tensor for arrays of this type, and the type that they are converted to. Raises TypeError."""
    little = dtype.newbyteorder("<")
    widened = _WIDENED.get(little, little)
    member = _MEMBERS.get(widened)
    if member is None:
        raise TypeError(f"{name} has dtype {dtype}; it must be float16, bfloat16, float32, float64, an integer type or bool")
    return member, widened


def optional(data: Any, name: str) -> Values | None:
    """`values`, or None for None."""
    return None if data is None else values(data, name)


def lengths(data: Any, name: str) -> list[int]:
    """A list of lengths, from a sequence or array of integers, or one integer."""
    array = values(data, name).array.reshape(-1)
    if array.dtype.kind != "i" and array.dtype != np.uint8 and array.size:
        raise TypeError(f"{name} must be integers")
    lengths: list[int] = array.tolist()
    return lengths


def value(response: Any) -> Any:
    """The value in a LossResponse twin: a float, or an array for reduction="none"."""
    return response.value if response.WhichOneof("output") == "value" else _array(response.values)


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


def _nbytes(value: Any) -> int:
    if isinstance(value, Values):
        return value.array.nbytes + 128
    if isinstance(value, dict):
        return 64 + sum(_nbytes(item) for item in value.values())
    if isinstance(value, list):
        return 64 + (sum(_nbytes(item) for item in value) if value and isinstance(value[0], dict) else 10 * len(value))
    return 16


def _fill(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, Values):
            _fill_tensor(getattr(message, name), value)
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                _fill(getattr(message, name).add(), item)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def _fill_tensor(tensor: Any, data: Values) -> None:
    tensor.shape.extend(data.array.shape)
    payload = data.array.tobytes()
    if data.member not in _TYPED:
        setattr(tensor, data.member, payload)
    elif payload:
        getattr(tensor, data.member).values.append(payload)
    else:  # as generated code encodes an empty list
        getattr(tensor, data.member).SetInParent()


def _of_torch(torch: Any, tensor: Any, name: str) -> Values:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return Values("bfloat16_values", tensor.contiguous().view(torch.uint16).numpy())
    return values(tensor.resolve_conj().resolve_neg().numpy(), name)


def _to_numpy(data: Any, name: str) -> NDArray[Any]:
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise TypeError(f"{name} is a masked array, and a mask cannot be sent: pass compressed() arrays, an ignore_index or a weight of 0")
    if not isinstance(data, np.ndarray | np.generic):
        nulls = getattr(data, "null_count", 0)  # of Arrow and polars
        if nulls() if callable(nulls) else nulls:
            raise TypeError(f"{name} holds missing values: fill or drop them")
        if hasattr(data, "__dlpack__"):
            try:
                return np.from_dlpack(data)
            except (BufferError, RuntimeError, TypeError):  # another device, or a type that DLPack or numpy lacks
                if not hasattr(data, "__array__"):
                    raise
        if not hasattr(data, "__array__"):
            array = _numbers(np.asarray(data), name)
            # Like torch: Python floats are float32.
            return array.astype(np.float32) if array.dtype == np.float64 else array
    array = np.asarray(data)
    return _numbers(array, name) if array.dtype == object else array


def _numbers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The same numbers in a numeric array, for columns of objects and nullable columns that hold only numbers."""
    if array.dtype == object:
        with suppress(ValueError):  # of unequal lengths
            array = np.array(array.tolist())
    if array.dtype == object or array.dtype.kind in "USV":
        cure = "fill or drop missing values, stack arrays with numpy.stack, convert the rest with astype"
        raise TypeError(f"{name} is not a tensor of numbers: {cure}")
    return array


def _array(tensor: Any) -> NDArray[Any]:
    member = tensor.WhichOneof("values")
    payload = b"".join(getattr(tensor, member).values) if member in _TYPED else getattr(tensor, member)
    return np.frombuffer(payload, _NUMPY[member]).reshape(tuple(tensor.shape)).copy()
