// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lossd "github.com/lossd/lossd/client/go"
)

var (
	logits = lossd.NewTensor([]float32{2, 0.5, -1, 0.1, 0.2, 3}, 2, 3)
	labels = lossd.NewTensor([]int64{0, 2})
)

const crossEntropy = 0.17545639723539352 // of logits and labels, by torch

func expectError(t *testing.T, err error, code codes.Code, reason string, parts ...string) *lossd.Error {
	t.Helper()
	var typed *lossd.Error
	if !errors.As(err, &typed) {
		t.Fatalf("%v is no *lossd.Error", err)
	}
	if typed.Code != code || typed.Reason != reason {
		t.Fatalf("%s %q; want %s %q: %v", typed.Code, typed.Reason, code, reason, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("%q does not say %q", err, part)
		}
	}
	return typed
}

func TestAnErrorNamesTheArgumentNotTheField(t *testing.T) {
	client := connect(t, shared.Address)
	_, err := client.CrossEntropy(t.Context(), logits, lossd.NewTensor([]int64{0, 3}), nil)
	typed := expectError(t, err, codes.InvalidArgument, "TARGET_OUT_OF_RANGE", "target", "the first at index [1]")
	if typed.FieldViolations[0].Field != "target" {
		t.Errorf("fields %v", typed.FieldViolations)
	}
	_, err = client.AdaptiveLogSoftmaxWithLoss(t.Context(), logits, labels, lossd.NewTensor(make([]float32, 9), 3, 3),
		[]lossd.AdaptiveTailCluster{{Projection: logits, Output: lossd.NewTensor([]float32{1, 2, 3}, 4)}}, []int64{2}, nil)
	typed = expectError(t, err, codes.InvalidArgument, "SHAPE_MISMATCH")
	if typed.FieldViolations[0].Field != "tail[0].output" {
		t.Errorf("fields %v", typed.FieldViolations)
	}
}

func TestAnErrorIsAStatusToo(t *testing.T) {
	_, err := connect(t, shared.Address).CrossEntropy(t.Context(), logits, lossd.NewTensor([]int64{0, 3}), nil)
	err = fmt.Errorf("wrapped: %w", err)
	read, ok := status.FromError(err)
	if !ok || read.Code() != codes.InvalidArgument || status.Code(err) != codes.InvalidArgument {
		t.Fatalf("%v", read)
	}
	var info *errdetails.ErrorInfo
	var request *errdetails.BadRequest
	for _, detail := range read.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info = detail
		case *errdetails.BadRequest:
			request = detail
		}
	}
	if info.GetReason() != "TARGET_OUT_OF_RANGE" || request.GetFieldViolations()[0].GetField() != "target" {
		t.Errorf("details %v", read.Details())
	}
}

func TestShapesAreCheckedBeforeAnythingIsSent(t *testing.T) {
	client := connect(t, "127.0.0.1:1", lossd.WithoutRetry()) // nothing listens there
	for _, test := range []struct {
		call   lossd.Call
		fields string
		part   string
	}{
		{lossd.CrossEntropy(logits, lossd.NewTensor([]float32{0, 2}), nil), "target",
			"target is float32, so it is taken as class probabilities: pass integers for class indices"},
		{lossd.CrossEntropy(lossd.NewTensor(make([]float32, 24), 2, 3, 4), lossd.NewTensor(make([]int64, 6), 2, 3), nil), "target",
			"classes are input's second extent"},
		{lossd.MSELoss(logits, labels, nil), "target", "has shape [2]; it must be input's, [2, 3]"},
		{lossd.MSELoss(logits, lossd.NewTensor([]float32{1}, 2, 3), nil), "target", "has 1 values, and the shape [2 3]"},
		{lossd.MSELoss(lossd.NewTensor([]float32{1}, -1, -1), logits, nil), "input", "the shape [-1 -1]"},
	} {
		_, err := client.Score(t.Context(), test.call)
		typed := expectError(t, err, codes.InvalidArgument, "SHAPE_MISMATCH", test.part)
		if len(typed.FieldViolations) != 1 || typed.FieldViolations[0].Field != test.fields {
			t.Errorf("fields %v; want %s", typed.FieldViolations, test.fields)
		}
	}
}

func TestAnUnreducedCallHasNoOtherReduction(t *testing.T) {
	client := connect(t, "127.0.0.1:1")
	_, err := client.ScoreUnreduced(t.Context(), lossd.CrossEntropy(logits, labels, &lossd.CrossEntropyOptions{Reduction: lossd.Sum}))
	expectError(t, err, codes.InvalidArgument, "REDUCTION_UNSUPPORTED", "reduction: is sum")
}

func TestContextsErrorsAreFound(t *testing.T) {
	client := connect(t, shared.Address)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client.Score(ctx, lossd.CrossEntropy(logits, labels, nil))
	expectError(t, err, codes.Canceled, "")
	if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err = client.Score(ctx, lossd.CrossEntropy(logits, labels, nil))
	expectError(t, err, codes.DeadlineExceeded, "")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAClosedClientSaysSo(t *testing.T) {
	for _, options := range [][]lossd.Option{nil, {lossd.WithCoalescing()}} {
		client := connect(t, shared.Address, options...)
		if _, err := client.CrossEntropy(t.Context(), logits, labels, nil); err != nil {
			t.Fatal(err)
		}
		client.Close()
		_, err := client.CrossEntropy(t.Context(), logits, labels, nil)
		expectError(t, err, codes.Canceled, "", "the client is closed")
	}
}
