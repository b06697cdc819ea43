// SPDX-License-Identifier: Apache-2.0

// Command stubs measures what a program does that uses code generated from the schema, without the client: stubs ADDRESS SECONDS.
package main

import (
	"context"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lossd/lossd/client/go/internal/bench"
	"github.com/lossd/lossd/client/go/internal/bench/stubspb"
)

func main() {
	address, duration := bench.Arguments()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	service := stubspb.NewLossServiceClient(connection)
	logits, labels := bench.Logits(), bench.Labels()
	small := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := service.CrossEntropyLoss(ctx, &stubspb.CrossEntropyLossRequest{
			Input: floats(logits, bench.Rows, bench.Classes),
			Target: &stubspb.CrossEntropyLossRequest_ClassIndices{ClassIndices: &stubspb.Tensor{
				Shape:  []int64{bench.Rows},
				Values: &stubspb.Tensor_Int64Values{Int64Values: &stubspb.Int64Values{Values: labels}},
			}},
		})
		return err
	}
	input, target := make([]float32, bench.Large), make([]float32, bench.Large)
	large := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := service.MseLoss(ctx, &stubspb.MseLossRequest{Input: floats(input, bench.Large), Target: floats(target, bench.Large)})
		return err
	}
	bench.Print(bench.Measure(small, nil, large, duration))
}

func floats(values []float32, shape ...int64) *stubspb.Tensor {
	return &stubspb.Tensor{
		Shape:  shape,
		Values: &stubspb.Tensor_Float32Values{Float32Values: &stubspb.Float32Values{Values: values}},
	}
}
