// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"math"
	"unsafe"
)

// Float16 is a number in IEEE 754 binary16, as its bits.
type Float16 uint16

// BFloat16 is the upper half of an IEEE 754 binary32, as its bits.
type BFloat16 uint16

// Float16s returns the slice, of bits in IEEE 754 binary16, as Float16. It copies nothing: both slices have the same memory.
func Float16s[T ~uint16](bits []T) []Float16 {
	return unsafe.Slice((*Float16)(unsafe.Pointer(unsafe.SliceData(bits))), len(bits))
}

// BFloat16s returns the slice, of upper halves of IEEE 754 binary32, as BFloat16. It copies nothing: both slices have the same memory.
func BFloat16s[T ~uint16](bits []T) []BFloat16 {
	return unsafe.Slice((*BFloat16)(unsafe.Pointer(unsafe.SliceData(bits))), len(bits))
}

// NewBFloat16 returns the nearest BFloat16; ties go to the even one.
func NewBFloat16(number float32) BFloat16 {
	bits := math.Float32bits(number)
	if number != number {
		return BFloat16(bits>>16 | 0x40) // keeps a NaN whose payload is in the lower half a NaN
	}
	return BFloat16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 returns the number, exactly.
func (b BFloat16) Float32() float32 {
	return math.Float32frombits(uint32(b) << 16)
}

// NewFloat16 returns the nearest Float16; ties go to the even one, and numbers beyond 65,504 by half a unit or more to infinity.
func NewFloat16(number float32) Float16 {
	bits := math.Float32bits(number)
	sign, magnitude := Float16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00
	case magnitude >= 0x477ff000:
		return sign | 0x7c00
	case magnitude < 0x38800000: // below the smallest normal number: a whole number of units of 2^-24
		return sign | Float16(math.RoundToEven(float64(math.Float32frombits(magnitude))*(1<<24)))
	}
	return sign | Float16((magnitude-0x38000000+0xfff+magnitude>>13&1)>>13)
}

// Float32 returns the number, exactly.
func (f Float16) Float32() float32 {
	sign, exponent, fraction := uint32(f&0x8000)<<16, uint32(f>>10&0x1f), uint32(f&0x3ff)
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)/(1<<24)))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
