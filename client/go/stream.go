// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// errAlone is the outcome of a call whose stream broke before it was answered: the call is made as a unary RPC.
//
// So the same rules for retries and errors hold for a call whose stream broke as for any other call. If one call made the stream fail,
// only that call fails again; if all calls fail, each of them gets its own error.
var errAlone = &Error{Code: codes.Unavailable, Message: "the stream broke"}

// A stream is the ScoreStream that the calls of one connection share. The first call opens it; if it breaks, the next call opens it
// again. The outbox decides what is sent when.
type stream struct {
	closed     context.Context
	connection *grpc.ClientConn

	mutex   sync.Mutex
	changed *sync.Cond // the outbox may be ready, or the session has ended
	outbox  outbox
	session *session // nil if no stream is open
}

// A session is one RPC.
type session struct{ ended bool }

func newStream(closed context.Context, connection *grpc.ClientConn) *stream {
	s := &stream{closed: closed, connection: connection, outbox: outbox{sent: map[uint64]*pending{}}}
	s.changed = sync.NewCond(&s.mutex)
	return s
}

// score returns the outcome of a call: its response, its error, or errAlone. The request is encoded before it is queued, so that nothing
// reads the caller's arrays once score has returned.
func (s *stream) score(ctx context.Context, r request) outcome {
	encoded, bytes, err := r.encoded()
	if err != nil {
		return outcome{err: err}
	}
	call := &pending{call: encoded, bytes: bytes, done: make(chan outcome, 1)}
	call.deadline, _ = ctx.Deadline()
	s.mutex.Lock()
	if s.session == nil {
		s.session = &session{}
		go s.run(s.session)
	}
	s.outbox.add(call)
	s.changed.Signal()
	s.mutex.Unlock()
	select {
	case outcome := <-call.done:
		return outcome
	case <-ctx.Done():
		s.mutex.Lock()
		s.outbox.cancel(call)
		s.changed.Signal()
		s.mutex.Unlock()
		return outcome{err: errorOf(ctx.Err(), nil)}
	}
}

// Implementation details follow.

// run opens the stream and sends messages until it ends.
func (s *stream) run(session *session) {
	ctx, cancel := context.WithCancel(s.closed)
	defer cancel()
	defer s.end(session)
	description := &grpc.StreamDesc{StreamName: "ScoreStream", ServerStreams: true, ClientStreams: true}
	rpc, err := s.connection.NewStream(ctx, description, evaluationService+"ScoreStream")
	if err != nil {
		return
	}
	go s.read(rpc, session)
	for {
		s.mutex.Lock()
		for !session.ended && !s.outbox.ready() {
			s.changed.Wait()
		}
		if session.ended {
			s.mutex.Unlock()
			return
		}
		message := s.outbox.take(time.Now())
		s.mutex.Unlock()
		if rpc.SendMsg(message) != nil {
			return
		}
	}
}

func (s *stream) read(rpc grpc.ClientStream, session *session) {
	defer s.end(session)
	for {
		response := &lossdpb.ScoreStreamResponse{}
		if rpc.RecvMsg(response) != nil {
			return
		}
		s.mutex.Lock()
		calls, outcomes := s.outbox.answer(response)
		if s.outbox.ready() {
			s.changed.Signal()
		}
		s.mutex.Unlock()
		for i, call := range calls {
			call.done <- outcomes[i]
		}
	}
}

// end ends the session; its calls are made alone.
func (s *stream) end(session *session) {
	s.mutex.Lock()
	var calls []*pending
	if s.session == session {
		s.session = nil
		calls = s.outbox.clear()
	}
	session.ended = true
	s.changed.Broadcast() // another session may wait, too
	s.mutex.Unlock()
	for _, call := range calls {
		call.done <- outcome{err: errAlone}
	}
}

// encoded returns the request as a LossCall that refers to no memory of the caller's, and the size of its message in bytes.
func (r request) encoded() (*lossdpb.LossCall, int, *Error) {
	data, err := proto.Marshal(r.lossCall())
	if err != nil {
		return nil, 0, &Error{Code: codes.Internal, Message: err.Error()}
	}
	call := &lossdpb.LossCall{}
	call.ProtoReflect().SetUnknown(data) // written as they are
	return call, len(data), nil
}
