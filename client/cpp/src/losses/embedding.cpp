// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/embedding.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& margin_ranking_loss_info() {
  using M = v1::MarginRankingLossRequest;
  static const LossInfo info{
      .rpc = "MarginRankingLoss",
      .member = v1::LossCall::kMarginRankingLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInput1FieldNumber,
               .fields = {{M::kInput1FieldNumber, Cut::kRows},
                          {M::kInput2FieldNumber, Cut::kLeftBroadcast},
                          {M::kTargetFieldNumber, Cut::kLeftBroadcast}}},
  };
  return info;
}

const LossInfo& hinge_embedding_loss_info() {
  using M = v1::HingeEmbeddingLossRequest;
  static const LossInfo info{
      .rpc = "HingeEmbeddingLoss",
      .member = v1::LossCall::kHingeEmbeddingLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber, .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRightBroadcast}}},
  };
  return info;
}

const LossInfo& cosine_embedding_loss_info() {
  using M = v1::CosineEmbeddingLossRequest;
  static const LossInfo info{
      .rpc = "CosineEmbeddingLoss",
      .member = v1::LossCall::kCosineEmbeddingLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInput1FieldNumber,
               .fields = {{M::kInput1FieldNumber, Cut::kRows}, {M::kInput2FieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
      .same_shape = {M::kInput1FieldNumber, M::kInput2FieldNumber},
  };
  return info;
}

const LossInfo& triplet_margin_loss_info() {
  using M = v1::TripletMarginLossRequest;
  static const LossInfo info{
      .rpc = "TripletMarginLoss",
      .member = v1::LossCall::kTripletMarginLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kAnchorFieldNumber,
               .fields = {{M::kAnchorFieldNumber, Cut::kRows},
                          {M::kPositiveFieldNumber, Cut::kRows},
                          {M::kNegativeFieldNumber, Cut::kRows}},
               .row_rank = 1},
      .same_shape = {M::kAnchorFieldNumber, M::kPositiveFieldNumber, M::kNegativeFieldNumber},
  };
  return info;
}

const LossInfo& triplet_margin_with_distance_loss_info() {
  using M = v1::TripletMarginWithDistanceLossRequest;
  static const LossInfo info{
      .rpc = "TripletMarginWithDistanceLoss",
      .member = v1::LossCall::kTripletMarginWithDistanceLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kAnchorFieldNumber,
               .fields = {{M::kAnchorFieldNumber, Cut::kRows},
                          {M::kPositiveFieldNumber, Cut::kRows},
                          {M::kNegativeFieldNumber, Cut::kRows}},
               .row_rank = 1},
      .same_shape = {M::kAnchorFieldNumber, M::kPositiveFieldNumber, M::kNegativeFieldNumber},
      .arguments = {{"pairwise_distance", "distance_function"},
                    {"cosine_distance", "distance_function"},
                    {"squared_euclidean_distance", "distance_function"}},
  };
  return info;
}

}  // namespace

template <typename R>
Request margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, const MarginRankingLossOptions<R>& options) {
  using M = v1::MarginRankingLossRequest;
  return Builder(margin_ranking_loss_info(), options)
      .tensor(M::kInput1FieldNumber, input1)
      .tensor(M::kInput2FieldNumber, input2)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kMarginFieldNumber, options.margin, 0.0)
      .option(M::kAllowAnyTargetFieldNumber, options.allow_any_target, false)
      .build();
}
template Request margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, const MarginRankingLossOptions<>&);
template Request margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                     const MarginRankingLossOptions<None>&);

template <typename R>
Request hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<R>& options) {
  using M = v1::HingeEmbeddingLossRequest;
  return Builder(hinge_embedding_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kMarginFieldNumber, options.margin, 1.0)
      .option(M::kAllowAnyTargetFieldNumber, options.allow_any_target, false)
      .build();
}
template Request hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<>&);
template Request hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<None>&);

template <typename R>
Request cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                              const CosineEmbeddingLossOptions<R>& options) {
  using M = v1::CosineEmbeddingLossRequest;
  return Builder(cosine_embedding_loss_info(), options)
      .tensor(M::kInput1FieldNumber, input1)
      .tensor(M::kInput2FieldNumber, input2)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kMarginFieldNumber, options.margin, 0.0)
      .option(M::kAllowAnyTargetFieldNumber, options.allow_any_target, false)
      .build();
}
template Request cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                       const CosineEmbeddingLossOptions<>&);
template Request cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                       const CosineEmbeddingLossOptions<None>&);

template <typename R>
Request triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                            const TripletMarginLossOptions<R>& options) {
  using M = v1::TripletMarginLossRequest;
  return Builder(triplet_margin_loss_info(), options)
      .tensor(M::kAnchorFieldNumber, anchor)
      .tensor(M::kPositiveFieldNumber, positive)
      .tensor(M::kNegativeFieldNumber, negative)
      .option(M::kMarginFieldNumber, options.margin, 1.0)
      .option(M::kPFieldNumber, options.p, 2.0)
      .option(M::kEpsFieldNumber, options.eps, 1e-6)
      .option(M::kSwapFieldNumber, options.swap, false)
      .build();
}
template Request triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                     const TripletMarginLossOptions<>&);
template Request triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                     const TripletMarginLossOptions<None>&);

template <typename R>
Request triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                          const TripletMarginWithDistanceLossOptions<R>& options) {
  using M = v1::TripletMarginWithDistanceLossRequest;
  auto builder = Builder(triplet_margin_with_distance_loss_info(), options)
                     .tensor(M::kAnchorFieldNumber, anchor)
                     .tensor(M::kPositiveFieldNumber, positive)
                     .tensor(M::kNegativeFieldNumber, negative)
                     .option(M::kMarginFieldNumber, options.margin, 1.0)
                     .option(M::kSwapFieldNumber, options.swap, false);
  if (!options.distance_function) return std::move(builder).build();
  const Distance& distance = *options.distance_function;
  constexpr int kNumbers[] = {M::kPairwiseDistanceFieldNumber, M::kCosineDistanceFieldNumber, M::kSquaredEuclideanDistanceFieldNumber};
  return std::move(builder).given(kNumbers[distance.index()], distance).build();
}
template Request triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                                   const TripletMarginWithDistanceLossOptions<>&);
template Request triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                                   const TripletMarginWithDistanceLossOptions<None>&);

}  // namespace lossd::detail
