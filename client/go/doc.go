// SPDX-License-Identifier: Apache-2.0

// Package lossd is the client of lossd, a server that computes the loss functions of PyTorch over gRPC.
//
//	client, err := lossd.NewClient("127.0.0.1:50051")
//	...
//	logits := lossd.NewTensor([]float32{2, 0.5, -1, 0.1, 0.2, 3}, 2, 3)
//	labels := lossd.NewTensor([]int64{0, 2})
//	loss, err := client.CrossEntropy(ctx, logits, labels, nil)
//
// Losses and their arguments have the names and defaults of torch.nn.functional. Each loss is a method of [Client], and a function that
// returns a [Call]: calls are scored without reduction by [Client.ScoreUnreduced], many in one message by [Client.ScoreBatch], and over a
// whole data set by an [Evaluation]. Options of a loss are a struct whose zero value, like nil, has torch's defaults; an option whose
// default is not zero is a pointer, which new makes: &lossd.HuberLossOptions{Delta: new(0.5)}.
//
// Calls are retried while no server can be reached or the server is overloaded, until the deadline of their context or, without one, for
// 30 seconds. Calls above the server's message limit are split, and their results merged exactly. Errors are of type *[Error].
//
// Package lossdpb registers the schema's messages under the names of package lossd.v1, so a program can use this client or code that it
// has generated from the schema itself, but not both.
package lossd
