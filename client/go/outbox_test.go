// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"slices"
	"testing"
	"time"

	"github.com/lossd/lossd/client/go/lossdpb"
)

var epoch = time.Unix(0, 0)

func newOutbox() *outbox {
	return &outbox{sent: map[uint64]*pending{}}
}

func (o *outbox) adding(count, bytes int) []*pending {
	calls := make([]*pending, count)
	for i := range calls {
		calls[i] = &pending{call: &lossdpb.LossCall{}, bytes: bytes, done: make(chan outcome, 1)}
		o.add(calls[i])
	}
	return calls
}

func ids(request *lossdpb.ScoreStreamRequest) []uint64 {
	var ids []uint64
	for _, call := range request.Calls {
		ids = append(ids, call.Id)
	}
	return ids
}

func answers(ids ...uint64) *lossdpb.ScoreStreamResponse {
	response := &lossdpb.ScoreStreamResponse{}
	for _, id := range ids {
		outcome := &lossdpb.LossOutcome{Outcome: &lossdpb.LossOutcome_Response{Response: &lossdpb.LossResponse{}}}
		response.Outcomes = append(response.Outcomes, &lossdpb.StreamOutcome{Id: id, Outcome: outcome})
	}
	return response
}

func TestALoneCallIsSentAtOnceAndOthersGatherWhileMessagesAreSilent(t *testing.T) {
	o := newOutbox()
	for i := range messagesUnderWay {
		o.adding(1, 10)
		if !o.ready() {
			t.Fatal("a call waits although few messages are under way")
		}
		if got := ids(o.take(epoch)); !slices.Equal(got, []uint64{uint64(i + 1)}) {
			t.Fatal(got)
		}
	}
	o.adding(3, 10)
	if o.ready() {
		t.Fatal("more messages are under way than may be")
	}
	if calls, _ := o.answer(answers(2)); len(calls) != 1 || !o.ready() {
		t.Fatal("an answer makes room for a message")
	}
	if got := ids(o.take(epoch)); !slices.Equal(got, []uint64{5, 6, 7}) {
		t.Fatal(got)
	}
}

func TestAMessageHasItsLimits(t *testing.T) {
	o := newOutbox()
	o.adding(messageCalls*messagesUnderWay, 10)
	if got := len(o.take(epoch).Calls); got != messageCalls {
		t.Errorf("%d calls in a message", got)
	}
	o = newOutbox()
	o.adding(3, messageBytes/2)
	if got := len(o.take(epoch).Calls); got != 2 {
		t.Errorf("%d calls of half a message in a message", got)
	}
	o = newOutbox()
	o.adding(2, 2*messageBytes)
	if got := len(o.take(epoch).Calls); got != 1 {
		t.Errorf("%d calls above the limit in a message", got)
	}
	o = newOutbox()
	o.adding(mostCalls*messagesUnderWay+100, 0)
	if got := len(o.take(epoch).Calls); got != mostCalls {
		t.Errorf("%d calls in a message", got)
	}
}

func TestACancelledCallIsNotSentOrTheServerLearnsOfIt(t *testing.T) {
	o := newOutbox()
	calls := o.adding(3, 10)
	o.cancel(calls[1])
	if got := ids(o.take(epoch)); !slices.Equal(got, []uint64{1, 3}) {
		t.Fatal(got)
	}
	o.cancel(calls[0])
	o.cancel(calls[0])
	o.cancel(calls[1])
	if request := o.take(epoch); !slices.Equal(request.CancelledIds, []uint64{1}) || len(request.Calls) != 0 {
		t.Fatal(request)
	}
	if o.silent != 0 {
		t.Error("a message whose call was cancelled is not silent")
	}
	if got, _ := o.answer(answers(1)); len(got) != 0 {
		t.Error("a cancelled call has no outcome")
	}
	if got := o.clear(); len(got) != 1 || got[0] != calls[2] {
		t.Error("the third call is the only one without an outcome")
	}
	o.cancel(calls[2])
	if o.ready() {
		t.Error("nothing is left of calls that were cleared")
	}
}

func TestTheTimeThatIsLeftIsSent(t *testing.T) {
	o := newOutbox()
	calls := o.adding(3, 10)
	calls[0].deadline = epoch.Add(1500 * time.Millisecond)
	calls[1].deadline = epoch.Add(-time.Second)
	request := o.take(epoch)
	if got := request.Calls[0].GetTimeoutSeconds(); got != 1.5 {
		t.Error(got)
	}
	if request.Calls[1].TimeoutSeconds == nil || *request.Calls[1].TimeoutSeconds != 0 {
		t.Error("a deadline that has passed leaves no time")
	}
	if request.Calls[2].TimeoutSeconds != nil {
		t.Error("no deadline has no timeout")
	}
}
