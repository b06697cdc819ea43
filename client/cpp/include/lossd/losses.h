// SPDX-License-Identifier: Apache-2.0
/// @file
/// All losses.

#pragma once

#include "lossd/losses/classification.h"
#include "lossd/losses/distribution.h"
#include "lossd/losses/embedding.h"
#include "lossd/losses/multilabel.h"
#include "lossd/losses/regression.h"
#include "lossd/losses/sequence.h"
#include "lossd/losses/vocabulary.h"

namespace lossd {

/// The losses, named and with the arguments, options and defaults as in torch.nn.functional. Tensors may be given as any contiguous range
/// of numbers, which then has one extent, or as {range, {extents...}}; options by designated initializers. With `.reduction = kNone` a
/// method returns one value for each element or row, as an Array.
///
///     client.cross_entropy({logits, {rows, classes}}, labels, {.label_smoothing = 0.1});
template <typename Reduced, typename Unreduced>
class LossMethods : public RegressionLosses<Reduced, Unreduced>,
                    public DistributionLosses<Reduced, Unreduced>,
                    public ClassificationLosses<Reduced, Unreduced>,
                    public MultiLabelLosses<Reduced, Unreduced>,
                    public EmbeddingLosses<Reduced, Unreduced>,
                    public SequenceLosses<Reduced, Unreduced>,
                    public VocabularyLosses<Reduced, Unreduced> {};

}  // namespace lossd
