// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
)

const (
	// Updates are sent when they reach this many bytes, or this number.
	updateBytes = 1 << 20
	updateCalls = 1024
	// evaluationMessages is how many messages of an evaluation are in flight at a time.
	evaluationMessages = 2
)

// An Evaluation is the exact loss over a data set, from mini-batches in any order, overall and by named series. [Client.NewEvaluation]
// makes one. Goroutines may share it.
//
// The result is the loss over all rows at once: the order of updates and merges does not change a bit of it. All updates of a series must
// have the same loss and reduction.
//
// Updates up to 1 MiB are copied and sent many at a time, so a later Update, Compute or Total returns their errors; an update that fails
// does not count. Updates that failed because no server was reached are kept and sent again.
type Evaluation struct {
	client *Client

	mutex    sync.Mutex
	series   map[string]*seriesState
	names    []string // of the series, in the order of their first updates
	waiting  []update
	bytes    int // of the calls that wait
	underWay []*sending
}

// SeriesResult is the loss over all updates of a series.
type SeriesResult struct {
	Value      float64
	Statistics Statistics
	CallCount  int64 // the number of updates
}

// NewEvaluation returns an evaluation without updates.
func (c *Client) NewEvaluation() *Evaluation {
	return &Evaluation{client: c, series: map[string]*seriesState{}}
}

// Update adds a mini-batch to a series. The arrays of the call may change once it returns.
func (e *Evaluation) Update(ctx context.Context, series string, call Call) error {
	shared := call.shareable()
	if shared.err != nil {
		return shared.err
	}
	if err := e.expect(series, call.request.rpc(), Reduction(call.request.reduction())); err != nil {
		return err
	}
	if shared.encoded == nil {
		loss, err := e.client.Score(ctx, call)
		if err != nil {
			return err
		}
		e.mutex.Lock()
		defer e.mutex.Unlock()
		e.series[series].totals.add(loss.Statistics)
		return nil
	}
	e.mutex.Lock()
	e.waiting = append(e.waiting, update{series, shared})
	e.bytes += shared.bytes
	full := e.bytes >= updateBytes || len(e.waiting) >= updateCalls
	e.mutex.Unlock()
	if !full {
		return nil
	}
	for e.countUnderWay() >= evaluationMessages {
		if err := e.settle(ctx); err != nil {
			return err
		}
	}
	e.send(ctx)
	return nil
}

// Add adds the result of a call that was scored already. The caller must ensure that it is of the series' loss. The reduction is that of
// the series.
func (e *Evaluation) Add(series string, reduction Reduction, loss Loss) error {
	if err := e.expect(series, "", reduction); err != nil {
		return err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.series[series].totals.add(loss.Statistics)
	return nil
}

// Series returns the names of the series, in the order of their first updates.
func (e *Evaluation) Series() []string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return slices.Clone(e.names)
}

// Compute waits for the answers to all updates, and returns the result of every series by name.
func (e *Evaluation) Compute(ctx context.Context) (map[string]SeriesResult, error) {
	if err := e.flush(ctx); err != nil {
		return nil, err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	results := map[string]SeriesResult{}
	for name, state := range e.series {
		results[name] = state.result()
	}
	return results, nil
}

// Total waits for the answers to all updates, and returns the result over all series, which must have the same loss and reduction.
func (e *Evaluation) Total(ctx context.Context) (SeriesResult, error) {
	if err := e.flush(ctx); err != nil {
		return SeriesResult{}, err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(e.names) == 0 {
		return SeriesResult{}, invalid("the evaluation has no updates")
	}
	first := e.series[e.names[0]]
	total := seriesState{loss: first.loss, reduction: first.reduction}
	for _, name := range e.names {
		state := e.series[name]
		if err := total.expect(name, state.loss, state.reduction); err != nil {
			return SeriesResult{}, err
		}
		total.totals.merge(&state.totals)
	}
	return total.result(), nil
}

// Merge waits for the answers to all updates of another evaluation, and adds everything that it holds.
func (e *Evaluation) Merge(ctx context.Context, other *Evaluation) error {
	if err := other.flush(ctx); err != nil {
		return err
	}
	other.mutex.Lock()
	names := slices.Clone(other.names)
	states := map[string]seriesState{}
	for name, state := range other.series {
		states[name] = seriesState{loss: state.loss, reduction: state.reduction}
		copied := states[name]
		copied.totals.merge(&state.totals)
		states[name] = copied
	}
	other.mutex.Unlock()
	return e.merge(names, states)
}

// Implementation details follow.

// A seriesState has the exact statistics of one series.
type seriesState struct {
	loss      string // the RPC, such as "MseLoss"; empty if only results were added
	reduction Reduction
	totals    totals
}

// An update is a mini-batch that is not answered.
type update struct {
	series string
	call   shareable
}

// A sending is a message of updates under way.
type sending struct {
	updates  []update
	outcomes []outcome     // once done is closed
	done     chan struct{} // closed when the message is answered
	settled  bool
}

func (s *seriesState) expect(series, loss string, reduction Reduction) error {
	if reduction != s.reduction || loss != "" && s.loss != "" && loss != s.loss {
		return invalid(fmt.Sprintf("series %q: %s cannot be merged with %s", series, described(loss, reduction), described(s.loss, s.reduction)))
	}
	if s.loss == "" {
		s.loss = loss
	}
	return nil
}

func described(loss string, reduction Reduction) string {
	if loss == "" {
		loss = "results"
	}
	return fmt.Sprintf("%s (%s)", loss, reduction)
}

func (s *seriesState) result() SeriesResult {
	statistics := s.totals.statistics()
	value := statistics.Sum
	if s.reduction != Sum {
		value = statistics.MeanNumerator / statistics.MeanDenominator
	}
	return SeriesResult{value, statistics, s.totals.callCount}
}

func invalid(message string) *Error {
	return &Error{Code: codes.InvalidArgument, Message: message}
}

// expect makes the series, or returns an error if it has another loss or reduction.
func (e *Evaluation) expect(series, loss string, reduction Reduction) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	state := e.series[series]
	if state == nil {
		state = &seriesState{loss: loss, reduction: reduction}
		e.series[series] = state
		e.names = append(e.names, series)
	}
	return state.expect(series, loss, reduction)
}

func (e *Evaluation) merge(names []string, states map[string]seriesState) error {
	for _, name := range names {
		state := states[name]
		if err := e.expect(name, state.loss, state.reduction); err != nil {
			return err
		}
		e.mutex.Lock()
		e.series[name].totals.merge(&state.totals)
		e.mutex.Unlock()
	}
	return nil
}

func (e *Evaluation) countUnderWay() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return len(e.underWay)
}

// send starts to send the updates that wait. They are sent to the end even if the context ends before: other updates are among them.
func (e *Evaluation) send(ctx context.Context) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(e.waiting) == 0 {
		return
	}
	s := &sending{updates: e.waiting, done: make(chan struct{})}
	e.waiting, e.bytes = nil, 0
	e.underWay = append(e.underWay, s)
	go func() {
		defer close(s.done)
		ctx, cancel := e.client.withDeadline(context.WithoutCancel(ctx))
		defer cancel()
		calls := make([]shareable, len(s.updates))
		for i, update := range s.updates {
			calls[i] = update.call
		}
		s.outcomes = e.client.scoreMany(ctx, calls)
	}()
}

// settle waits for the answers to the oldest message, and returns the first error among them.
func (e *Evaluation) settle(ctx context.Context) error {
	e.mutex.Lock()
	if len(e.underWay) == 0 {
		e.mutex.Unlock()
		return nil
	}
	s := e.underWay[0]
	e.mutex.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return errorOf(ctx.Err(), nil)
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if s.settled { // by another goroutine
		return nil
	}
	s.settled = true
	e.underWay = slices.DeleteFunc(e.underWay, func(other *sending) bool { return other == s })
	var failed error
	failures := 0
	for i, update := range s.updates {
		err := s.outcomes[i].err
		if err == nil {
			e.series[update.series].totals.add(statisticsOf(s.outcomes[i].response))
			continue
		}
		failures++
		if failed == nil {
			failed = fmt.Errorf("an update of series %q failed: %w", update.series, err)
		}
		if err.Code == codes.Unavailable || err.Code == codes.DeadlineExceeded {
			e.waiting = append(e.waiting, update)
			e.bytes += update.call.bytes
		}
	}
	if failures > 1 {
		failed = fmt.Errorf("%w; %d of %d updates sent together failed", failed, failures, len(s.updates))
	}
	return failed
}

// flush waits until every update is answered.
func (e *Evaluation) flush(ctx context.Context) error {
	ctx, cancel := e.client.withDeadline(ctx)
	defer cancel()
	for {
		e.mutex.Lock()
		waiting, underWay := len(e.waiting), len(e.underWay)
		e.mutex.Unlock()
		switch {
		case underWay > 0:
		case waiting > 0:
			e.send(ctx)
		default:
			return nil
		}
		if err := e.settle(ctx); err != nil {
			return err
		}
	}
}
