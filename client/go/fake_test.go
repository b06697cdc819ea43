// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// A fake server answers L1Loss as `answer` says, given the number of the attempt from 0; other losses are unimplemented.
type fake struct {
	lossdpb.UnimplementedLossServiceServer
	attempts atomic.Int64
	answer   func(ctx context.Context, attempt int64) (*lossdpb.LossResponse, error)
}

func (f *fake) L1Loss(ctx context.Context, _ *lossdpb.L1LossRequest) (*lossdpb.LossResponse, error) {
	return f.answer(ctx, f.attempts.Add(1)-1)
}

// serveFake starts the fake on a free port, and returns its address.
func serveFake(t *testing.T, f *fake) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	lossdpb.RegisterLossServiceServer(server, f)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func one() *lossdpb.LossResponse {
	return &lossdpb.LossResponse{Output: &lossdpb.LossResponse_Value{Value: 1}}
}

// overloaded is what a server without room answers.
func overloaded(retryAfter time.Duration) error {
	s, err := status.New(codes.Unavailable, "the queue is full").WithDetails(
		&errdetails.ErrorInfo{Reason: "QUEUE_FULL", Domain: "lossd"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)},
	)
	if err != nil {
		return err
	}
	return s.Err()
}

// pushback sends the trailer grpc-retry-pushback-ms with an error.
func pushback(ctx context.Context, value string) error {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", value)); err != nil {
		return err
	}
	return status.Error(codes.Unavailable, "not now")
}
