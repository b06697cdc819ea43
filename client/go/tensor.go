// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Element is the set of types of a tensor's elements. int is sent as int64, or as int32 on a 32-bit machine. The small integers that the
// server lacks are copied to larger ones: int8, int16 and uint16 to int32, uint32 to int64.
type Element interface {
	~float32 | ~float64 | ~int | ~int32 | ~int64 | ~uint8 | ~bool | Float16 | BFloat16 | ~int8 | ~int16 | uint16 | ~uint32
}

// A Tensor is a dense, row-major array of numbers. It refers to the slice that it was made of, which must not change before the calls
// that use the tensor have returned. The zero Tensor means an argument that is not given.
type Tensor struct {
	message *lossdpb.Tensor
	err     *Error // reported by the calls that use the tensor
}

// NewTensor returns a tensor of these values. It copies nothing on a little-endian machine, except for small integers.
//
// Without a shape, the tensor has one extent, len(values). If the shape does not match the number of values, calls that use the tensor
// fail with the reason SHAPE_MISMATCH. A tensor without extents is made by [Scalar].
func NewTensor[T Element](values []T, shape ...int) Tensor {
	if len(shape) == 0 {
		shape = []int{len(values)}
	}
	return tensorOf(values, shape)
}

// Scalar returns a tensor without extents, which holds one value.
func Scalar[T Element](value T) Tensor {
	return tensorOf([]T{value}, nil)
}

func tensorOf[T Element](values []T, shape []int) Tensor {
	extents := make([]int64, len(shape))
	count, negative := 1, false
	for i, extent := range shape {
		extents[i] = int64(extent)
		count *= extent
		negative = negative || extent < 0
	}
	if count != len(values) || negative {
		return Tensor{err: shapeMismatch("", fmt.Sprintf("has %d values, and the shape %v", len(values), shape))}
	}
	message := &lossdpb.Tensor{Shape: extents}
	element := reflect.TypeFor[T]()
	switch memory := unsafe.Pointer(unsafe.SliceData(values)); {
	case element.Kind() == reflect.Int8:
		setWidened[int32](message, unsafe.Slice((*int8)(memory), len(values)))
	case element.Kind() == reflect.Int16:
		setWidened[int32](message, unsafe.Slice((*int16)(memory), len(values)))
	case element == reflect.TypeFor[uint16]():
		setWidened[int32](message, unsafe.Slice((*uint16)(memory), len(values)))
	case element.Kind() == reflect.Uint32:
		setWidened[int64](message, unsafe.Slice((*uint32)(memory), len(values)))
	default:
		setPayload(message, element, littleEndian(values))
	}
	return Tensor{message: message}
}

// Implementation details follow.

var (
	hostIsLittleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	float16Type        = reflect.TypeFor[Float16]()
	bfloat16Type       = reflect.TypeFor[BFloat16]()
)

// littleEndian is the memory of the values as on the wire: the slice's own on a little-endian machine.
func littleEndian[T Element](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	var zero T
	size := int(unsafe.Sizeof(zero))
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*size)
	if hostIsLittleEndian {
		return data
	}
	return swapped(data, size)
}

// swapped is a copy with the bytes of each element in the other order.
func swapped(data []byte, size int) []byte {
	out := make([]byte, len(data))
	for start := 0; start < len(data); start += size {
		for i := range size {
			out[start+i] = data[start+size-1-i]
		}
	}
	return out
}

func setWidened[To int32 | int64, From int8 | int16 | uint16 | uint32](tensor *lossdpb.Tensor, values []From) {
	setPayload(tensor, reflect.TypeFor[To](), littleEndian(converted[To](values)))
}

func setPayload(tensor *lossdpb.Tensor, element reflect.Type, payload []byte) {
	switch element.Kind() {
	case reflect.Float32:
		tensor.Values = &lossdpb.Tensor_Float32Values{Float32Values: &lossdpb.Float32Values{Values: payload}}
	case reflect.Float64:
		tensor.Values = &lossdpb.Tensor_Float64Values{Float64Values: &lossdpb.Float64Values{Values: payload}}
	case reflect.Bool:
		tensor.Values = &lossdpb.Tensor_BoolValues{BoolValues: &lossdpb.BoolValues{Values: payload}}
	case reflect.Uint8:
		tensor.Values = &lossdpb.Tensor_Uint8Values{Uint8Values: payload}
	case reflect.Uint16:
		if element == float16Type {
			tensor.Values = &lossdpb.Tensor_Float16Values{Float16Values: payload}
		} else {
			tensor.Values = &lossdpb.Tensor_Bfloat16Values{Bfloat16Values: payload}
		}
	default: // integers of 4 or 8 bytes
		if element.Size() == 4 {
			tensor.Values = &lossdpb.Tensor_Int32Values{Int32Values: &lossdpb.Int32Values{Values: payload}}
		} else {
			tensor.Values = &lossdpb.Tensor_Int64Values{Int64Values: &lossdpb.Int64Values{Values: payload}}
		}
	}
}

// payloadOf returns the elements of a tensor on the wire.
func payloadOf(tensor *lossdpb.Tensor) []byte {
	switch values := tensor.GetValues().(type) {
	case *lossdpb.Tensor_Float32Values:
		return values.Float32Values.GetValues()
	case *lossdpb.Tensor_Float64Values:
		return values.Float64Values.GetValues()
	case *lossdpb.Tensor_Int32Values:
		return values.Int32Values.GetValues()
	case *lossdpb.Tensor_Int64Values:
		return values.Int64Values.GetValues()
	case *lossdpb.Tensor_BoolValues:
		return values.BoolValues.GetValues()
	case *lossdpb.Tensor_Float16Values:
		return values.Float16Values
	case *lossdpb.Tensor_Bfloat16Values:
		return values.Bfloat16Values
	case *lossdpb.Tensor_Uint8Values:
		return values.Uint8Values
	}
	return nil
}

// withPayload returns a tensor of the same element type with another shape and other elements.
func withPayload(tensor *lossdpb.Tensor, shape []int64, payload []byte) *lossdpb.Tensor {
	out := &lossdpb.Tensor{Shape: shape}
	setPayload(out, elementOf(tensor), payload)
	return out
}

// elementOf returns the Go type of a tensor's elements.
func elementOf(tensor *lossdpb.Tensor) reflect.Type {
	switch tensor.GetValues().(type) {
	case *lossdpb.Tensor_Float32Values:
		return reflect.TypeFor[float32]()
	case *lossdpb.Tensor_Float64Values:
		return reflect.TypeFor[float64]()
	case *lossdpb.Tensor_Int32Values:
		return reflect.TypeFor[int32]()
	case *lossdpb.Tensor_Int64Values:
		return reflect.TypeFor[int64]()
	case *lossdpb.Tensor_BoolValues:
		return reflect.TypeFor[bool]()
	case *lossdpb.Tensor_Float16Values:
		return float16Type
	case *lossdpb.Tensor_Bfloat16Values:
		return bfloat16Type
	}
	return reflect.TypeFor[uint8]()
}

func isFloat(tensor *lossdpb.Tensor) bool {
	element := elementOf(tensor)
	return element.Kind() == reflect.Float32 || element.Kind() == reflect.Float64 || element.Kind() == reflect.Uint16
}

// scalar returns the one value of a float32 or float64 tensor without extents.
func (t Tensor) scalar() (float64, bool) {
	if t.message == nil || len(t.message.Shape) > 0 {
		return 0, false
	}
	payload := payloadOf(t.message)
	switch elementOf(t.message).Kind() {
	case reflect.Float32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(payload))), true
	case reflect.Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(payload)), true
	}
	return 0, false
}
