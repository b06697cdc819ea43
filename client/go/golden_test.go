// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

const golden = "../../tests/golden"

// inexpressible has the vectors whose arguments the API's types cannot express, by file and name, each with the reason.
var inexpressible = map[string]string{}

type vector struct {
	Name      string                     `json:"name"`
	Raw       bool                       `json:"raw"`
	Arguments map[string]json.RawMessage `json:"arguments"`
	Response  *goldenResponse            `json:"response"`
	Error     *goldenError               `json:"error"`
}

type goldenResponse struct {
	Value      json.RawMessage            `json:"value"`
	Values     *goldenTensor              `json:"values"`
	Statistics map[string]json.RawMessage `json:"statistics"`
	Tolerance  float64                    `json:"tolerance"`
}

type goldenError struct {
	Code            string                   `json:"code"`
	Reason          string                   `json:"reason"`
	FieldViolations []struct{ Field string } `json:"field_violations"`
	Metadata        map[string]string        `json:"metadata"`
}

type goldenTensor struct {
	Dtype string `json:"dtype"`
	Shape []int  `json:"shape"`
	Data  []byte `json:"data"`
}

// TestGolden sends the arguments of every golden vector through the public API, and compares what comes back.
func TestGolden(t *testing.T) {
	for _, coalesce := range []bool{false, true} {
		var options []lossd.Option
		if coalesce {
			options = append(options, lossd.WithCoalescing())
		}
		client := connect(t, shared.Address, options...)
		for _, file := range goldenFiles(t) {
			t.Run(fmt.Sprintf("%s coalesce=%t", strings.TrimSuffix(file, ".json"), coalesce), func(t *testing.T) {
				t.Parallel()
				checkFile(t, client, file)
			})
		}
	}
}

func checkFile(t *testing.T, client *lossd.Client, file string) {
	var content struct {
		Loss    string   `json:"loss"`
		Vectors []vector `json:"vectors"`
	}
	read(t, file, &content)
	checked := 0
	for _, vector := range content.Vectors {
		name := content.Loss + ": " + vector.Name
		if _, ok := inexpressible[name]; ok || vector.Raw {
			continue
		}
		checked++
		call, unreduced := callOf(t, content.Loss, vector.Arguments)
		var err error
		if unreduced {
			var result lossd.Unreduced
			if result, err = client.ScoreUnreduced(t.Context(), call); err == nil && vector.Response != nil {
				checkUnreduced(t, name, vector.Response, result)
			}
		} else {
			var result lossd.Loss
			if result, err = client.Score(t.Context(), call); err == nil && vector.Response != nil {
				close(t, name+" value", result.Value, number(t, vector.Response.Value), vector.Response.Tolerance)
				checkStatistics(t, name, vector.Response, result.Statistics)
			}
		}
		switch {
		case vector.Error != nil:
			checkError(t, name, vector.Error, err)
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
	if checked == 0 {
		t.Error("no vector was checked")
	}
}

func checkUnreduced(t *testing.T, name string, want *goldenResponse, got lossd.Unreduced) {
	t.Helper()
	if !slices.Equal(got.Shape, want.Values.Shape) {
		t.Errorf("%s: shape %v; want %v", name, got.Shape, want.Values.Shape)
	}
	values := numbers(want.Values)
	if len(got.Float64s()) != len(values) || len(got.Float32s()) != len(values) {
		t.Fatalf("%s: %d values; want %d", name, len(got.Float64s()), len(values))
	}
	for i, value := range got.Float64s() {
		close(t, fmt.Sprintf("%s values[%d]", name, i), value, values[i], want.Tolerance)
	}
	checkStatistics(t, name, want, got.Statistics)
}

func checkStatistics(t *testing.T, name string, want *goldenResponse, got lossd.Statistics) {
	t.Helper()
	for field, value := range map[string]float64{
		"sum": got.Sum, "mean_numerator": got.MeanNumerator, "mean_denominator": got.MeanDenominator,
	} {
		close(t, name+" "+field, value, number(t, want.Statistics[field]), want.Tolerance)
	}
	for field, count := range map[string]int64{"element_count": got.ElementCount, "ignored_count": got.IgnoredCount} {
		if float64(count) != number(t, want.Statistics[field]) {
			t.Errorf("%s %s is %d; want %s", name, field, count, want.Statistics[field])
		}
	}
}

func checkError(t *testing.T, name string, want *goldenError, err error) {
	t.Helper()
	var got *lossd.Error
	if !errors.As(err, &got) {
		t.Errorf("%s: no *lossd.Error but %v; want %s %s", name, err, want.Code, want.Reason)
		return
	}
	if code := strings.ToUpper(snake(got.Code.String())); code != want.Code || got.Reason != want.Reason {
		t.Errorf("%s: %s %s; want %s %s", name, code, got.Reason, want.Code, want.Reason)
	}
	var fields, wanted []string
	for _, violation := range got.FieldViolations {
		fields = append(fields, violation.Field)
	}
	for _, violation := range want.FieldViolations {
		wanted = append(wanted, renamed(violation.Field))
	}
	if !slices.Equal(fields, wanted) {
		t.Errorf("%s: fields %q; want %q", name, fields, wanted)
	}
	if len(got.Metadata)+len(want.Metadata) > 0 && !maps.Equal(got.Metadata, want.Metadata) {
		t.Errorf("%s: metadata %v; want %v", name, got.Metadata, want.Metadata)
	}
}

// renamed returns the argument for a field of the schema, as the README of the vectors says.
func renamed(field string) string {
	first, rest, _ := strings.Cut(field, ".")
	for argument, members := range map[string][]string{
		"target":            {"class_indices", "class_probabilities"},
		"targets":           {"padded_targets", "concatenated_targets"},
		"var":               {"variance_values", "variance_scalar"},
		"distance_function": {"pairwise_distance", "cosine_distance", "squared_euclidean_distance"},
	} {
		if slices.Contains(members, first) {
			first = argument
		}
	}
	if rest == "" {
		return first
	}
	return first + "." + rest
}

func snake(name string) string {
	var b strings.Builder
	for i, letter := range name {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(letter)
	}
	return b.String()
}

func close(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if got == want || math.IsNaN(got) && math.IsNaN(want) {
		return
	}
	if difference := math.Abs(got - want); !(difference <= tolerance*math.Abs(want)+tolerance/10) {
		t.Errorf("%s is %v; want %v", name, got, want)
	}
}

// callOf makes the call of a loss by its constructor. unreduced reports whether its reduction is none.
func callOf(t *testing.T, loss string, arguments map[string]json.RawMessage) (call lossd.Call, unreduced bool) {
	t.Helper()
	constructor, ok := constructors[loss]
	if !ok {
		t.Fatalf("no loss %q", loss)
	}
	function := reflect.ValueOf(constructor.function)
	kind := function.Type()
	inputs := make([]reflect.Value, kind.NumIn())
	used := map[string]bool{}
	for i, name := range constructor.parameters {
		inputs[i] = reflect.New(kind.In(i)).Elem()
		if given, ok := arguments[name]; ok {
			decode(t, given, inputs[i])
			used[name] = true
		}
	}
	options := reflect.New(kind.In(kind.NumIn() - 1).Elem())
	for name, given := range arguments {
		if used[name] {
			continue
		}
		if name == "reduction" && string(given) == `"none"` {
			unreduced = true
			continue
		}
		field := options.Elem().FieldByNameFunc(func(field string) bool {
			return strings.EqualFold(field, strings.ReplaceAll(name, "_", ""))
		})
		if !field.IsValid() {
			t.Fatalf("%s has no option %q", loss, name)
		}
		decode(t, given, field)
	}
	inputs[len(inputs)-1] = options
	return function.Call(inputs)[0].Interface().(lossd.Call), unreduced
}

// constructors has each loss with torch's names of its parameters.
var constructors = map[string]struct {
	function   any
	parameters []string
}{
	"l1_loss":                           {lossd.L1Loss, []string{"input", "target"}},
	"mse_loss":                          {lossd.MSELoss, []string{"input", "target"}},
	"smooth_l1_loss":                    {lossd.SmoothL1Loss, []string{"input", "target"}},
	"huber_loss":                        {lossd.HuberLoss, []string{"input", "target"}},
	"kl_div":                            {lossd.KLDiv, []string{"input", "target"}},
	"poisson_nll_loss":                  {lossd.PoissonNLLLoss, []string{"input", "target"}},
	"gaussian_nll_loss":                 {lossd.GaussianNLLLoss, []string{"input", "target", "var"}},
	"nll_loss":                          {lossd.NLLLoss, []string{"input", "target"}},
	"cross_entropy":                     {lossd.CrossEntropy, []string{"input", "target"}},
	"binary_cross_entropy":              {lossd.BinaryCrossEntropy, []string{"input", "target"}},
	"binary_cross_entropy_with_logits":  {lossd.BinaryCrossEntropyWithLogits, []string{"input", "target"}},
	"soft_margin_loss":                  {lossd.SoftMarginLoss, []string{"input", "target"}},
	"multi_margin_loss":                 {lossd.MultiMarginLoss, []string{"input", "target"}},
	"multilabel_margin_loss":            {lossd.MultilabelMarginLoss, []string{"input", "target"}},
	"multilabel_soft_margin_loss":       {lossd.MultilabelSoftMarginLoss, []string{"input", "target"}},
	"margin_ranking_loss":               {lossd.MarginRankingLoss, []string{"input1", "input2", "target"}},
	"hinge_embedding_loss":              {lossd.HingeEmbeddingLoss, []string{"input", "target"}},
	"cosine_embedding_loss":             {lossd.CosineEmbeddingLoss, []string{"input1", "input2", "target"}},
	"triplet_margin_loss":               {lossd.TripletMarginLoss, []string{"anchor", "positive", "negative"}},
	"triplet_margin_with_distance_loss": {lossd.TripletMarginWithDistanceLoss, []string{"anchor", "positive", "negative"}},
	"ctc_loss":                          {lossd.CTCLoss, []string{"log_probs", "targets", "input_lengths", "target_lengths"}},
	"adaptive_log_softmax_with_loss":    {lossd.AdaptiveLogSoftmaxWithLoss, []string{"input", "target", "head_weight", "tail", "cutoffs"}},
	"linear_cross_entropy":              {lossd.LinearCrossEntropy, []string{"input", "linear_weight", "target"}},
}

// decode sets an argument of the API from its JSON.
func decode(t *testing.T, given json.RawMessage, into reflect.Value) {
	t.Helper()
	switch argument := into.Addr().Interface().(type) {
	case *lossd.Tensor:
		if given[0] != '{' { // the variance as a number
			*argument = lossd.Scalar(number(t, given))
			return
		}
		var tensor goldenTensor
		unmarshal(t, given, &tensor)
		*argument = tensorOf(&tensor)
	case *[]lossd.AdaptiveTailCluster:
		var clusters []struct{ Projection, Output goldenTensor }
		unmarshal(t, given, &clusters)
		for _, cluster := range clusters {
			*argument = append(*argument, lossd.AdaptiveTailCluster{
				Projection: tensorOf(&cluster.Projection), Output: tensorOf(&cluster.Output),
			})
		}
	case *lossd.DistanceFunction:
		*argument = distanceOf(t, given)
	case *lossd.Reduction:
		var name string
		unmarshal(t, given, &name)
		*argument = map[string]lossd.Reduction{"mean": lossd.Mean, "sum": lossd.Sum, "batchmean": lossd.BatchMean}[name]
	case *lossd.Precision:
		*argument = lossd.PrecisionFloat64
	case *float64:
		*argument = number(t, given)
	case **float64:
		*argument = new(number(t, given))
	case *int64:
		*argument = integer(t, given)
	case **int64:
		*argument = new(integer(t, given))
	case **int32:
		*argument = new(int32(integer(t, given)))
	default: // bools and lists
		unmarshal(t, given, argument)
	}
}

func distanceOf(t *testing.T, given json.RawMessage) lossd.DistanceFunction {
	var distance map[string]map[string]json.RawMessage
	unmarshal(t, given, &distance)
	option := func(options map[string]json.RawMessage, name string) *float64 {
		if text, ok := options[name]; ok {
			return new(number(t, text))
		}
		return nil
	}
	if options, ok := distance["pairwise_distance"]; ok {
		return lossd.PairwiseDistance{P: option(options, "p"), Eps: option(options, "eps")}
	}
	if options, ok := distance["cosine_distance"]; ok {
		return lossd.CosineDistance{Eps: option(options, "eps")}
	}
	if _, ok := distance["squared_euclidean_distance"]; !ok {
		t.Fatalf("no distance %s", given)
	}
	return lossd.SquaredEuclideanDistance{}
}

func tensorOf(tensor *goldenTensor) lossd.Tensor {
	switch tensor.Dtype {
	case "float16":
		return sliceOf(tensor, lossd.Float16s(elements[uint16](tensor)))
	case "bfloat16":
		return sliceOf(tensor, lossd.BFloat16s(elements[uint16](tensor)))
	case "float32":
		return sliceOf(tensor, elements[float32](tensor))
	case "float64":
		return sliceOf(tensor, elements[float64](tensor))
	case "int32":
		return sliceOf(tensor, elements[int32](tensor))
	case "int64":
		return sliceOf(tensor, elements[int64](tensor))
	case "uint8":
		return sliceOf(tensor, elements[uint8](tensor))
	}
	return sliceOf(tensor, elements[bool](tensor))
}

func sliceOf[T lossd.Element](tensor *goldenTensor, values []T) lossd.Tensor {
	if len(tensor.Shape) == 0 {
		return lossd.Scalar(values[0])
	}
	return lossd.NewTensor(values, tensor.Shape...)
}

func elements[T any](tensor *goldenTensor) []T {
	var zero T
	values := make([]T, len(tensor.Data)/int(reflect.TypeOf(zero).Size()))
	if _, err := binary.Decode(tensor.Data, binary.LittleEndian, values); err != nil {
		panic(err)
	}
	return values
}

func numbers(tensor *goldenTensor) []float64 {
	if tensor.Dtype == "float64" {
		return elements[float64](tensor)
	}
	var out []float64
	for _, value := range elements[float32](tensor) {
		out = append(out, float64(value))
	}
	return out
}

// number reads a number or one of the strings NaN, Infinity and -Infinity.
func number(t *testing.T, text json.RawMessage) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func integer(t *testing.T, text json.RawMessage) int64 {
	t.Helper()
	value, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func goldenFiles(t *testing.T) []string {
	t.Helper()
	var index struct{ Files []string }
	read(t, "index.json", &index)
	if len(index.Files) != len(constructors) {
		t.Errorf("%d files; want one for each of %d losses", len(index.Files), len(constructors))
	}
	return index.Files
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(golden, file))
	if err != nil {
		t.Fatal(err)
	}
	unmarshal(t, content, into)
}

func unmarshal(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}
