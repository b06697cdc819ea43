// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// An Outcome is the result of one call of a batch, or its error.
type Outcome[T Loss | Unreduced] struct {
	Result T
	Err    error // an *Error, or nil
}

// ScoreBatch scores many calls in few messages, and returns their outcomes in the same order. If a call fails, its outcome has the error,
// and the other calls are unaffected.
func (c *Client) ScoreBatch(ctx context.Context, calls []Call) []Outcome[Loss] {
	return scoreBatch(ctx, c, calls, lossOf)
}

// ScoreBatchUnreduced is ScoreBatch for losses without reduction; see [Client.ScoreUnreduced].
func (c *Client) ScoreBatchUnreduced(ctx context.Context, calls []Call) []Outcome[Unreduced] {
	unreduced := make([]Call, len(calls))
	for i, call := range calls {
		unreduced[i] = call.unreduced()
	}
	return scoreBatch(ctx, c, unreduced, unreducedOf)
}

// Implementation details follow.

func scoreBatch[T Loss | Unreduced](ctx context.Context, c *Client, calls []Call, result func(*lossdpb.LossResponse) T) []Outcome[T] {
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	shared := make([]shareable, len(calls))
	for i, call := range calls {
		shared[i] = call.shareable()
	}
	outcomes := make([]Outcome[T], len(calls))
	for i, outcome := range c.scoreMany(ctx, shared) {
		if outcome.err != nil {
			outcomes[i].Err = outcome.err
		} else {
			outcomes[i].Result = result(outcome.response)
		}
	}
	return outcomes
}

// A shareable call is encoded, to be sent with others, unless it is large enough to be sent by itself or wrong. Once the function that was
// given the call has returned, the arrays of `request` may have changed.
type shareable struct {
	request request
	encoded *lossdpb.LossCall // nil if it is sent by itself
	bytes   int
	err     *Error
}

// decoded returns the request of an encoded call, with arrays of its own.
func (s shareable) decoded() request {
	call := &lossdpb.LossCall{}
	if err := proto.Unmarshal(s.encoded.ProtoReflect().GetUnknown(), call); err != nil {
		panic(err) // it was marshalled by this client
	}
	message := call.ProtoReflect()
	return request{message.Get(message.WhichOneof(message.Descriptor().Oneofs().ByName("request"))).Message().Interface()}
}

func (call Call) shareable() shareable {
	s := shareable{request: call.request, err: call.err}
	if s.err == nil && s.request.size() <= messageBytes {
		s.encoded, s.bytes, s.err = s.request.encoded()
	}
	return s
}

// scoreMany returns the outcomes of calls in order.
func (c *Client) scoreMany(ctx context.Context, calls []shareable) []outcome {
	outcomes := make([]outcome, len(calls))
	var jobs []func(context.Context)
	var message []int // indices of calls
	bytes := 0
	share := func() {
		indices := message
		jobs = append(jobs, func(ctx context.Context) { c.scoreMessage(ctx, calls, indices, outcomes) })
		message, bytes = nil, 0
	}
	for i, call := range calls {
		switch {
		case call.err != nil:
			outcomes[i].err = call.err
		case call.encoded == nil:
			jobs = append(jobs, func(ctx context.Context) { outcomes[i].response, outcomes[i].err = c.score(ctx, call.request) })
		default:
			if len(message) == mostCalls || len(message) > 0 && bytes+call.bytes > min(messageBytes, int(c.limit.Load()/2)) {
				share()
			}
			message = append(message, i)
			bytes += call.bytes + 16
		}
	}
	if len(message) > 0 {
		share()
	}
	runAll(ctx, jobs)
	// What was refused in company is made again alone, and is split if need be.
	jobs = nil
	for i, call := range calls {
		if call.encoded != nil && outcomes[i].err != nil && outcomes[i].err.Code == codes.ResourceExhausted {
			jobs = append(jobs, func(ctx context.Context) { outcomes[i].response, outcomes[i].err = c.score(ctx, call.decoded()) })
		}
	}
	runAll(ctx, jobs)
	return outcomes
}

// runAll runs all jobs, concurrentMessages at a time, also if the context ends: each job then sets the errors of its calls.
func runAll(ctx context.Context, jobs []func(context.Context)) {
	_ = concurrently(context.WithoutCancel(ctx), len(jobs), func(_ context.Context, i int) *Error {
		jobs[i](ctx)
		return nil
	})
}

// scoreMessage sends calls as one message, or in halves if the message is too large, and sets their outcomes.
func (c *Client) scoreMessage(ctx context.Context, calls []shareable, indices []int, outcomes []outcome) {
	todo := indices
	err := c.retried(ctx, c.config.retry, func() *Error {
		request := &lossdpb.ScoreBatchRequest{Calls: make([]*lossdpb.LossCall, len(todo))}
		for i, index := range todo {
			request.Calls[i] = calls[index].encoded
		}
		response := &lossdpb.ScoreBatchResponse{}
		if err := c.invoke(ctx, evaluationService+"ScoreBatch", request, response); err != nil {
			return err
		}
		if len(response.Outcomes) != len(todo) {
			return &Error{Code: codes.Internal, Message: fmt.Sprintf("the server answered %d of %d calls", len(response.Outcomes), len(todo))}
		}
		var again []int
		var overloaded *Error
		for i, index := range todo {
			outcome := outcomeOf(response.Outcomes[i])
			outcome.err = explained(outcome.err, calls[index].request)
			outcomes[index] = outcome
			if outcome.err != nil && outcome.err.retryable() {
				again = append(again, index)
				if overloaded == nil || outcome.err.RetryAfter > overloaded.RetryAfter {
					overloaded = outcome.err
				}
			}
		}
		todo = again
		return overloaded
	})
	switch {
	case err == nil:
	case err.Code == codes.ResourceExhausted && len(todo) > 1:
		middle := len(todo) / 2
		c.scoreMessage(ctx, calls, todo[:middle], outcomes)
		c.scoreMessage(ctx, calls, todo[middle:], outcomes)
	default:
		for _, index := range todo {
			if outcomes[index].err == nil {
				outcomes[index].err = err
			}
		}
	}
}
