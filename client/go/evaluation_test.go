// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
)

func TestABatchHasEachCallsOutcome(t *testing.T) {
	client := connect(t, shared.Address)
	bad := lossd.CrossEntropy(logits, lossd.NewTensor([]int64{0, 3}), nil)
	misshapen := lossd.MSELoss(lossd.NewTensor([]float32{1}, 2), logits, nil)
	large := make([]float32, 1<<19) // by itself: 2 MiB
	outcomes := client.ScoreBatch(t.Context(), []lossd.Call{
		lossd.CrossEntropy(logits, labels, nil), bad, l1Loss, misshapen,
		lossd.MSELoss(lossd.NewTensor(large), lossd.NewTensor(large), nil),
	})
	for i, want := range []float64{crossEntropy, 0, 1, 0, 0} {
		switch got := outcomes[i]; i {
		case 1:
			expectError(t, got.Err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE", "target")
		case 3:
			expectError(t, got.Err, codes.InvalidArgument, "SHAPE_MISMATCH", "input")
		default:
			if got.Err != nil || math.Abs(got.Result.Value-want) > 1e-6 {
				t.Errorf("%d: %v; want %v", i, got, want)
			}
		}
	}
	unreduced := client.ScoreBatchUnreduced(t.Context(), []lossd.Call{lossd.L1Loss(logits, logits, nil), bad})
	if got := unreduced[0]; got.Err != nil || !slices.Equal(got.Result.Shape, []int{2, 3}) || !slices.Equal(got.Result.Float32s(), make([]float32, 6)) {
		t.Error(got)
	}
	expectError(t, unreduced[1].Err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE")
	if got := client.ScoreBatch(t.Context(), nil); len(got) != 0 {
		t.Error(got)
	}
}

func TestAnEvaluationIsTheLossOverAllRows(t *testing.T) {
	client := connect(t, shared.Address)
	scores, labels := manyRows()
	evaluation, other := client.NewEvaluation(), client.NewEvaluation()
	var group sync.WaitGroup
	for start := 0; start < rows; start += 8 { // in any order
		group.Go(func() {
			call := lossd.CrossEntropy(lossd.NewTensor(scores[start*classes:(start+8)*classes], 8, classes), lossd.NewTensor(labels[start:start+8]), nil)
			into, series := evaluation, "north"
			if start >= rows/2 {
				into, series = other, "south"
			}
			if err := into.Update(t.Context(), series, call); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := evaluation.Merge(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	whole, err := client.CrossEntropy(t.Context(), lossd.NewTensor(scores, rows, classes), lossd.NewTensor(labels), nil)
	if err != nil {
		t.Fatal(err)
	}
	total, err := evaluation.Total(t.Context())
	if err != nil || math.Abs(total.Value-whole.Value) > 1e-12 || total.Statistics.ElementCount != rows || total.CallCount != rows/8 {
		t.Errorf("%v, %v; want %v", total, err, whole)
	}
	results, err := evaluation.Compute(t.Context())
	if err != nil || len(results) != 2 || results["north"].Statistics.ElementCount != 504 || !slices.Equal(evaluation.Series(), []string{"north", "south"}) {
		t.Errorf("%v, %v", results, err)
	}
	north, south := results["north"], results["south"]
	if sum := north.Statistics.Sum + south.Statistics.Sum; math.Abs(sum-whole.Statistics.Sum) > 1e-9 {
		t.Errorf("sums %v; want %v", sum, whole.Statistics.Sum)
	}
	if err := other.Add("south", lossd.Mean, whole); err != nil {
		t.Fatal(err)
	}
	if results, err := other.Compute(t.Context()); err != nil || results["south"].Statistics.ElementCount != rows+496 {
		t.Errorf("%v, %v", results, err)
	}
}

func TestTheOrderOfUpdatesDoesNotChangeABit(t *testing.T) {
	client := connect(t, shared.Address)
	scores, _ := manyRows()
	var values []uint64
	for _, step := range []int{1, 7, 11} { // both prime to the number of updates
		evaluation := client.NewEvaluation()
		for i := range 100 {
			at := i * step % 100 * 100
			call := lossd.L1Loss(lossd.NewTensor(scores[at:at+100]), lossd.NewTensor(make([]float32, 100)), &lossd.L1LossOptions{Reduction: lossd.Sum})
			if err := evaluation.Update(t.Context(), "", call); err != nil {
				t.Fatal(err)
			}
		}
		total, err := evaluation.Total(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, math.Float64bits(total.Value))
	}
	if values[0] != values[1] || values[0] != values[2] {
		t.Errorf("%x", values)
	}
}

func TestAnEvaluationRefusesWhatCannotBeMerged(t *testing.T) {
	client := connect(t, shared.Address)
	evaluation := client.NewEvaluation()
	if _, err := evaluation.Total(t.Context()); err == nil {
		t.Error("no updates have no total")
	}
	if err := evaluation.Update(t.Context(), "a", lossd.CrossEntropy(logits, labels, nil)); err != nil {
		t.Fatal(err)
	}
	for _, call := range []lossd.Call{lossd.MSELoss(logits, logits, nil), lossd.CrossEntropy(logits, labels, &lossd.CrossEntropyOptions{Reduction: lossd.Sum})} {
		expectError(t, evaluation.Update(t.Context(), "a", call), codes.InvalidArgument, "", `series "a"`, "cannot be merged with CrossEntropyLoss (mean)")
	}
	// A bad update does not count, and is reported with its series.
	if err := evaluation.Update(t.Context(), "b", lossd.CrossEntropy(logits, lossd.NewTensor([]int64{0, 3}), nil)); err != nil {
		t.Fatal(err)
	}
	_, err := evaluation.Compute(t.Context())
	expectError(t, err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE", `series "b"`)
	results, err := evaluation.Compute(t.Context())
	if err != nil || results["a"].CallCount != 1 || results["b"].CallCount != 0 || !math.IsNaN(results["b"].Value) {
		t.Errorf("%v, %v", results, err)
	}
}

func TestUpdatesAreSentAgainOnceAServerIsThere(t *testing.T) {
	address := freeAddress(t)
	client := connect(t, address, lossd.WithoutRetry())
	evaluation := client.NewEvaluation()
	values := []float32{1, 2}
	for i := range 10 {
		call := lossd.L1Loss(lossd.NewTensor(values), lossd.NewTensor([]float32{0, 0}), nil)
		if err := evaluation.Update(t.Context(), fmt.Sprint(i%2), call); err != nil {
			t.Fatal(err)
		}
	}
	values[0], values[1] = 100, 100 // arrays may change after Update
	_, err := evaluation.Compute(t.Context())
	expectError(t, err, codes.Unavailable, "", "10 of 10 updates")
	serve(t, "--listen", address)
	if err := client.WaitUntilReady(within(t, 60)); err != nil {
		t.Fatal(err)
	}
	total, err := evaluation.Total(t.Context())
	if err != nil || total.Value != 1.5 || total.CallCount != 10 {
		t.Errorf("%v, %v", total, err)
	}
}
