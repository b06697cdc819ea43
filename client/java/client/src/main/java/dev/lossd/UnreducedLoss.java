// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * The loss of each element or row.
 *
 * @param values the losses: float32, or float64 if the loss was computed in float64
 * @param statistics what is needed to merge them with others
 * @param execution how they were computed
 */
public record UnreducedLoss(Tensor values, Statistics statistics, Execution execution)
    implements LossResult {}
