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
	"google.golang.org/grpc/status"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

var l1Loss = lossd.L1Loss(lossd.Scalar[float32](1), lossd.Scalar[float32](2), nil)

func TestARetryWaitsAsLongAsTheServerAsks(t *testing.T) {
	const asked = 150 * time.Millisecond
	for name, failure := range map[string]func(context.Context) error{
		"RetryInfo": func(context.Context) error { return overloaded(asked) },
		"pushback":  func(ctx context.Context) error { return pushback(ctx, "150") },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: func(ctx context.Context, attempt int64) (*lossdpb.LossResponse, error) {
				if attempt < 2 {
					return nil, failure(ctx)
				}
				return one(), nil
			}}
			client := connect(t, serveFake(t, f))
			start := time.Now()
			loss, err := client.Score(within(t, 30), l1Loss)
			if err != nil || loss.Value != 1 {
				t.Fatal(loss, err)
			}
			if waited := time.Since(start); waited < 2*asked {
				t.Errorf("waited %v for two retries after %v", waited, asked)
			}
			if attempts := f.attempts.Load(); attempts != 3 {
				t.Errorf("%d attempts", attempts)
			}
		})
	}
}

func TestOnlyUnavailableIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		failure func(context.Context) error
		code    codes.Code
		reason  string
		options []lossd.Option
	}{
		"another code":        {func(context.Context) error { return status.Error(codes.Internal, "a bug") }, codes.Internal, "", nil},
		"pushback without":    {func(ctx context.Context) error { return pushback(ctx, "-1") }, codes.Unavailable, "", nil},
		"retries turned off":  {func(context.Context) error { return overloaded(0) }, codes.Unavailable, "QUEUE_FULL", []lossd.Option{lossd.WithoutRetry()}},
		"beyond the deadline": {func(context.Context) error { return overloaded(time.Hour) }, codes.Unavailable, "QUEUE_FULL", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: func(ctx context.Context, _ int64) (*lossdpb.LossResponse, error) { return nil, test.failure(ctx) }}
			_, err := connect(t, serveFake(t, f), test.options...).Score(within(t, 30), l1Loss)
			typed := expectError(t, err, test.code, test.reason)
			if attempts := f.attempts.Load(); attempts != 1 {
				t.Errorf("%d attempts", attempts)
			}
			if name == "beyond the deadline" && typed.RetryAfter != time.Hour {
				t.Errorf("retry after %v", typed.RetryAfter)
			}
		})
	}
}

func TestACallEndsWithItsDeadlineAndClientsTimeout(t *testing.T) {
	f := &fake{answer: func(ctx context.Context, _ int64) (*lossdpb.LossResponse, error) {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}}
	client := connect(t, serveFake(t, f), lossd.WithTimeout(100*time.Millisecond))
	_, err := client.Score(context.Background(), l1Loss)
	expectError(t, err, codes.DeadlineExceeded, "")
	_, err = client.Score(within(t, 0.2), l1Loss)
	expectError(t, err, codes.DeadlineExceeded, "")
}

func TestAClientWaitsForAServerThatStarts(t *testing.T) {
	address := freeAddress(t)
	client := connect(t, address)
	done := make(chan error, 1)
	go func() { done <- client.WaitUntilReady(within(t, 60)) }()
	serve(t, "--listen", address)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestARestartCostsNoCall kills the server and starts it again while goroutines call it: every call is answered right.
func TestARestartCostsNoCall(t *testing.T) {
	address := freeAddress(t)
	first := serve(t, "--listen", address)
	var answered [2]atomic.Int64 // unary, and coalesced
	var stop atomic.Bool
	var group sync.WaitGroup
	for kind, options := range [][]lossd.Option{nil, {lossd.WithCoalescing()}} {
		client := connect(t, address, options...)
		for worker := range 8 {
			group.Go(func() {
				for i := 0; !stop.Load(); i++ {
					number := float64(worker*1000 + i%1000)
					ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
					loss, err := client.MSELoss(ctx, lossd.NewTensor([]float64{number, 0}), lossd.NewTensor([]float64{0, 0}), nil)
					cancel()
					if err != nil || loss.Value != number*number/2 {
						t.Errorf("%v, %v; want %v", loss.Value, err, number*number/2)
						return
					}
					answered[kind].Add(1)
				}
			})
		}
	}
	enough := func() bool { return answered[0].Load() >= 100 && answered[1].Load() >= 100 || t.Failed() }
	waitFor(t, enough)
	first.Kill()
	answered[0].Store(0)
	answered[1].Store(0)
	serve(t, "--listen", address)
	waitFor(t, enough)
	stop.Store(true)
	group.Wait()
}

func TestCallsGoToTheServersThatCanBeReached(t *testing.T) {
	other := serve(t)
	dead := freeAddress(t)
	client := connect(t, dead+", "+shared.Address+","+other.Address)
	for range 20 {
		loss, err := client.CrossEntropy(within(t, 30), logits, labels, nil)
		if err != nil || math.Abs(loss.Value-crossEntropy) > 1e-6 {
			t.Fatal(loss, err)
		}
	}
	other.Kill()
	for range 20 {
		if _, err := client.CrossEntropy(within(t, 30), logits, labels, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor waits at most a minute for the condition.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for range 6000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("waited for a minute")
}
