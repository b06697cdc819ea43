// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// This file scores a request that is too large as parts: how many, from the limit on its bytes or from a server's refusals.

// scoreParts returns the response merged from the parts of a request that was refused.
func (c *Client) scoreParts(ctx context.Context, r request, refused *Error) (*lossdpb.LossResponse, *Error) {
	if !c.config.split {
		return nil, refused
	}
	if err := c.learnLimit(ctx, r, refused); err != nil {
		return nil, err
	}
	b, err := batchOf(r)
	if err != nil {
		return nil, err
	}
	if limit := c.limit.Load(); int64(r.size()) > limit {
		count, err := partsNeeded(b, limit)
		if err != nil {
			return nil, err
		}
		parts, err := b.cut(count)
		if err != nil {
			return nil, err
		}
		responses, err := c.scoreAll(ctx, b, parts)
		if err != nil {
			return nil, err
		}
		return mergeParts(b, responses), nil
	}
	return c.scoreByRefusals(ctx, b, refused)
}

// scoreByRefusals finds parts that the server accepts: only the server can measure its other limits. One part is cut until the server
// accepts it, then the rest.
func (c *Client) scoreByRefusals(ctx context.Context, b batch, refused *Error) (*lossdpb.LossResponse, *Error) {
	size := b.rows
	first := part{b.request, 0, b.rows}
	var rest []part
	var refusals []refusal
	var ahead *lossdpb.LossResponse
	for ahead == nil {
		measured, err := refusalOf(size, refused)
		if err != nil {
			return nil, err
		}
		refusals = append(refusals, measured)
		if size == 1 {
			if ahead, err = c.scoreParts(ctx, first.request, refused); err != nil { // cut along the next extent
				return nil, err
			}
			break
		}
		fit, err := rowsThatFit(b, refusals)
		if err != nil {
			return nil, err
		}
		parts, err := b.cut((b.rows + fit - 1) / fit)
		if err != nil {
			return nil, err
		}
		first, rest = parts[0], parts[1:]
		size = first.stop
		ahead, err = c.respond(ctx, first.request)
		switch {
		case err == nil:
		case err.Code == codes.ResourceExhausted:
			ahead, refused = nil, err
		default:
			return nil, inWhole(explained(err, first.request), b, first.start, first.stop)
		}
	}
	responses, err := c.scoreAll(ctx, b, rest)
	if err != nil {
		return nil, err
	}
	return mergeParts(b, append([]*lossdpb.LossResponse{ahead}, responses...)), nil
}

// scoreAll returns the responses to parts, in their order.
func (c *Client) scoreAll(ctx context.Context, b batch, parts []part) ([]*lossdpb.LossResponse, *Error) {
	responses := make([]*lossdpb.LossResponse, len(parts))
	err := concurrently(ctx, len(parts), func(ctx context.Context, i int) *Error {
		response, err := c.score(ctx, parts[i].request)
		responses[i] = response
		return inWhole(err, b, parts[i].start, parts[i].stop)
	})
	return responses, err
}

// learnLimit adopts the server's limit on the bytes of a request, if the server refused the request for that limit.
func (c *Client) learnLimit(ctx context.Context, r request, refused *Error) *Error {
	limit, ok := refused.LimitBytes()
	switch {
	case refused.Reason == "REQUEST_TOO_LARGE" && ok:
	case int64(r.size()) <= c.limit.Load() && refusedByGRPC(refused):
		info, err := c.serverInfo(ctx, c.config.retry)
		if err != nil {
			return err
		}
		limit = info.MaxRequestBytes
	default:
		return nil
	}
	for held := c.limit.Load(); limit < held && !c.limit.CompareAndSwap(held, limit); held = c.limit.Load() {
	}
	return nil
}

// Implementation details follow.

// A refusal says that a request of `rows` rows needs `actual`, and `limit` is allowed; NaN if the server did not say.
type refusal struct {
	rows          int
	limit, actual float64
	err           *Error
}

// refusalOf returns what an error says about a request of `rows` rows, or the error if cutting the request cannot help.
func refusalOf(rows int, err *Error) (refusal, *Error) {
	for name, value := range err.Metadata {
		if what, ok := strings.CutPrefix(name, "limit_"); ok {
			return refusal{rows, number(value), number(err.Metadata["actual_"+what]), err}, nil
		}
	}
	if !refusedByGRPC(err) {
		return refusal{}, err
	}
	return refusal{rows, math.NaN(), math.NaN(), err}, nil
}

func number(text string) float64 {
	if parsed, err := strconv.ParseFloat(text, 64); err == nil {
		return parsed
	}
	return math.NaN()
}

// refusedByGRPC reports whether gRPC itself refused the request or the answer for its size. gRPC does not say which.
func refusedByGRPC(err *Error) bool {
	return strings.Contains(err.Message, "larger than max")
}

// rowsThatFit returns how many rows a part may have, at least one, from refusals of fewer and fewer rows.
//
// A request needs a fixed amount for the fields that go with every part, and the same amount for each row. One refusal bounds the rows,
// and two give both amounts. Fails if the fixed amount alone is above the limit.
func rowsThatFit(b batch, refusals []refusal) (int, *Error) {
	last := refusals[len(refusals)-1]
	rows := float64(last.rows) * last.limit / last.actual
	if len(refusals) > 1 && refusals[len(refusals)-2].limit == last.limit {
		before := refusals[len(refusals)-2]
		aRow := (before.actual - last.actual) / float64(before.rows-last.rows)
		everyPart := last.actual - aRow*float64(last.rows)
		if aRow <= 0 || everyPart >= last.limit {
			return 0, uncuttable(b.request, "what goes with every part is above the limit by itself. "+last.err.Message)
		}
		rows = (last.limit - everyPart) / aRow
	}
	if rows < float64(last.rows) {
		return max(1, int(rows)), nil
	}
	return max(1, last.rows/2), nil // the server did not say, or says what cannot be
}

// partsNeeded returns into how many parts a request above `limit` bytes must be cut. Fails if cutting cannot help.
//
// Parts may still be too large, if rows are of unequal length or one row is too large by itself: they are cut again.
func partsNeeded(b batch, limit int64) (int, *Error) {
	const headers = 512 // bytes that a part may need beyond its share of the rows
	whole := int64(b.shared().size())
	room := limit - whole - headers
	if room <= 0 {
		name, size := b.largestShared()
		return 0, uncuttable(b.request,
			fmt.Sprintf("%s of about %d bytes must go with every part, and %d bytes are allowed", name, size, limit))
	}
	rowsInPart := max(1, room*int64(b.rows)/(int64(b.size())-whole))
	return int((int64(b.rows) + rowsInPart - 1) / rowsInPart), nil
}

// largestShared returns the name and size in bytes of the largest field that goes with every part.
func (b batch) largestShared() (name string, size int) {
	shared := b.shared()
	fields := shared.message.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		one := shared.copied()
		one.message.ProtoReflect().Clear(fields.Get(i))
		if without := shared.size() - one.size(); without > size {
			name, size = string(fields.Get(i).Name()), without
		}
	}
	return name, size
}

// mergeParts returns the response to the request, from the responses to its parts in order.
func mergeParts(b batch, responses []*lossdpb.LossResponse) *lossdpb.LossResponse {
	var totals totals
	execution := &lossdpb.Execution{Device: responses[0].GetExecution().GetDevice()}
	for _, response := range responses {
		totals.add(statisticsOf(response))
		part := response.GetExecution()
		execution.QueueSeconds = max(execution.QueueSeconds, part.GetQueueSeconds())
		execution.ComputeSeconds += part.GetComputeSeconds()
		execution.CallsInBatch = max(execution.CallsInBatch, part.GetCallsInBatch())
	}
	s := totals.statistics()
	lead := b.tensor(b.rule.lead)
	reduction := b.reduction()
	if reduction == lossdpb.Reduction_REDUCTION_BATCH_MEAN { // the parts' sum is the first extent only if that is cut
		s.MeanDenominator = float64(lead.Shape[0])
	}
	merged := &lossdpb.LossResponse{Execution: execution, Statistics: &lossdpb.LossStatistics{
		Sum: s.Sum, MeanNumerator: s.MeanNumerator, MeanDenominator: s.MeanDenominator,
		ElementCount: s.ElementCount, IgnoredCount: s.IgnoredCount,
	}}
	switch reduction {
	case lossdpb.Reduction_REDUCTION_NONE:
		axis := b.axis
		if b.rule.fields["target"] == rightBroadcast {
			// A target of a higher rank broadcasts with the lead: the extents of both are aligned on the right.
			axis += len(responses[0].GetValues().GetShape()) - len(lead.Shape)
		}
		merged.Output = &lossdpb.LossResponse_Values{Values: joined(responses, axis)}
	case lossdpb.Reduction_REDUCTION_SUM:
		merged.Output = &lossdpb.LossResponse_Value{Value: s.Sum}
	default:
		merged.Output = &lossdpb.LossResponse_Value{Value: s.MeanNumerator / s.MeanDenominator}
	}
	return merged
}

// joined concatenates the values of responses along an extent.
func joined(responses []*lossdpb.LossResponse, along int) *lossdpb.Tensor {
	first := responses[0].GetValues()
	shape := append([]int64(nil), first.Shape...)
	shape[along] = 0
	size := 0
	for _, response := range responses {
		shape[along] += response.GetValues().Shape[along]
		size += len(payloadOf(response.GetValues()))
	}
	outer := 1
	for _, extent := range shape[:along] {
		outer *= int(extent)
	}
	payload := make([]byte, 0, size)
	for i := range outer {
		for _, response := range responses {
			part := payloadOf(response.GetValues())
			stride := len(part) / outer
			payload = append(payload, part[i*stride:(i+1)*stride]...)
		}
	}
	return withPayload(first, shape, payload)
}
