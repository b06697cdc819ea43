// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// This file cuts a request that is too large along its batch dimension. splitRules says for every RPC which fields are cut and how; the
// rest is the same for all losses. Fields that no rule names (per-class weights, output layers) go with every part.

// A cutting is how a field is cut if the batch is cut along extent `axis`.
type cutting int

const (
	notCut         cutting = iota
	rows                   // along the same extent
	rowsAfterTime          // along the extent after it: (T, N, C)
	leftBroadcast          // along the same extent, unless that is missing or 1
	rightBroadcast         // the same, extents aligned on the right
	items                  // a list with one item for each row
	concatenated           // rows of target_lengths, concatenated
)

// A splitRule is how the requests of one RPC are cut. The tensor `lead` has the batch as its leading extents.
type splitRule struct {
	lead    string
	fields  map[string]cutting
	rowRank int  // minimum number of trailing extents of `lead` in a row
	oneAxis bool // the batch has one extent, and all later extents belong to the row
}

func elementwise(others map[string]cutting, names ...string) splitRule {
	rule := splitRule{lead: names[0], fields: map[string]cutting{}}
	for _, name := range names {
		rule.fields[name] = rows
	}
	for name, how := range others {
		rule.fields[name] = how
	}
	return rule
}

func rowwise(names ...string) splitRule {
	rule := elementwise(nil, names...)
	rule.rowRank, rule.oneAxis = 1, true
	return rule
}

func vectors(others map[string]cutting, names ...string) splitRule {
	rule := elementwise(others, names...)
	rule.rowRank = 1
	return rule
}

var splitRules = map[string]splitRule{
	"L1Loss":                        elementwise(nil, "input", "target", "weight"),
	"MseLoss":                       elementwise(nil, "input", "target", "weight"),
	"SmoothL1Loss":                  elementwise(nil, "input", "target"),
	"HuberLoss":                     elementwise(nil, "input", "target", "weight"),
	"KlDivLoss":                     elementwise(nil, "input", "target"),
	"PoissonNllLoss":                elementwise(nil, "input", "target"),
	"GaussianNllLoss":               elementwise(map[string]cutting{"target": rightBroadcast, "variance_values": leftBroadcast}, "input"),
	"NllLoss":                       rowwise("input", "target"),
	"CrossEntropyLoss":              rowwise("input", "class_indices", "class_probabilities"),
	"BceLoss":                       elementwise(map[string]cutting{"weight": rightBroadcast}, "input", "target"),
	"BceWithLogitsLoss":             elementwise(map[string]cutting{"weight": rightBroadcast, "pos_weight": rightBroadcast}, "input", "target"),
	"SoftMarginLoss":                elementwise(map[string]cutting{"target": rightBroadcast}, "input"),
	"MultiMarginLoss":               rowwise("input", "target"),
	"MultiLabelMarginLoss":          rowwise("input", "target"),
	"MultiLabelSoftMarginLoss":      vectors(map[string]cutting{"weight": rightBroadcast}, "input", "target"),
	"MarginRankingLoss":             elementwise(map[string]cutting{"input2": leftBroadcast, "target": leftBroadcast}, "input1"),
	"HingeEmbeddingLoss":            elementwise(map[string]cutting{"target": rightBroadcast}, "input"),
	"CosineEmbeddingLoss":           rowwise("input1", "input2", "target"),
	"TripletMarginLoss":             vectors(nil, "anchor", "positive", "negative"),
	"TripletMarginWithDistanceLoss": vectors(nil, "anchor", "positive", "negative"),
	"CtcLoss": {
		lead: "log_probs",
		fields: map[string]cutting{
			"log_probs": rowsAfterTime, "padded_targets": rows, "concatenated_targets": concatenated,
			"input_lengths": items, "target_lengths": items,
		},
		rowRank: 2,
		oneAxis: true,
	},
	"AdaptiveLogSoftmaxWithLoss": rowwise("input", "target"),
	"LinearCrossEntropyLoss":     rowwise("input", "class_indices", "class_probabilities"),
}

// A batch is a request, the extent along which it is cut, and its number of rows along that extent.
type batch struct {
	request
	rule splitRule
	axis int
	rows int
}

// A part has the rows [start, stop) of a batch.
type part struct {
	request
	start, stop int
}

// batchOf returns a batch of at least two rows, or the error of a request that cannot be cut.
func batchOf(r request) (batch, *Error) {
	rule := splitRules[r.rpc()]
	lead := r.tensor(rule.lead)
	if lead == nil {
		return batch{}, uncuttable(r, rule.lead+" is missing")
	}
	first := 0
	if rule.fields[rule.lead] == rowsAfterTime {
		first = 1
	}
	var extents []int64
	if end := len(lead.Shape) - rule.rowRank; end > 0 && rule.oneAxis {
		extents = lead.Shape[first : first+1]
	} else if end > 0 {
		extents = lead.Shape[first:end]
	}
	for axis, extent := range extents {
		if extent > 1 {
			return batch{r, rule, axis, int(extent)}, nil
		}
	}
	if len(extents) > 0 {
		return batch{}, uncuttable(r, "it is a single row")
	}
	return batch{}, uncuttable(r, fmt.Sprintf("%s of shape %s has no batch dimension", rule.lead, shapeString(lead.Shape)))
}

// cut returns the request in that many parts of about equal size; fewer if it has fewer rows. It fails if shapes do not match.
func (b batch) cut(count int) ([]part, *Error) {
	count = min(count, b.rows)
	parts := make([]part, count)
	for i := range parts {
		start, stop := b.rows*i/count, b.rows*(i+1)/count
		selected, err := b.selected(start, stop)
		if err != nil {
			return nil, err
		}
		parts[i] = part{selected, start, stop}
	}
	return parts, nil
}

// selected returns the request with only the rows [start, stop) of the batch.
func (b batch) selected(start, stop int) (request, *Error) {
	out := b.copied()
	for name, how := range b.rule.fields {
		tensor := b.tensor(name)
		switch {
		case how == items:
			if err := selectLengths(out.message.(*lossdpb.CtcLossRequest), name, b.rows, start, stop); err != nil {
				return out, err
			}
		case tensor == nil:
		case how == concatenated:
			lengths := b.message.(*lossdpb.CtcLossRequest).TargetLengths
			if err := checkRows("target_lengths", len(lengths), b.rows); err != nil {
				return out, err
			}
			begin, end := total(lengths[:start]), total(lengths[:stop])
			if err := checkRows("targets", int(elementCount(tensor)), int(total(lengths))); err != nil {
				return out, err
			}
			out.setTensor(name, selectRows(tensor, 0, int(begin), int(end)))
		default:
			along, ok := b.axisOf(name)
			if !ok {
				continue
			}
			found := 0
			if along < len(tensor.Shape) {
				found = int(tensor.Shape[along])
			}
			if err := checkRows(inArguments(b.rpc(), name), found, b.rows); err != nil {
				return out, err
			}
			out.setTensor(name, selectRows(tensor, along, start, stop))
		}
	}
	return out, nil
}

// axisOf returns the extent along which a tensor is cut; false if the tensor goes with every part.
func (b batch) axisOf(name string) (int, bool) {
	tensor := b.tensor(name)
	if tensor == nil {
		return 0, false
	}
	axis := b.axis
	switch b.rule.fields[name] {
	case rows:
		return axis, true
	case rowsAfterTime:
		return axis + 1, true
	case concatenated:
		return 0, true
	case rightBroadcast:
		axis -= len(b.tensor(b.rule.lead).Shape) - len(tensor.Shape)
	case leftBroadcast:
	default:
		return 0, false
	}
	return axis, axis >= 0 && axis < len(tensor.Shape) && tensor.Shape[axis] != 1
}

// offset returns the extent along which a field is cut and the index in it at which row `start` begins; false if the field goes with
// every part.
func (b batch) offset(name string, start int) (axis, by int, ok bool) {
	if b.rule.fields[name] == items {
		return 0, start, true
	}
	axis, ok = b.axisOf(name)
	if ok && b.rule.fields[name] == concatenated {
		return axis, int(total(b.message.(*lossdpb.CtcLossRequest).TargetLengths[:start])), true
	}
	return axis, start, ok
}

// shared returns the request without the fields that are cut.
func (b batch) shared() request {
	out := b.copied()
	message := out.message.ProtoReflect()
	for name := range b.rule.fields {
		if _, ok := b.axisOf(name); ok || b.rule.fields[name] == items {
			message.Clear(message.Descriptor().Fields().ByName(protoreflect.Name(name)))
		}
	}
	return out
}

// Implementation details follow.

func (r request) setTensor(name string, tensor *lossdpb.Tensor) {
	r.set(name, protoreflect.ValueOfMessage(tensor.ProtoReflect()))
}

// selectRows returns the elements [start, stop) along an extent. It copies nothing if the extent is the first that is not 1.
func selectRows(tensor *lossdpb.Tensor, along, start, stop int) *lossdpb.Tensor {
	shape := slices.Clone(tensor.Shape)
	shape[along] = int64(stop - start)
	payload := payloadOf(tensor)
	outer, inner := 1, int(elementOf(tensor).Size())
	for axis, extent := range tensor.Shape {
		if axis < along {
			outer *= int(extent)
		} else if axis > along {
			inner *= int(extent)
		}
	}
	if outer == 1 {
		return withPayload(tensor, shape, payload[start*inner:stop*inner])
	}
	stride := int(tensor.Shape[along]) * inner
	selected := make([]byte, 0, outer*(stop-start)*inner)
	for i := range outer {
		selected = append(selected, payload[i*stride+start*inner:i*stride+stop*inner]...)
	}
	return withPayload(tensor, shape, selected)
}

func selectLengths(request *lossdpb.CtcLossRequest, name string, rows, start, stop int) *Error {
	lengths := &request.InputLengths
	if name == "target_lengths" {
		lengths = &request.TargetLengths
	}
	if err := checkRows(name, len(*lengths), rows); err != nil {
		return err
	}
	*lengths = (*lengths)[start:stop]
	return nil
}

func checkRows(name string, found, expected int) *Error {
	if found == expected {
		return nil
	}
	return shapeMismatch(name, fmt.Sprintf("has %d where %d are expected", found, expected))
}

func elementCount(tensor *lossdpb.Tensor) int64 {
	count := int64(1)
	for _, extent := range tensor.Shape {
		count *= extent
	}
	return count
}

func total(lengths []int64) int64 {
	sum := int64(0)
	for _, length := range lengths {
		sum += length
	}
	return sum
}

// tooLarge is the error for a request above the client's limit.
func tooLarge(r request, limit int64) *Error {
	size := r.size()
	return &Error{
		Code: codes.ResourceExhausted, Reason: "REQUEST_TOO_LARGE",
		Message:  fmt.Sprintf("the %s request has %d bytes; %d are allowed: split the batch", r.rpc(), size, limit),
		Metadata: map[string]string{"limit_bytes": strconv.FormatInt(limit, 10), "actual_bytes": strconv.Itoa(size)},
	}
}

// uncuttable is the error for a request that is too large and cannot be cut.
func uncuttable(r request, why string) *Error {
	return &Error{
		Code: codes.ResourceExhausted, Reason: "REQUEST_TOO_LARGE",
		Message: fmt.Sprintf("the %s request is too large, and it cannot be split: %s", r.rpc(), why),
	}
}
