# SPDX-License-Identifier: Apache-2.0
"""Tensor arguments -> tensors for the wire, and tensors of the wire -> arrays.

Arguments may be torch tensors, numpy arrays, anything with DLPack or `__array__`, or nested sequences, the only ones read by element.
"""

import sys
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Values(NamedTuple):
    """A tensor ready for the wire: the member that names its element type, and its elements (bfloat16 as uint16)."""

    member: str
    array: NDArray[Any]

    @property
    def is_float(self) -> bool:
        """Whether the elements are of a float type."""
        return "float" in self.member


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


def array_of(tensor: Any) -> NDArray[Any]:
    """The array in a Tensor twin."""
    member = tensor.WhichOneof("values")
    payload = b"".join(getattr(tensor, member).values) if member in _TYPED else getattr(tensor, member)
    return np.frombuffer(payload, _NUMPY[member]).reshape(tuple(tensor.shape)).copy()


# Implementation details follow.


def _of_torch(torch: Any, tensor: Any, name: str) -> Values:
    if tensor.is_nested or tensor.is_quantized or tensor.is_meta or tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} is not a dense tensor with values: convert it, for example with to_dense(), to_padded_tensor() or dequantize()"
        )
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return Values("bfloat16_values", tensor.contiguous().view(torch.uint16).numpy())
    try:
        array = tensor.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:  # a type that numpy lacks, or a subclass such as MaskedTensor
        kind = f"{type(tensor).__name__} of {str(tensor.dtype).removeprefix('torch.')}"
        raise TypeError(
            f"{name} is a {kind}, which cannot be sent: convert it to a plain Tensor of float16, bfloat16 or float32"
        ) from error
    return values(array, name)


def _to_numpy(data: Any, name: str) -> NDArray[Any]:
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise TypeError(f"{name} is a masked array, and a mask cannot be sent: pass compressed() arrays, an ignore_index or a weight of 0")
    if not isinstance(data, np.ndarray | np.generic):
        if any(_has_missing_values(column) for column in _columns(data)):
            raise TypeError(f"{name} holds missing values: fill or drop them")
        if hasattr(data, "__dlpack__"):
            try:
                return np.from_dlpack(data)
            except (BufferError, RuntimeError, TypeError):  # another device, or a type that DLPack or numpy lacks
                if not hasattr(data, "__array__"):
                    raise
        if not hasattr(data, "__array__"):
            array = _of_sequence(data, name)
            # Like torch: Python floats are float32.
            return array.astype(np.float32) if array.dtype == np.float64 else array
    array = np.asarray(data)
    return _numbers(array, name) if array.dtype == object else array


def _columns(data: Any) -> list[Any]:
    """The columns of a data frame or table; anything else is its own column."""
    if hasattr(data, "get_columns"):  # polars
        return list(data.get_columns())
    if hasattr(data, "itercolumns"):  # Arrow
        return list(data.itercolumns())
    if hasattr(data, "columns"):  # pandas
        return [column for _, column in data.items()]
    return [data]


def _has_missing_values(column: Any) -> bool:
    """Whether a column has nulls, as Arrow and polars call them, or NA in a nullable type of pandas. NaN is a value."""
    nulls = getattr(column, "null_count", 0)
    if nulls() if callable(nulls) else nulls:
        return True
    return hasattr(getattr(column, "dtype", None), "na_value") and bool(column.isna().any())


def _of_sequence(data: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(data)
    except (RuntimeError, TypeError, ValueError) as error:  # of unequal lengths, or of what cannot be an array
        raise TypeError(f"{name} is not a tensor of numbers: {error}") from error
    return _numbers(array, name)


def _numbers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The same numbers in a numeric array, for columns of objects and nullable columns that hold only numbers."""
    if array.dtype == object:
        with suppress(ValueError):  # of unequal lengths
            array = np.array(array.tolist())
    if array.dtype == object or array.dtype.kind in "USV":
        cure = "fill or drop missing values, stack arrays with numpy.stack, convert the rest with astype"
        raise TypeError(f"{name} is not a tensor of numbers: {cure}")
    return array
