// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// NoRetry is the RetryAfter of an error that would come again: the server asks for no retry, or the TLS handshake failed.
const NoRetry time.Duration = math.MaxInt64

// Error is the error of a call. errors.As finds it, and status.FromError and status.Code read it as a gRPC status.
//
//	InvalidArgument, OutOfRange        fix the arguments; FieldViolations names them
//	ResourceExhausted                  above a limit of the server; see LimitBytes
//	Unavailable, with a Reason         the server is overloaded or shutting down; see RetryAfter
//	Unavailable, without a Reason      no server was reached, or the connection broke
//	DeadlineExceeded                   not answered in time; errors.Is(err, context.DeadlineExceeded) holds
//	Canceled                           cancelled on this side; errors.Is(err, context.Canceled) holds
//	Unauthenticated, PermissionDenied  the token or certificate is missing, wrong, or does not permit the call
//	others                             the server failed, which is a bug of the server
type Error struct {
	Code codes.Code
	// Reason is the server's word for what is wrong, such as "SHAPE_MISMATCH". Empty if the error is not the server's.
	Reason  string
	Message string
	// FieldViolations names the arguments at fault.
	FieldViolations []FieldViolation
	// RetryAfter is how long the server asks to wait before a retry: zero if it does not say, [NoRetry] if a retry is useless.
	RetryAfter time.Duration
	// Metadata has what the server adds to its reason, such as limits.
	Metadata map[string]string
}

// FieldViolation is what is wrong with one argument. Field is the argument's name in torch, such as "label_smoothing", or a path that
// begins with it.
type FieldViolation struct {
	Field       string
	Description string
}

// Error returns the message and the reason.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("lossd: %s [%s]", e.Message, e.Code)
	}
	return fmt.Sprintf("lossd: %s [%s]", e.Message, e.Reason)
}

// Is reports whether the target is the context's error of the same meaning.
func (e *Error) Is(target error) bool {
	return e.Code == codes.DeadlineExceeded && target == context.DeadlineExceeded ||
		e.Code == codes.Canceled && target == context.Canceled
}

// LimitBytes returns the limit that a call of code ResourceExhausted is above; false if it is not a limit in bytes.
func (e *Error) LimitBytes() (int64, bool) {
	limit, err := strconv.ParseInt(e.Metadata["limit_bytes"], 10, 64)
	return limit, err == nil
}

// GRPCStatus returns the error as a status, with the details that the server sends.
func (e *Error) GRPCStatus() *status.Status {
	var details []protoadapt.MessageV1
	if e.Reason != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: e.Reason, Domain: "lossd", Metadata: e.Metadata})
	}
	if len(e.FieldViolations) > 0 {
		request := &errdetails.BadRequest{}
		for _, violation := range e.FieldViolations {
			request.FieldViolations = append(request.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: violation.Field, Description: violation.Description})
		}
		details = append(details, request)
	}
	if e.RetryAfter > 0 && e.RetryAfter != NoRetry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	plain := status.New(e.Code, e.Message)
	detailed, err := plain.WithDetails(details...)
	if err != nil { // a status of code OK has no details
		return plain
	}
	return detailed
}

// Implementation details follow.

func (e *Error) retryable() bool {
	return e.Code == codes.Unavailable && e.RetryAfter != NoRetry
}

var errClosed = &Error{Code: codes.Canceled, Message: "the client is closed"}

func shapeMismatch(field, description string) *Error {
	return &Error{
		Code: codes.InvalidArgument, Reason: "SHAPE_MISMATCH", Message: field + ": " + description,
		FieldViolations: []FieldViolation{{field, description}}, Metadata: map[string]string{},
	}
}

// errorOf returns the error for what an RPC returned, with its trailer. Returns nil for nil.
func errorOf(err error, trailer metadata.MD) *Error {
	if err == nil {
		return nil
	}
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	read := status.Convert(err)
	if read.Code() == codes.Unknown { // not of a gRPC server
		read = status.FromContextError(err)
	}
	e := &Error{Code: read.Code(), Message: read.Message()}
	if len(read.Details()) == 0 {
		explainConnection(e)
	}
	for _, detail := range read.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Metadata = detail.Reason, detail.Metadata
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				e.FieldViolations = append(e.FieldViolations, FieldViolation{violation.Field, violation.Description})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	if pushback := trailer.Get("grpc-retry-pushback-ms"); e.RetryAfter == 0 && len(pushback) > 0 {
		e.RetryAfter = NoRetry
		if milliseconds, err := strconv.ParseUint(pushback[0], 10, 31); err == nil {
			e.RetryAfter = time.Duration(milliseconds) * time.Millisecond
		}
	}
	return e
}

// errorOfCall returns the error of one call of a batch.
func errorOfCall(message *lossdpb.Error) *Error {
	e := &Error{
		Code: codes.Code(message.Code), Reason: message.Reason, Message: message.Message, Metadata: message.Metadata,
		RetryAfter: time.Duration(message.GetRetryAfterSeconds() * float64(time.Second)),
	}
	for _, violation := range message.FieldViolations {
		e.FieldViolations = append(e.FieldViolations, FieldViolation{violation.Field, violation.Description})
	}
	return e
}

// Parts of gRPC's messages about failed connections, each with the likely cause and what to do. `lasting` failures come again.
var cures = []struct {
	symptom, cure string
	lasting       bool
}{
	{"first record does not look like a TLS handshake", "the server does not use TLS: leave the TLS options out, or connect to its TLS port", true},
	{"signed by unknown authority", "the server's certificate is not signed by an authority that this client trusts: name the authority's " +
		"certificate with WithCAFile", true},
	{"valid for ", "the server's certificate is for another host: connect by one of its names", true},
	{"certificate required", "the server requires a client certificate: pass WithClientCertificate", true},
	{"authentication handshake failed", "the TLS handshake failed: check the certificates of both sides", true},
	{"error reading server preface", "the connection was closed: the server stopped, or it uses TLS and this client does not: pass WithTLS", false},
	{"connection refused", "nothing listens at this address: check it, and check that the server has started", false},
	{"no children to pick from", "there is no such host: check the address, host:port", false},
	{"produced zero addresses", "there is no such host: check the address, host:port", false},
	{"no such host", "there is no such host: check the address, host:port", false},
}

// explainConnection adds the likely cause to the error of a connection.
func explainConnection(e *Error) {
	if e.Code != codes.Unavailable {
		return
	}
	for _, known := range cures {
		if strings.Contains(e.Message, known.symptom) {
			e.Message += "; " + known.cure
			if known.lasting {
				e.RetryAfter = NoRetry
			}
			return
		}
	}
}
