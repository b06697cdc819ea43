// SPDX-License-Identifier: Apache-2.0
/// @file
/// A call before it is sent. The methods of losses make requests; users of the library never see one.

#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "lossd/options.h"
#include "lossd/tensor.h"

namespace lossd {

/// torch.nn.PairwiseDistance: the p-norm of u - v + eps. p > 0, infinity allowed; eps finite, >= 0.
struct PairwiseDistance {
  double p = 2.0;
  double eps = 1e-6;
};

/// 1 - torch.nn.CosineSimilarity. eps finite, > 0.
struct CosineDistance {
  double eps = 1e-8;
};

/// The sum over the last extent of (u - v)^2.
struct SquaredEuclideanDistance {};

/// What triplet_margin_with_distance_loss measures by: code cannot be sent, so the set is closed.
using Distance = std::variant<PairwiseDistance, CosineDistance, SquaredEuclideanDistance>;

/// The parameters of one tail cluster of torch.nn.AdaptiveLogSoftmaxWithLoss: tail.i.0.weight (h, F) and tail.i.1.weight (classes, h).
struct TailCluster {
  Tensor projection;
  Tensor output;
};

namespace detail {

struct LossInfo;

using FieldValue = std::variant<Tensor, std::vector<TailCluster>, std::vector<std::int64_t>, std::int64_t, bool, double, Distance>;

/// A field of a request message that is sent: its number and its value.
struct Field {
  int number;
  FieldValue value;
};

struct Request {
  const LossInfo* loss = nullptr;
  std::vector<Field> fields;  // in the order of their numbers
  int reduction = 0;          // lossd.v1.Reduction
  CallOptions call;
};

}  // namespace detail
}  // namespace lossd
