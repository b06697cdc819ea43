// SPDX-License-Identifier: Apache-2.0

// Command example is a service that classifies points, and scores each prediction that it has served once it learns the right class.
//
//	POST /predict {"features": [0.5, -1]}      answers {"id": 1, "class": 0}
//	POST /label   {"id": 1, "class": 2}        answers {"loss": 1.3}
//	GET  /quality                              answers {"0": {"loss": 1.3, "predictions": 1}}, by predicted class
//
// It listens on 127.0.0.1:8080, and scores at the lossd server that LOSSD_ADDRESS names.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
)

func main() {
	// Labels come from many requests at a time: their calls share a stream.
	client, err := lossd.NewClient("", lossd.WithCoalescing())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server := http.Server{Addr: "127.0.0.1:8080", Handler: newService(client), ReadTimeout: 10 * time.Second}
	log.Print(server.ListenAndServe())
}

// A service serves predictions, and keeps their logits until their labels come.
type service struct {
	client     *lossd.Client
	evaluation *lossd.Evaluation

	mutex  sync.Mutex
	served map[int][]float32
	last   int
}

func newService(client *lossd.Client) http.Handler {
	s := &service{client: client, evaluation: client.NewEvaluation(), served: map[int][]float32{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /predict", handle(s.predict))
	mux.HandleFunc("POST /label", handle(s.label))
	mux.HandleFunc("GET /quality", handle(s.quality))
	return mux
}

type prediction struct {
	ID    int `json:"id"`
	Class int `json:"class"`
}

func (s *service) predict(_ context.Context, request struct{ Features [2]float32 }) (prediction, error) {
	logits := model(request.Features)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.last++
	s.served[s.last] = logits
	return prediction{s.last, largest(logits)}, nil
}

func (s *service) label(ctx context.Context, label prediction) (map[string]float64, error) {
	s.mutex.Lock()
	logits, ok := s.served[label.ID]
	delete(s.served, label.ID)
	s.mutex.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: no prediction %d waits for its label", errBadRequest, label.ID)
	}
	loss, err := s.client.CrossEntropy(ctx, lossd.NewTensor(logits, 1, len(logits)), lossd.NewTensor([]int{label.Class}), nil)
	if err != nil {
		return nil, err
	}
	return map[string]float64{"loss": loss.Value}, s.evaluation.Add(strconv.Itoa(largest(logits)), lossd.Mean, loss)
}

type quality struct {
	Loss        float64 `json:"loss"`
	Predictions int64   `json:"predictions"`
}

func (s *service) quality(ctx context.Context, _ struct{}) (map[string]quality, error) {
	results, err := s.evaluation.Compute(ctx)
	if err != nil {
		return nil, err
	}
	qualities := map[string]quality{}
	for class, result := range results {
		qualities[class] = quality{result.Value, result.Statistics.ElementCount}
	}
	return qualities, nil
}

// model returns the logits of three classes.
func model(features [2]float32) []float32 {
	return []float32{features[0] - features[1], features[0] + features[1], -2 * features[0]}
}

func largest(logits []float32) int {
	best := 0
	for class, logit := range logits {
		if logit > logits[best] {
			best = class
		}
	}
	return best
}

var errBadRequest = errors.New("bad request")

// handle returns the handler of a function from JSON to JSON.
func handle[In, Out any](function func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		out, err := function(r.Context(), in)
		if err != nil {
			http.Error(w, err.Error(), statusOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // fails only if the caller has gone
	}
}

func statusOf(err error) int {
	var refused *lossd.Error
	switch {
	case errors.Is(err, errBadRequest), errors.As(err, &refused) && refused.Code == codes.InvalidArgument:
		return http.StatusBadRequest
	case errors.As(err, &refused) && refused.Code == codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
