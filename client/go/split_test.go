// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
)

// TestThePartsOfAGoldenCallMergeToTheWhole cuts every golden call that has rows, and compares with the answer to the whole.
func TestThePartsOfAGoldenCallMergeToTheWhole(t *testing.T) {
	client := connect(t, shared.Address, lossd.WithCoalescing())
	for _, file := range goldenFiles(t) {
		var content struct {
			Loss    string   `json:"loss"`
			Vectors []vector `json:"vectors"`
		}
		read(t, file, &content)
		t.Run(content.Loss, func(t *testing.T) {
			t.Parallel()
			cut := 0
			for i, vector := range content.Vectors {
				if vector.Raw || vector.Response == nil {
					continue
				}
				call, unreduced := callOf(t, content.Loss, vector.Arguments)
				loss, values, err := client.ScoreInParts(t.Context(), call, unreduced, 2+i%2)
				if errors.Is(err, lossd.ErrUncuttable) {
					continue
				}
				cut++
				if err != nil {
					t.Errorf("%s: %v", vector.Name, err)
				} else if unreduced {
					checkUnreduced(t, vector.Name, vector.Response, values)
				} else {
					close(t, vector.Name, loss.Value, number(t, vector.Response.Value), vector.Response.Tolerance)
					checkStatistics(t, vector.Name, vector.Response, loss.Statistics)
				}
			}
			if cut == 0 {
				t.Error("no call was cut")
			}
		})
	}
}

const rows, classes = 1000, 10

// manyRows returns logits and labels of 40,000 and 8,000 bytes.
func manyRows() (scores []float32, labels []int64) {
	random := rand.New(rand.NewPCG(1, 2))
	for row := range rows {
		labels = append(labels, int64(row%classes))
		for range classes {
			scores = append(scores, float32(random.NormFloat64()))
		}
	}
	return scores, labels
}

func TestACallAboveALimitIsSplit(t *testing.T) {
	scores, labels := manyRows()
	call := lossd.CrossEntropy(lossd.NewTensor(scores, rows, classes), lossd.NewTensor(labels), nil)
	whole := connect(t, shared.Address)
	want, err := whole.Score(within(t, 60), call)
	if err != nil {
		t.Fatal(err)
	}
	wantValues, err := whole.ScoreUnreduced(within(t, 60), call)
	if err != nil {
		t.Fatal(err)
	}
	for name, arguments := range map[string][]string{
		"the client's":             nil,
		"the server's on requests": {"--max-request-bytes", "9000"},
		"the server's on memory":   {"--max-workspace-bytes", "20000"},
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, shared.Address, lossd.WithMaxMessageBytes(8000))
			if arguments != nil {
				client = connect(t, serve(t, arguments...).Address)
			}
			got, err := client.Score(within(t, 60), call)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got.Value-want.Value) > 1e-12*want.Value || got.Statistics.ElementCount != rows {
				t.Errorf("%v; want %v", got, want)
			}
			values, err := client.ScoreUnreduced(within(t, 60), call)
			if err != nil || !slices.Equal(values.Float32s(), wantValues.Float32s()) {
				t.Errorf("unreduced values differ: %v", err)
			}
			for _, outcome := range client.ScoreBatch(within(t, 60), []lossd.Call{call, call}) {
				if outcome.Err != nil || math.Abs(outcome.Result.Value-want.Value) > 1e-12*want.Value {
					t.Errorf("in a batch: %v", outcome)
				}
			}
		})
	}
}

func TestAnErrorInAPartIsAboutTheWhole(t *testing.T) {
	scores, labels := manyRows()
	labels[777] = classes
	client := connect(t, shared.Address, lossd.WithMaxMessageBytes(2000))
	_, err := client.CrossEntropy(within(t, 60), lossd.NewTensor(scores, rows, classes), lossd.NewTensor(labels), nil)
	typed := expectError(t, err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE")
	wanted := regexp.MustCompile(`1 of \d+ elements of rows \d+ to \d+ are not, the first at index \[777\]$`)
	if violation := typed.FieldViolations[0]; violation.Field != "target" || !wanted.MatchString(violation.Description) {
		t.Errorf("%v", violation)
	}
}

func TestWhatCannotBeSplitIsOneErrorBeforeAnythingIsSent(t *testing.T) {
	scores, labels := manyRows()
	client := connect(t, "127.0.0.1:1", lossd.WithMaxMessageBytes(8000)) // nothing listens there
	_, err := client.LinearCrossEntropy(within(t, 60), lossd.NewTensor(make([]float32, 8), 2, 4),
		lossd.NewTensor(make([]float32, 8000), 2000, 4), lossd.NewTensor(labels[:2]), nil)
	expectError(t, err, codes.ResourceExhausted, "REQUEST_TOO_LARGE", "linear_weight of about 320", "must go with every part")
	_, err = client.CrossEntropy(within(t, 60), lossd.NewTensor(scores), lossd.Scalar[int64](1), nil)
	expectError(t, err, codes.ResourceExhausted, "REQUEST_TOO_LARGE", "has no batch dimension")

	client = connect(t, "127.0.0.1:1", lossd.WithMaxMessageBytes(8000), lossd.WithoutSplitting())
	_, err = client.CrossEntropy(within(t, 60), lossd.NewTensor(scores, rows, classes), lossd.NewTensor(labels), nil)
	typed := expectError(t, err, codes.ResourceExhausted, "REQUEST_TOO_LARGE", "split the batch")
	if limit, ok := typed.LimitBytes(); limit != 8000 || !ok {
		t.Errorf("limit %d, %t", limit, ok)
	}
}
