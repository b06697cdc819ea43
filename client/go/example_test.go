// SPDX-License-Identifier: Apache-2.0

package lossd_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	lossd "github.com/lossd/lossd/client/go"
)

func Example() {
	client, err := lossd.NewClient("") // the server that LOSSD_ADDRESS names
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	logits := lossd.NewTensor([]float32{2, 0.5, -1, 0.1, 0.2, 3}, 2, 3)
	labels := lossd.NewTensor([]int64{0, 2})
	loss, err := client.CrossEntropy(context.Background(), logits, labels, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f over %d rows\n", loss.Value, loss.Statistics.ElementCount)
	// Output: 0.1755 over 2 rows
}

func ExampleClient_HuberLoss() {
	client, err := lossd.NewClient("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	predictions, targets := lossd.NewTensor([]float64{1, 5}), lossd.NewTensor([]float64{1, 1})
	options := &lossd.HuberLossOptions{Delta: new(0.5), Reduction: lossd.Sum}
	loss, err := client.HuberLoss(context.Background(), predictions, targets, options)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(loss.Value)
	// Output: 1.875
}

func ExampleClient_ScoreUnreduced() {
	client, err := lossd.NewClient("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	predictions, targets := lossd.NewTensor([]float32{1, 2, 3, 4}, 2, 2), lossd.NewTensor([]float32{1, 1, 1, 1}, 2, 2)
	losses, err := client.ScoreUnreduced(context.Background(), lossd.MSELoss(predictions, targets, nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(losses.Shape, losses.Float32s())
	// Output: [2 2] [0 1 4 9]
}

func ExampleClient_ScoreBatch() {
	client, err := lossd.NewClient("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	predictions, targets := lossd.NewTensor([]float32{1, 2}), lossd.NewTensor([]float32{1, 4})
	calls := []lossd.Call{
		lossd.MSELoss(predictions, targets, nil),
		lossd.L1Loss(predictions, targets, nil),
		lossd.L1Loss(predictions, lossd.Tensor{}, nil),
	}
	for _, outcome := range client.ScoreBatch(context.Background(), calls) {
		var refused *lossd.Error
		if errors.As(outcome.Err, &refused) {
			fmt.Println(refused.Reason)
		} else {
			fmt.Println(outcome.Result.Value)
		}
	}
	// Output:
	// 2
	// 1
	// TENSOR_MISSING
}

func ExampleEvaluation() {
	client, err := lossd.NewClient("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	evaluation := client.NewEvaluation()
	for _, batch := range []struct {
		region               string
		predictions, targets []float32
	}{
		{"north", []float32{1, 2}, []float32{1, 1}},
		{"south", []float32{3}, []float32{1}},
		{"north", []float32{5}, []float32{1}},
	} {
		call := lossd.L1Loss(lossd.NewTensor(batch.predictions), lossd.NewTensor(batch.targets), nil)
		if err := evaluation.Update(ctx, batch.region, call); err != nil {
			log.Fatal(err)
		}
	}
	results, err := evaluation.Compute(ctx)
	if err != nil {
		log.Fatal(err)
	}
	total, err := evaluation.Total(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("north %.4f, south %.4f, all %.4f\n", results["north"].Value, results["south"].Value, total.Value)
	// Output: north 1.6667, south 2.0000, all 1.7500
}

func ExampleError() {
	client, err := lossd.NewClient("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	logits, labels := lossd.NewTensor([]float32{2, 0.5, -1}, 1, 3), lossd.NewTensor([]int64{3})
	_, err = client.CrossEntropy(context.Background(), logits, labels, nil)
	var refused *lossd.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, refused.Reason, refused.FieldViolations[0].Field)
	}
	// Output: InvalidArgument TARGET_OUT_OF_RANGE target
}
