// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"reflect"
	"time"
	"unsafe"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Loss is a reduced loss with what is needed to merge it exactly with others.
type Loss struct {
	// Value is NaN if torch's is NaN, such as the mean of an empty batch.
	Value      float64
	Statistics Statistics
	Execution  Execution
}

// Unreduced is a loss without reduction: one value for each element or row.
type Unreduced struct {
	// Shape is the shape of the values.
	Shape      []int
	Statistics Statistics
	Execution  Execution

	values *lossdpb.Tensor
}

// Statistics are what is needed to merge results exactly. The mean over several results is the sum of their MeanNumerator divided by the
// sum of their MeanDenominator; their sum is the sum of their Sum.
type Statistics struct {
	Sum             float64 // over all elements
	MeanNumerator   float64
	MeanDenominator float64 // the number of elements or rows, or the sum of their weights if torch divides by that
	ElementCount    int64   // elements of the unreduced loss
	IgnoredCount    int64   // elements left out: targets equal to ignore_index, or infinite CTC losses set to zero
}

// Execution is how a call was computed.
type Execution struct {
	Queue        time.Duration // from the end of decoding to the start of its batch
	Compute      time.Duration // the batch's computation, shared by all of its calls
	CallsInBatch int           // calls computed together, this one included; 0 if there was no computation, as for an empty batch
	Device       string        // its name in torch, such as "cpu" or "cuda:0"
}

// Float32s returns the values, row-major. Values that were computed in float64 are rounded; others are not copied.
func (u Unreduced) Float32s() []float32 {
	if isFloat64(u.values) {
		return converted[float32](elements[float64](u.values))
	}
	return elements[float32](u.values)
}

// Float64s returns the values, row-major. Values that were computed in float64 are not copied.
func (u Unreduced) Float64s() []float64 {
	if isFloat64(u.values) {
		return elements[float64](u.values)
	}
	return converted[float64](elements[float32](u.values))
}

// Implementation details follow.

func lossOf(response *lossdpb.LossResponse) Loss {
	return Loss{response.GetValue(), statisticsOf(response), executionOf(response)}
}

func unreducedOf(response *lossdpb.LossResponse) Unreduced {
	values := response.GetValues()
	shape := make([]int, len(values.GetShape()))
	for i, extent := range values.GetShape() {
		shape[i] = int(extent)
	}
	return Unreduced{Shape: shape, Statistics: statisticsOf(response), Execution: executionOf(response), values: values}
}

func statisticsOf(response *lossdpb.LossResponse) Statistics {
	s := response.GetStatistics()
	return Statistics{s.GetSum(), s.GetMeanNumerator(), s.GetMeanDenominator(), s.GetElementCount(), s.GetIgnoredCount()}
}

func executionOf(response *lossdpb.LossResponse) Execution {
	e := response.GetExecution()
	return Execution{seconds(e.GetQueueSeconds()), seconds(e.GetComputeSeconds()), int(e.GetCallsInBatch()), e.GetDevice()}
}

func seconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Second))
}

func isFloat64(tensor *lossdpb.Tensor) bool {
	return elementOf(tensor).Kind() == reflect.Float64
}

// elements returns the payload as numbers, without a copy on a little-endian machine. protobuf copies each payload to memory of its own,
// which Go aligns for its size.
func elements[T float32 | float64](tensor *lossdpb.Tensor) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	payload := payloadOf(tensor)
	if !hostIsLittleEndian {
		payload = swapped(payload, size)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(payload))), len(payload)/size)
}

func converted[To, From float32 | float64 | int8 | int16 | uint16 | int32 | uint32 | int64](numbers []From) []To {
	out := make([]To, len(numbers))
	for i, number := range numbers {
		out[i] = To(number)
	}
	return out
}
