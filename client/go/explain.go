// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// This file finds mismatched shapes before anything is sent, and words the server's errors in terms of the caller's arguments.
//
// The server decides. Only the rules that callers break most often are also checked here, with the server's messages.

// argumentNames has, by RPC, the fields of request messages whose names differ from the arguments that they hold.
var argumentNames = map[string]map[string]string{
	"CrossEntropyLoss":       {"class_indices": "target", "class_probabilities": "target"},
	"LinearCrossEntropyLoss": {"class_indices": "target", "class_probabilities": "target"},
	"GaussianNllLoss":        {"variance_values": "var", "variance_scalar": "var"},
	"CtcLoss":                {"padded_targets": "targets", "concatenated_targets": "targets"},
	"TripletMarginWithDistanceLoss": {
		"pairwise_distance": "distance_function", "cosine_distance": "distance_function", "squared_euclidean_distance": "distance_function",
	},
}

// sameShape has tensors that must all have the shape of the first.
var sameShape = map[string][]string{
	"L1Loss":                        {"input", "target", "weight"},
	"MseLoss":                       {"input", "target", "weight"},
	"SmoothL1Loss":                  {"input", "target"},
	"HuberLoss":                     {"input", "target", "weight"},
	"KlDivLoss":                     {"input", "target"},
	"PoissonNllLoss":                {"input", "target"},
	"BceLoss":                       {"input", "target"},
	"BceWithLogitsLoss":             {"input", "target"},
	"CrossEntropyLoss":              {"input", "class_probabilities"},
	"MultiLabelMarginLoss":          {"input", "target"},
	"MultiLabelSoftMarginLoss":      {"input", "target"},
	"CosineEmbeddingLoss":           {"input1", "input2"},
	"TripletMarginLoss":             {"anchor", "positive", "negative"},
	"TripletMarginWithDistanceLoss": {"anchor", "positive", "negative"},
}

// indices has the tensor that must have the shape of `input` without the classes.
var indices = map[string]string{"NllLoss": "target", "CrossEntropyLoss": "class_indices"}

var (
	badElements = regexp.MustCompile(`(\d+) of (\d+) (elements|labels)(?: of rows \d+ to \d+)? are not(?:, the first at index \[(.*?)\])?`)
	snakeWord   = regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
	misfitInput = regexp.MustCompile(`has shape \[(.*?)\]; input of shape \[(.*?)\] makes it`)
)

// checkShapes returns the error that the server would return, if shapes do not match.
func checkShapes(r request) *Error {
	rpc := r.rpc()
	if names := sameShape[rpc]; names != nil {
		first := r.tensor(names[0])
		for _, name := range names[1:] {
			other := r.tensor(name)
			if first == nil || other == nil || slices.Equal(first.Shape, other.Shape) || oneElement(first.Shape) && oneElement(other.Shape) {
				continue
			}
			description := fmt.Sprintf("has shape %s; it must be %s's, %s", shapeString(other.Shape), names[0], shapeString(first.Shape))
			return explained(shapeMismatch(name, description), r)
		}
	}
	if name, ok := indices[rpc]; ok {
		input, target := r.tensor("input"), r.tensor(name)
		if input == nil || target == nil || len(input.Shape) == 0 {
			return nil
		}
		var expected []int64
		if len(input.Shape) > 1 {
			expected = append(append(expected, input.Shape[0]), input.Shape[2:]...)
		}
		if !slices.Equal(target.Shape, expected) {
			description := fmt.Sprintf("has shape %s; input of shape %s makes it %s",
				shapeString(target.Shape), shapeString(input.Shape), shapeString(expected))
			return explained(shapeMismatch(name, description), r)
		}
	}
	return nil
}

// oneElement reports whether a shape is () or (1), which some losses treat as equal: the server decides.
func oneElement(shape []int64) bool {
	return len(shape) == 0 || len(shape) == 1 && shape[0] == 1
}

// explained returns the error with the names of arguments instead of fields, and with a hint if a common mistake is the likely cause.
// It returns errors that do not name arguments as they are.
func explained(err *Error, r request) *Error {
	if err == nil || err.Code != codes.InvalidArgument && err.Code != codes.OutOfRange {
		return err
	}
	rpc, hint := r.rpc(), hintFor(err, r)
	out := *err
	out.Message = inArguments(rpc, err.Message) + hint
	out.FieldViolations = make([]FieldViolation, len(err.FieldViolations))
	for i, violation := range err.FieldViolations {
		out.FieldViolations[i] = FieldViolation{inArguments(rpc, violation.Field), inArguments(rpc, violation.Description) + hint}
	}
	return &out
}

// inArguments returns a message of the server with the names of arguments instead of fields.
func inArguments(rpc, text string) string {
	names := argumentNames[rpc]
	if names == nil {
		return text
	}
	return snakeWord.ReplaceAllStringFunc(text, func(word string) string {
		if name, ok := names[word]; ok {
			return name
		}
		return word
	})
}

// inWhole returns the error of the part of a batch with the rows [start, stop), in terms of the whole batch.
func inWhole(err *Error, b batch, start, stop int) *Error {
	if err == nil || len(err.FieldViolations) == 0 {
		return err
	}
	out := *err
	out.Message = b.moved(err.FieldViolations[0].Field, err.Message, start, stop)
	out.FieldViolations = make([]FieldViolation, len(err.FieldViolations))
	for i, violation := range err.FieldViolations {
		out.FieldViolations[i] = FieldViolation{violation.Field, b.moved(violation.Field, violation.Description, start, stop)}
	}
	return &out
}

// Implementation details follow.

// moved returns a text about an argument of a part with the indices of the whole batch.
func (b batch) moved(argument, text string, start, stop int) string {
	axis, by, ok := 0, 0, false
	for name := range b.rule.fields {
		if inArguments(b.rpc(), name) == argument && !ok {
			axis, by, ok = b.offset(name, start)
		}
	}
	if !ok {
		return text
	}
	return badElements.ReplaceAllStringFunc(text, func(found string) string {
		match := badElements.FindStringSubmatch(found)
		bad := fmt.Sprintf("%s of %s %s of rows %d to %d are not", match[1], match[2], match[3], start, stop-1)
		if match[4] == "" {
			return bad
		}
		index := strings.Split(match[4], ", ")
		if axis < len(index) {
			if at, err := strconv.Atoi(index[axis]); err == nil {
				index[axis] = strconv.Itoa(at + by)
			}
		}
		return fmt.Sprintf("%s, the first at index [%s]", bad, strings.Join(index, ", "))
	})
}

func hintFor(err *Error, r request) string {
	if err.Reason != "SHAPE_MISMATCH" {
		return ""
	}
	if len(err.FieldViolations) == 1 && err.FieldViolations[0].Field == "class_probabilities" {
		return fmt.Sprintf("; target is %s, so it is taken as class probabilities: pass integers for class indices",
			dtypeName(r.tensor("class_probabilities")))
	}
	misfit := misfitInput.FindStringSubmatch(err.Message)
	if misfit == nil || indices[r.rpc()] == "" {
		return ""
	}
	if last := strings.LastIndex(misfit[2], ", "); strings.Count(misfit[2], ",") > 1 && misfit[1] == misfit[2][:last] {
		return "; classes are input's second extent, as in torch: give input the shape (rows, classes), and target (rows)"
	}
	return ""
}

// dtypeName returns torch's name of a tensor's element type.
func dtypeName(tensor *lossdpb.Tensor) string {
	message := tensor.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("values"))
	if field == nil {
		return "of no type"
	}
	return strings.TrimSuffix(string(field.Name()), "_values")
}

// shapeString returns a shape as the server writes it: [2, 3].
func shapeString(shape []int64) string {
	extents := make([]string, len(shape))
	for i, extent := range shape {
		extents[i] = strconv.FormatInt(extent, 10)
	}
	return "[" + strings.Join(extents, ", ") + "]"
}
