// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/internal/lossdtest"
)

func TestThePredictionsThatWereServedAreScored(t *testing.T) {
	client, err := lossd.NewClient(lossdtest.Serve(t).Address, lossd.WithCoalescing())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server := httptest.NewServer(newService(client))
	defer server.Close()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			var served prediction
			decode(t, post(t, server.URL+"/predict", `{"features": [1, -1]}`), http.StatusOK, &served)
			if served.Class != 0 {
				t.Errorf("class %d", served.Class)
			}
			var scored map[string]float64
			decode(t, post(t, server.URL+"/label", fmt.Sprintf(`{"id": %d, "class": 1}`, served.ID)), http.StatusOK, &scored)
			// The logits are 2, 0 and -2.
			if want := math.Log(math.Exp(2) + 1 + math.Exp(-2)); math.Abs(scored["loss"]-want) > 1e-6 {
				t.Errorf("loss %v; want %v", scored["loss"], want)
			}
		})
	}
	group.Wait()
	response, err := http.Get(server.URL + "/quality")
	var qualities map[string]quality
	decode(t, response, http.StatusOK, &qualities)
	if got := qualities["0"]; err != nil || got.Predictions != 20 || math.Abs(got.Loss-2.1429316284998) > 1e-6 {
		t.Errorf("%v, %v", qualities, err)
	}
	if response := post(t, server.URL+"/label", `{"id": 1, "class": 1}`); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a label that nobody waits for: %s", response.Status)
	}
	var served prediction
	decode(t, post(t, server.URL+"/predict", `{"features": [1, -1]}`), http.StatusOK, &served)
	if response := post(t, server.URL+"/label", fmt.Sprintf(`{"id": %d, "class": 3}`, served.ID)); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a class that does not exist: %s", response.Status)
	}
}

func post(t *testing.T, url, body string) *http.Response {
	t.Helper()
	response, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func decode(t *testing.T, response *http.Response, status int, into any) {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		t.Errorf("%s: %s, %v", response.Status, body, err)
		return
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Errorf("%s: %v", body, err)
	}
}
