// SPDX-License-Identifier: Apache-2.0

// Command client measures the client: client ADDRESS SECONDS.
package main

import (
	"context"
	"log"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/internal/bench"
)

func main() {
	address, duration := bench.Arguments()
	client, coalescing := connect(address), connect(address, lossd.WithCoalescing())
	defer client.Close()
	defer coalescing.Close()
	logits, labels := bench.Logits(), bench.Labels()
	small := func(client *lossd.Client) bench.Call {
		return func() error {
			input, target := lossd.NewTensor(logits, bench.Rows, bench.Classes), lossd.NewTensor(labels)
			_, err := client.CrossEntropy(context.Background(), input, target, nil)
			return err
		}
	}
	input, target := make([]float32, bench.Large), make([]float32, bench.Large)
	large := func() error {
		_, err := client.MSELoss(context.Background(), lossd.NewTensor(input), lossd.NewTensor(target), nil)
		return err
	}
	bench.Print(bench.Measure(small(client), small(coalescing), large, duration))
}

func connect(address string, options ...lossd.Option) *lossd.Client {
	client, err := lossd.NewClient(address, options...)
	if err != nil {
		log.Fatal(err)
	}
	return client
}
