// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/lossd/lossd/client/go/lossdpb"
)

const (
	lossService       = "/lossd.v1.LossService/"
	evaluationService = "/lossd.v1.EvaluationService/"

	// Pauses between attempts of a call double each time. A random part of up to half is left out, and the server's RetryInfo is added.
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// A Client is a connection to one or several lossd servers. Goroutines may share it. Close it after use.
//
// Every call ends at its context's deadline or, if that has none, after the client's timeout. Errors are of type *[Error].
type Client struct {
	config      *config
	limit       atomic.Int64 // bytes of a request message, as far as the client knows
	connections []*grpc.ClientConn
	streams     []*stream // one for each connection, if calls are coalesced
	rotation    rotation
	closed      context.Context // done when the client is closed
	close       context.CancelFunc
}

// NewClient returns a client of the servers at an address: "host:port" or any target of gRPC; "a:1,b:2" for several servers, whose calls
// go to each in turn, and to the others while one cannot be reached. The variable LOSSD_ADDRESS has the address if it is empty.
//
// It does not wait for a server: the first call does, within its deadline.
func NewClient(address string, options ...Option) (*Client, error) {
	config, err := newConfig(options)
	if err != nil {
		return nil, fmt.Errorf("lossd: %w", err)
	}
	servers, err := addresses(address)
	if err != nil {
		return nil, fmt.Errorf("lossd: %w", err)
	}
	c := &Client{config: config}
	c.closed, c.close = context.WithCancel(context.Background())
	c.limit.Store(int64(config.maxMessageBytes))
	for range config.connections {
		for _, server := range servers {
			connection, err := grpc.NewClient(server, config.dial()...)
			if err != nil {
				c.Close()
				return nil, fmt.Errorf("lossd: %w", err)
			}
			c.connections = append(c.connections, connection)
			if config.coalesce {
				c.streams = append(c.streams, newStream(c.closed, connection))
			}
		}
	}
	c.rotation.outUntil = make([]atomic.Int64, len(c.connections))
	return c, nil
}

// Close closes the connections. Calls in flight fail with code Canceled.
func (c *Client) Close() error {
	c.close()
	for _, connection := range c.connections {
		connection.Close() // fails only if it is closed already
	}
	return nil
}

// Score returns the loss of a call. The methods named like the losses are short for it.
func (c *Client) Score(ctx context.Context, call Call) (Loss, error) {
	response, err := c.scoreCall(ctx, call)
	if err != nil {
		return Loss{}, err
	}
	return lossOf(response), nil
}

// ScoreUnreduced returns the loss of a call without reduction: one value for each element or row. The call's own reduction must be Mean,
// which is the default.
func (c *Client) ScoreUnreduced(ctx context.Context, call Call) (Unreduced, error) {
	response, err := c.scoreCall(ctx, call.unreduced())
	if err != nil {
		return Unreduced{}, err
	}
	return unreducedOf(response), nil
}

// ServerInfo returns the versions, devices, losses and limits of a server.
func (c *Client) ServerInfo(ctx context.Context) (*lossdpb.GetServerInfoResponse, error) {
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	info, err := c.serverInfo(ctx, c.config.retry)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// WaitUntilReady returns when a server answers, or with the reason why none does at the context's deadline.
func (c *Client) WaitUntilReady(ctx context.Context) error {
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	if _, err := c.serverInfo(ctx, true); err != nil {
		return err
	}
	return nil
}

// Implementation details follow.

func (c *Client) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || c.config.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.config.timeout)
}

// scoreCall returns the response to a call. The error is an *Error or nil.
func (c *Client) scoreCall(ctx context.Context, call Call) (*lossdpb.LossResponse, error) {
	if call.err != nil {
		return nil, call.err
	}
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	response, err := c.score(ctx, call.request)
	if err != nil {
		return nil, err
	}
	return response, nil
}

// score returns the response to a request, merged from the responses to its parts if it is too large.
func (c *Client) score(ctx context.Context, r request) (*lossdpb.LossResponse, *Error) {
	if err := checkShapes(r); err != nil {
		return nil, err
	}
	var refused *Error
	if limit := c.limit.Load(); int64(r.size()) > limit {
		refused = tooLarge(r, limit)
	} else {
		response, err := c.respond(ctx, r)
		if err == nil || err.Code != codes.ResourceExhausted {
			return response, explained(err, r)
		}
		refused = err
	}
	return c.scoreParts(ctx, r, refused)
}

// respond returns the server's response to a request: over the shared stream if calls are coalesced and, if that breaks, over a unary RPC.
func (c *Client) respond(ctx context.Context, r request) (*lossdpb.LossResponse, *Error) {
	shared := c.config.coalesce && r.size() <= largestSharedBytes
	response := &lossdpb.LossResponse{}
	err := c.retried(ctx, c.config.retry, func() *Error {
		if shared {
			shared = false
			outcome := c.streams[c.rotation.next()].score(ctx, r)
			if outcome.err != errAlone {
				response = outcome.response
				return outcome.err
			}
		}
		response = &lossdpb.LossResponse{}
		return c.invoke(ctx, lossService+r.rpc(), r.message, response)
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

func (c *Client) serverInfo(ctx context.Context, retry bool) (*lossdpb.GetServerInfoResponse, *Error) {
	info := &lossdpb.GetServerInfoResponse{}
	err := c.retried(ctx, retry, func() *Error {
		return c.invoke(ctx, lossService+"GetServerInfo", &lossdpb.GetServerInfoRequest{}, info)
	})
	return info, err
}

// invoke makes one attempt of a unary RPC.
func (c *Client) invoke(ctx context.Context, method string, request, response proto.Message) *Error {
	turn := c.rotation.next()
	var trailer metadata.MD
	err := errorOf(c.connections[turn].Invoke(ctx, method, request, response, grpc.Trailer(&trailer)), trailer)
	if err != nil && err.Code == codes.Unavailable {
		c.rotation.leaveOut(turn)
	}
	return err
}

// retried makes attempts until one succeeds or fails with an error that may not be retried. All RPCs are free of side effects. It
// returns the last error if the next attempt would come after the deadline.
func (c *Client) retried(ctx context.Context, retry bool, attempt func() *Error) *Error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if c.closed.Err() != nil {
			return errClosed
		}
		if ctx.Err() != nil {
			return errorOf(ctx.Err(), nil)
		}
		err := attempt()
		if err == nil {
			return nil
		}
		if c.closed.Err() != nil {
			return errClosed
		}
		if !retry || !err.retryable() {
			return err
		}
		wait := err.RetryAfter + time.Duration((0.5+rand.Float64()/2)*float64(pause))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		case <-c.closed.Done():
		}
	}
}

// A rotation chooses the connection of the next call. Connections take turns; one whose server was not reached is skipped for a second.
type rotation struct {
	turns    atomic.Uint64
	outUntil []atomic.Int64 // Unix time in nanoseconds
}

func (r *rotation) next() int {
	count := uint64(len(r.outUntil))
	if count == 1 {
		return 0
	}
	now := time.Now().UnixNano()
	for range count {
		if turn := r.turns.Add(1) % count; r.outUntil[turn].Load() <= now {
			return int(turn)
		}
	}
	return int(r.turns.Add(1) % count)
}

func (r *rotation) leaveOut(turn int) {
	r.outUntil[turn].Store(time.Now().Add(time.Second).UnixNano())
}

// concurrently runs job(0) to job(count-1), concurrentMessages at a time. If one fails, it starts no more, cancels the others and returns
// the first error.
func concurrently(ctx context.Context, count int, job func(ctx context.Context, i int) *Error) *Error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var once sync.Once
	var failed *Error
	var group sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < count && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
			if err := job(ctx, i); err != nil {
				once.Do(func() {
					failed = err
					cancel()
				})
			}
		}
	}
	for range min(count, concurrentMessages) - 1 {
		group.Go(work)
	}
	work() // in this goroutine, too
	group.Wait()
	if failed == nil && ctx.Err() != nil {
		return errorOf(ctx.Err(), nil)
	}
	return failed
}
