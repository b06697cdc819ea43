from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tensor(_message.Message):
    __slots__ = ("shape", "float32_values", "float64_values", "int32_values", "int64_values", "bool_values", "float16_values", "bfloat16_values", "uint8_values")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_VALUES_FIELD_NUMBER: _ClassVar[int]
    FLOAT64_VALUES_FIELD_NUMBER: _ClassVar[int]
    INT32_VALUES_FIELD_NUMBER: _ClassVar[int]
    INT64_VALUES_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUES_FIELD_NUMBER: _ClassVar[int]
    FLOAT16_VALUES_FIELD_NUMBER: _ClassVar[int]
    BFLOAT16_VALUES_FIELD_NUMBER: _ClassVar[int]
    UINT8_VALUES_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    float32_values: Float32Values
    float64_values: Float64Values
    int32_values: Int32Values
    int64_values: Int64Values
    bool_values: BoolValues
    float16_values: bytes
    bfloat16_values: bytes
    uint8_values: bytes
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., float32_values: _Optional[_Union[Float32Values, _Mapping]] = ..., float64_values: _Optional[_Union[Float64Values, _Mapping]] = ..., int32_values: _Optional[_Union[Int32Values, _Mapping]] = ..., int64_values: _Optional[_Union[Int64Values, _Mapping]] = ..., bool_values: _Optional[_Union[BoolValues, _Mapping]] = ..., float16_values: _Optional[bytes] = ..., bfloat16_values: _Optional[bytes] = ..., uint8_values: _Optional[bytes] = ...) -> None: ...

class Float32Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Float64Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Int32Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Int64Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class BoolValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...
