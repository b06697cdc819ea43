// SPDX-License-Identifier: Apache-2.0

// Package bench measures calls of a lossd server, the same for the client and for stubs.
package bench

import (
	"encoding/json"
	"log"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// Rows and Classes are the extents of the small calls, which are cross entropies.
	Rows, Classes = 32, 10
	// Large is the number of elements of each of the two arrays of a large call, which is a mean squared error: 4 MB together.
	Large = 1 << 19

	inFlight     = 64
	warmUp       = time.Second
	largeWarmUps = 5
)

// Logits returns the input of a small call.
func Logits() []float32 {
	logits := make([]float32, Rows*Classes)
	for i := range logits {
		logits[i] = float32(i%17) / 8
	}
	return logits
}

// Labels returns the target of a small call.
func Labels() []int64 {
	labels := make([]int64, Rows)
	for i := range labels {
		labels[i] = int64(i % Classes)
	}
	return labels
}

// A Call makes a call and waits for its answer.
type Call func() error

// Arguments returns the address and the time of each measurement, from the command line.
func Arguments() (address string, duration time.Duration) {
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	check(err)
	return os.Args[1], time.Duration(seconds * float64(time.Second))
}

// Figures are what is measured; an absent one is not.
type Figures struct {
	LoneP50       float64 `json:"lone_p50_seconds"`
	UnaryRate     float64 `json:"unary_calls_per_second"`
	CoalescedRate float64 `json:"coalesced_calls_per_second,omitempty"`
	Large         float64 `json:"large_call_seconds"`
	LargeCPU      float64 `json:"large_call_cpu_seconds"`
}

// Measure measures the calls, each figure for the duration after a warm-up. `coalesced` may be nil.
func Measure(small, coalesced, large Call, duration time.Duration) Figures {
	var figures Figures
	repeat(small, warmUp)
	figures.LoneP50, _ = median(repeat(small, duration))
	figures.UnaryRate = rate(small, duration)
	if coalesced != nil {
		figures.CoalescedRate = rate(coalesced, duration)
	}
	for range largeWarmUps {
		check(large())
	}
	before := cpuSeconds()
	times := repeat(large, duration)
	cpu := cpuSeconds() - before
	var count int
	figures.Large, count = median(times)
	figures.LargeCPU = cpu / float64(count)
	return figures
}

// Print writes a value as JSON.
func Print(value any) {
	check(json.NewEncoder(os.Stdout).Encode(value))
}

func repeat(call Call, duration time.Duration) []time.Duration {
	var times []time.Duration
	for end := time.Now().Add(duration); time.Now().Before(end); {
		start := time.Now()
		check(call())
		times = append(times, time.Since(start))
	}
	return times
}

func median(times []time.Duration) (seconds float64, count int) {
	slices.Sort(times)
	return times[len(times)/2].Seconds(), len(times)
}

// rate returns the calls per second of inFlight goroutines.
func rate(call Call, duration time.Duration) float64 {
	var done atomic.Int64
	var stop atomic.Bool
	var group sync.WaitGroup
	for range inFlight {
		group.Go(func() {
			for !stop.Load() {
				check(call())
				done.Add(1)
			}
		})
	}
	time.Sleep(warmUp)
	before, start := done.Load(), time.Now()
	time.Sleep(duration)
	count, elapsed := done.Load()-before, time.Since(start)
	stop.Store(true)
	group.Wait()
	return float64(count) / elapsed.Seconds()
}

// cpuSeconds returns the processor time of this process.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
