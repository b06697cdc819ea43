// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"unsafe"

	"github.com/lossd/lossd/client/go/lossdpb"
)

func TestATensorSharesTheSlicesMemory(t *testing.T) {
	values := []float32{1, 2, 3, 4}
	payload := payloadOf(NewTensor(values, 2, 2).message)
	if hostIsLittleEndian && unsafe.Pointer(unsafe.SliceData(payload)) != unsafe.Pointer(unsafe.SliceData(values)) {
		t.Error("the values were copied")
	}
	if want, _ := binary.Append(nil, binary.LittleEndian, values); !bytes.Equal(payload, want) {
		t.Errorf("%x; want %x", payload, want)
	}
}

func TestSwappedIsTheOtherOrder(t *testing.T) {
	numbers := []float64{1, -2.5, math.Pi}
	big, _ := binary.Append(nil, binary.BigEndian, numbers)
	little, _ := binary.Append(nil, binary.LittleEndian, numbers)
	if !bytes.Equal(swapped(big, 8), little) {
		t.Errorf("%x; want %x", swapped(big, 8), little)
	}
}

type (
	label   int64
	logit   float32
	integer int
)

func TestTypesOfElements(t *testing.T) {
	for want, got := range map[string]*lossdpb.Tensor{
		"float16":  NewTensor([]Float16{1}).message,
		"bfloat16": NewTensor([]BFloat16{1}).message,
		"float32":  NewTensor([]logit{1}).message,
		"float64":  NewTensor([]float64{1}).message,
		"int32":    NewTensor([]int32{1}).message,
		"int64":    NewTensor([]label{1}).message,
		"uint8":    NewTensor([]byte{1}).message,
		"bool":     NewTensor([]bool{true}).message,
	} {
		if name := dtypeName(got); name != want {
			t.Errorf("%s; want %s", name, want)
		}
	}
	for name, tensor := range map[string]Tensor{
		"int8": NewTensor([]int8{-3, 4}), "int16": NewTensor([]int16{-3, 4}),
	} {
		if want := payloadOf(NewTensor([]int32{-3, 4}).message); dtypeName(tensor.message) != "int32" || !bytes.Equal(payloadOf(tensor.message), want) {
			t.Errorf("%s is sent as %v", name, tensor.message)
		}
	}
	if tensor := NewTensor([]uint16{1<<16 - 1}).message; dtypeName(tensor) != "int32" || !bytes.Equal(payloadOf(tensor), []byte{255, 255, 0, 0}) {
		t.Errorf("uint16 is sent as %v", tensor)
	}
	if tensor := NewTensor([]uint32{1<<32 - 1}).message; dtypeName(tensor) != "int64" || !bytes.Equal(payloadOf(tensor), []byte{255, 255, 255, 255, 0, 0, 0, 0}) {
		t.Errorf("uint32 is sent as %v", tensor)
	}
	if size := len(payloadOf(NewTensor([]integer{1}).message)); size != int(unsafe.Sizeof(0)) {
		t.Errorf("an int has %d bytes", size)
	}
	if shape := NewTensor([]int64{}).message.Shape; len(shape) != 1 || shape[0] != 0 {
		t.Errorf("an empty slice has shape %v", shape)
	}
	if shape := Scalar(1.5).message.Shape; len(shape) != 0 {
		t.Errorf("a scalar has shape %v", shape)
	}
}

// TestEvery16BitNumberSurvives also finds that rounding is to nearest, ties to even: halfway to the next number, and a little on each side.
func TestEvery16BitNumberSurvives(t *testing.T) {
	for bits := range uint32(1 << 16) {
		half, brain := Float16(bits), BFloat16(bits)
		if number := half.Float32(); NewFloat16(number) != half && !math.IsNaN(float64(number)) {
			t.Fatalf("float16 %#x is %v, which is %#x", bits, number, NewFloat16(number))
		} else if bits&0x7fff < 0x7bff && number > 0 {
			checkRounding(t, bits, number, (half + 1).Float32(), func(x float32) uint32 { return uint32(NewFloat16(x)) })
		}
		if number := brain.Float32(); NewBFloat16(number) != brain && !math.IsNaN(float64(number)) {
			t.Fatalf("bfloat16 %#x is %v, which is %#x", bits, number, NewBFloat16(number))
		} else if bits&0x7fff < 0x7f7f && number > 0 {
			checkRounding(t, bits, number, (brain + 1).Float32(), func(x float32) uint32 { return uint32(NewBFloat16(x)) })
		}
	}
	for _, nan := range []uint32{0x7f800001, 0x7fc00000, 0xffffffff} {
		number := math.Float32frombits(nan)
		if !math.IsNaN(float64(NewFloat16(number).Float32())) || !math.IsNaN(float64(NewBFloat16(number).Float32())) {
			t.Errorf("%#x is no NaN any more", nan)
		}
	}
	if got := NewFloat16(65520).Float32(); !math.IsInf(float64(got), 1) || NewFloat16(65519) != 0x7bff {
		t.Errorf("65520 is %v", got)
	}
}

func checkRounding(t *testing.T, bits uint32, number, next float32, round func(float32) uint32) {
	t.Helper()
	middle := number + (next-number)/2
	if math.IsInf(float64(next), 0) || middle == number {
		return
	}
	if got := round(middle); got != bits+bits&1 {
		t.Fatalf("%v, halfway after %#x, is %#x", middle, bits, got)
	}
	if below, above := math.Nextafter32(middle, 0), math.Nextafter32(middle, next); round(below) != bits || round(above) != bits+1 {
		t.Fatalf("%v and %v, around halfway after %#x, are %#x and %#x", below, above, bits, round(below), round(above))
	}
}
