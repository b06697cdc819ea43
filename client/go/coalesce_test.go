// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
)

func TestConcurrentCallsMeetInBatches(t *testing.T) {
	client := connect(t, shared.Address, lossd.WithCoalescing())
	var together atomic.Int64
	var group sync.WaitGroup
	for worker := range 64 {
		group.Go(func() {
			for i := range 50 {
				number := float32(worker*50 + i)
				input, target := lossd.NewTensor([]float32{number, number}), lossd.NewTensor([]float32{0, 1})
				loss, err := client.L1Loss(within(t, 60), input, target, nil)
				if want := (number + float32(math.Abs(float64(number-1)))) / 2; err != nil || loss.Value != float64(want) {
					t.Errorf("%v, %v; want %v", loss.Value, err, want)
				}
				if loss.Execution.CallsInBatch > 1 {
					together.Add(1)
				}
			}
		})
	}
	group.Wait()
	if together.Load() == 0 {
		t.Error("no call shared its batch")
	}
}

func TestACoalescedCallHasItsOwnErrorDeadlineAndCancellation(t *testing.T) {
	client := connect(t, shared.Address, lossd.WithCoalescing())
	var group sync.WaitGroup
	for worker := range 40 {
		group.Go(func() {
			ctx := within(t, 60)
			switch worker % 4 {
			case 0:
				_, err := client.CrossEntropy(ctx, logits, lossd.NewTensor([]int64{0, 3}), nil)
				expectError(t, err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE", "target")
			case 1:
				ctx, cancel := context.WithTimeout(ctx, time.Nanosecond)
				defer cancel()
				_, err := client.CrossEntropy(ctx, logits, labels, nil)
				expectError(t, err, codes.DeadlineExceeded, "")
			case 2:
				ctx, cancel := context.WithCancel(ctx)
				go cancel() // the answer may come before
				if _, err := client.CrossEntropy(ctx, logits, labels, nil); err != nil {
					expectError(t, err, codes.Canceled, "")
				}
			default:
				loss, err := client.CrossEntropy(ctx, logits, labels, nil)
				if err != nil || math.Abs(loss.Value-crossEntropy) > 1e-6 {
					t.Error(loss, err)
				}
			}
		})
	}
	group.Wait()
}

// TestCloseEndsCoalescedCalls closes the client under calls in flight: each has an answer, or the error of a closed client.
func TestCloseEndsCoalescedCalls(t *testing.T) {
	client := connect(t, shared.Address, lossd.WithCoalescing())
	var group sync.WaitGroup
	var answered atomic.Int64
	for range 16 {
		group.Go(func() {
			for {
				if _, err := client.CrossEntropy(within(t, 60), logits, labels, nil); err != nil {
					expectError(t, err, codes.Canceled, "", "closed")
					return
				}
				answered.Add(1)
			}
		})
	}
	waitFor(t, func() bool { return answered.Load() > 50 })
	client.Close()
	group.Wait()
}
