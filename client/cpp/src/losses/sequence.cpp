// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/sequence.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& ctc_loss_info() {
  using M = v1::CtcLossRequest;
  static const LossInfo info{
      .rpc = "CtcLoss",
      .member = v1::LossCall::kCtcLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kLogProbsFieldNumber,
               .fields = {{M::kLogProbsFieldNumber, Cut::kRowsAfterTime},
                          {M::kPaddedTargetsFieldNumber, Cut::kRows},
                          {M::kConcatenatedTargetsFieldNumber, Cut::kConcatenated},
                          {M::kInputLengthsFieldNumber, Cut::kItems},
                          {M::kTargetLengthsFieldNumber, Cut::kItems}},
               .row_rank = 2,
               .one_axis = true,
               .lengths = M::kTargetLengthsFieldNumber},
      .arguments = {{"padded_targets", "targets"}, {"concatenated_targets", "targets"}},
  };
  return info;
}

}  // namespace

template <typename R>
Request ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
                 const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<R>& options) {
  using M = v1::CtcLossRequest;
  const bool padded = targets.shape().rank() == 2 || log_probs.shape().rank() == 2;
  return Builder(ctc_loss_info(), options)
      .tensor(M::kLogProbsFieldNumber, log_probs)
      .tensor(padded ? M::kPaddedTargetsFieldNumber : M::kConcatenatedTargetsFieldNumber, targets)
      .given(M::kInputLengthsFieldNumber, input_lengths)
      .given(M::kTargetLengthsFieldNumber, target_lengths)
      .option(M::kBlankFieldNumber, options.blank, std::int64_t{0})
      .option(M::kZeroInfinityFieldNumber, options.zero_infinity, false)
      .build();
}
template Request ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
                          const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<>&);
template Request ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
                          const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<None>&);

}  // namespace lossd::detail
