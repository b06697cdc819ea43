// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * A reduced loss.
 *
 * @param value the loss; NaN if torch's is NaN, as the mean of nothing is
 * @param statistics what is needed to merge it with others
 * @param execution how it was computed
 */
public record Loss(double value, Statistics statistics, Execution execution)
    implements LossResult {}
