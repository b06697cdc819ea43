// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// A Call is a loss with its arguments, ready to be scored: by [Client.Score], [Client.ScoreUnreduced], [Client.ScoreBatch] or
// [Evaluation.Update]. The functions named like the losses make calls. A call may be scored many times, and by many goroutines.
type Call struct {
	request request
	err     *Error
}

// Reduction says how the elements of a loss become one number.
type Reduction int32

// Reductions of a loss. [Client.ScoreUnreduced] leaves a loss unreduced.
const (
	// Mean is the mean as torch defines it for the loss.
	Mean = Reduction(lossdpb.Reduction_REDUCTION_UNSPECIFIED)
	// Sum is the sum over all elements.
	Sum = Reduction(lossdpb.Reduction_REDUCTION_SUM)
	// BatchMean is the sum divided by the first extent. Only [KLDiv] has it.
	BatchMean = Reduction(lossdpb.Reduction_REDUCTION_BATCH_MEAN)
)

// String returns torch's name of the reduction.
func (r Reduction) String() string {
	switch r {
	case Mean:
		return "mean"
	case Sum:
		return "sum"
	case BatchMean:
		return "batchmean"
	}
	return fmt.Sprintf("Reduction(%d)", int32(r))
}

// Precision is the floating-point type that a loss is computed in.
type Precision int32

// Precisions of a computation.
const (
	// PrecisionDefault computes 16-bit inputs in float32, and every other input in the widest float type among the inputs.
	PrecisionDefault = Precision(lossdpb.Precision_PRECISION_UNSPECIFIED)
	// PrecisionFloat64 computes in float64.
	PrecisionFloat64 = Precision(lossdpb.Precision_PRECISION_FLOAT64)
)

// AdaptiveTailCluster is one tail cluster of [AdaptiveLogSoftmaxWithLoss]: the projection to its smaller width, then its output layer.
type AdaptiveTailCluster struct {
	Projection Tensor // (h, F) with h >= 1; float
	Output     Tensor // (classes of the cluster, h); float
}

// A DistanceFunction is one of the distances of [TripletMarginWithDistanceLoss]: [PairwiseDistance], [CosineDistance] or
// [SquaredEuclideanDistance]. Code cannot be sent, so the set is closed.
type DistanceFunction interface {
	set(*lossdpb.TripletMarginWithDistanceLossRequest)
}

// PairwiseDistance is the p-norm of u - v + eps, as torch.nn.PairwiseDistance.
type PairwiseDistance struct {
	P   *float64 // default 2; > 0, infinity is allowed
	Eps *float64 // default 1e-6; finite, >= 0
}

// CosineDistance is 1 - cosine similarity.
type CosineDistance struct {
	Eps *float64 // default 1e-8; finite, > 0
}

// SquaredEuclideanDistance is the sum over the last extent of (u - v)^2.
type SquaredEuclideanDistance struct{}

func (d PairwiseDistance) set(request *lossdpb.TripletMarginWithDistanceLossRequest) {
	distance := &lossdpb.PairwiseDistance{P: d.P, Eps: d.Eps}
	request.Distance = &lossdpb.TripletMarginWithDistanceLossRequest_PairwiseDistance{PairwiseDistance: distance}
}

func (d CosineDistance) set(request *lossdpb.TripletMarginWithDistanceLossRequest) {
	distance := &lossdpb.CosineDistance{Eps: d.Eps}
	request.Distance = &lossdpb.TripletMarginWithDistanceLossRequest_CosineDistance{CosineDistance: distance}
}

func (SquaredEuclideanDistance) set(request *lossdpb.TripletMarginWithDistanceLossRequest) {
	distance := &lossdpb.SquaredEuclideanDistance{}
	request.Distance = &lossdpb.TripletMarginWithDistanceLossRequest_SquaredEuclideanDistance{SquaredEuclideanDistance: distance}
}

// Implementation details follow.

// arguments collects the tensors of a call, and the error of the first that is wrong.
type arguments struct {
	err *Error
}

func (a *arguments) tensor(name string, tensor Tensor) *lossdpb.Tensor {
	if tensor.err != nil && a.err == nil {
		a.err = shapeMismatch(name, tensor.err.FieldViolations[0].Description)
	}
	return tensor.message
}

func (a *arguments) tail(clusters []AdaptiveTailCluster) []*lossdpb.AdaptiveTailCluster {
	messages := make([]*lossdpb.AdaptiveTailCluster, len(clusters))
	for i, cluster := range clusters {
		messages[i] = &lossdpb.AdaptiveTailCluster{
			Projection: a.tensor(fmt.Sprintf("tail[%d].projection", i), cluster.Projection),
			Output:     a.tensor(fmt.Sprintf("tail[%d].output", i), cluster.Output),
		}
	}
	return messages
}

func (a *arguments) call(message proto.Message) Call {
	return Call{request: request{message}, err: a.err}
}

func orDefault[T any](options *T) *T {
	if options == nil {
		return new(T)
	}
	return options
}

// unlessDefault returns an ignore_index, or nil for torch's default, which torch accepts beside class probabilities too.
func unlessDefault(index *int64) *int64 {
	if index != nil && *index == -100 {
		return nil
	}
	return index
}

// request is the request message of a loss. Its fields are reached by name, so that what holds for all losses is written once.
type request struct {
	message proto.Message
}

// rpc returns the method of LossService.
func (r request) rpc() string {
	name := string(r.message.ProtoReflect().Descriptor().Name())
	return name[:len(name)-len("Request")]
}

func (r request) size() int {
	return proto.Size(r.message)
}

// tensor returns the tensor in a field, or nil if the field is not set or no tensor.
func (r request) tensor(name string) *lossdpb.Tensor {
	message := r.message.ProtoReflect()
	field := message.Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil || field.Message() == nil || field.IsList() || !message.Has(field) {
		return nil
	}
	tensor, _ := message.Get(field).Message().Interface().(*lossdpb.Tensor)
	return tensor
}

// copied returns a request that has the same values, and can be changed field by field.
func (r request) copied() request {
	from := r.message.ProtoReflect()
	to := from.New()
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	return request{to.Interface()}
}

func (r request) set(name string, value protoreflect.Value) {
	r.message.ProtoReflect().Set(r.message.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)), value)
}

func (r request) reduction() lossdpb.Reduction {
	message := r.message.ProtoReflect()
	return lossdpb.Reduction(message.Get(message.Descriptor().Fields().ByName("reduction")).Enum())
}

// unreduced returns the request with the reduction none.
func (r request) unreduced() request {
	out := r.copied()
	out.set("reduction", protoreflect.ValueOfEnum(lossdpb.Reduction_REDUCTION_NONE.Number()))
	return out
}

// lossCalls has the member of LossCall for the name of each request message.
var lossCalls = func() map[protoreflect.Name]protoreflect.FieldDescriptor {
	members := map[protoreflect.Name]protoreflect.FieldDescriptor{}
	fields := (&lossdpb.LossCall{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		members[fields.Get(i).Message().Name()] = fields.Get(i)
	}
	return members
}()

// lossCall returns the request as a message that can share another with other calls.
func (r request) lossCall() *lossdpb.LossCall {
	message := r.message.ProtoReflect()
	call := &lossdpb.LossCall{}
	call.ProtoReflect().Set(lossCalls[message.Descriptor().Name()], protoreflect.ValueOfMessage(message))
	return call
}

// unreduced returns the call with the reduction none, or with an error if the call has another reduction than the default.
func (call Call) unreduced() Call {
	if call.err != nil {
		return call
	}
	if reduction := Reduction(call.request.reduction()); reduction != Mean {
		call.err = &Error{
			Code: codes.InvalidArgument, Reason: "REDUCTION_UNSUPPORTED",
			Message:         fmt.Sprintf("reduction: is %s; an unreduced loss has none", reduction),
			FieldViolations: []FieldViolation{{"reduction", fmt.Sprintf("is %s; an unreduced loss has none", reduction)}},
		}
		return call
	}
	call.request = call.request.unreduced()
	return call
}
