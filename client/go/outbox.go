// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"time"

	"github.com/lossd/lossd/client/go/lossdpb"
)

const (
	// messagesUnderWay is enough that the server computes some calls while others are prepared, and few enough that calls share messages.
	messagesUnderWay = 4
	// A message holds at most messageBytes, and at most 1/messagesUnderWay of the waiting calls or messageCalls, whichever is more.
	messageBytes = 1 << 20
	messageCalls = 32
	// mostCalls is the maximum of calls, and of cancellations, in a message, however small they are: a server refuses more than 16,384.
	mostCalls = 1 << 13
	// concurrentMessages is how many parts of a request, or messages of a batch, are in flight at a time.
	concurrentMessages = messagesUnderWay
	// Larger calls gain nothing from sharing a message, and would delay the others: each is sent as a unary RPC.
	largestSharedBytes = 256 << 10
)

// An outbox holds the calls of one ScoreStream that wait to be sent, and sent calls that wait for their answers. It knows no stream,
// goroutine or clock. It is used under the stream's lock.
//
// There is no timer and no batch size to wait for. Each time a write completes, the stream's writer takes the calls that wait, unless
// messagesUnderWay messages have had no answer at all. So a lone call is sent at once, and calls made while the stream is busy are sent
// together.
type outbox struct {
	ids       uint64
	waiting   []*pending // in order of arrival, cancelled calls included
	cancelled int        // calls in `waiting` that are cancelled
	sent      map[uint64]*pending
	dropped   []uint64 // ids of sent calls that are cancelled, which the server must learn
	silent    int      // messages that have had no answer
}

// A pending call waits for its outcome. Exactly one outcome is sent to `done`, which has room for it, unless the call is cancelled.
type pending struct {
	id       uint64
	call     *lossdpb.LossCall
	bytes    int
	deadline time.Time // zero if the call has none
	done     chan outcome
	message  *sentMessage // nil until the call is sent
	ended    bool         // cancelled or answered
}

// A sentMessage is silent until one of its calls is answered or cancelled.
type sentMessage struct{ silent bool }

// An outcome is a response or an error.
type outcome struct {
	response *lossdpb.LossResponse
	err      *Error
}

// ready reports whether there is something to take.
func (o *outbox) ready() bool {
	return len(o.dropped) > 0 || len(o.waiting) > o.cancelled && o.silent < messagesUnderWay
}

// add queues a call.
func (o *outbox) add(call *pending) {
	o.ids++
	call.id = o.ids
	o.waiting = append(o.waiting, call)
}

// cancel drops a call for which nobody waits any more. It does nothing if the call has an outcome.
func (o *outbox) cancel(call *pending) {
	switch {
	case call.ended:
	case call.message == nil:
		call.ended = true
		o.cancelled++
	default:
		o.settle(call)
		o.dropped = append(o.dropped, call.id)
	}
}

// take returns the next message: calls in order of arrival, and cancellations, each up to the limits.
func (o *outbox) take(now time.Time) *lossdpb.ScoreStreamRequest {
	request := &lossdpb.ScoreStreamRequest{}
	request.CancelledIds = o.dropped[:min(mostCalls, len(o.dropped))]
	o.dropped = o.dropped[len(request.CancelledIds):]
	if o.silent >= messagesUnderWay {
		return request
	}
	room := min(mostCalls, max(messageCalls, (len(o.waiting)-o.cancelled)/messagesUnderWay))
	message := &sentMessage{silent: true}
	bytes, seen := 0, 0
	for _, call := range o.waiting {
		if !call.ended {
			bytes += call.bytes
			if len(request.Calls) == room || len(request.Calls) > 0 && bytes > messageBytes {
				break
			}
			request.Calls = append(request.Calls, o.send(call, message, now))
		} else {
			o.cancelled--
		}
		o.waiting[seen] = nil
		seen++
	}
	o.waiting = o.waiting[seen:]
	if len(request.Calls) > 0 {
		o.silent++
	}
	return request
}

// answer returns the calls that a message answers, each with its outcome.
func (o *outbox) answer(response *lossdpb.ScoreStreamResponse) ([]*pending, []outcome) {
	calls := make([]*pending, 0, len(response.Outcomes))
	outcomes := make([]outcome, 0, len(response.Outcomes))
	for _, answer := range response.Outcomes {
		if call := o.sent[answer.Id]; call != nil {
			o.settle(call)
			calls = append(calls, call)
			outcomes = append(outcomes, outcomeOf(answer.Outcome))
		}
	}
	return calls, outcomes
}

// clear removes every call, because the stream has ended, and returns the calls without an outcome.
func (o *outbox) clear() []*pending {
	var calls []*pending
	for _, call := range o.waiting {
		if !call.ended {
			calls = append(calls, call)
		}
	}
	for _, call := range o.sent {
		calls = append(calls, call)
	}
	for _, call := range calls {
		call.ended = true
	}
	*o = outbox{ids: o.ids, sent: map[uint64]*pending{}}
	return calls
}

// Implementation details follow.

func (o *outbox) send(call *pending, message *sentMessage, now time.Time) *lossdpb.StreamCall {
	call.message = message
	o.sent[call.id] = call
	out := &lossdpb.StreamCall{Id: call.id, Call: call.call}
	if !call.deadline.IsZero() {
		left := max(0, call.deadline.Sub(now).Seconds())
		out.TimeoutSeconds = &left
	}
	return out
}

// settle removes a call that was sent.
func (o *outbox) settle(call *pending) {
	call.ended = true
	delete(o.sent, call.id)
	if call.message.silent {
		call.message.silent = false
		o.silent--
	}
}

func outcomeOf(message *lossdpb.LossOutcome) outcome {
	if response := message.GetResponse(); response != nil {
		return outcome{response: response}
	}
	return outcome{err: errorOfCall(message.GetError())}
}
