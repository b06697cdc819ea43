// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import dev.lossd.v1.LossStatistics;

/**
 * What is needed to merge losses exactly. The mean over several results is the sum of their
 * numerators divided by the sum of their denominators; their sum is the sum of their sums.
 *
 * @param sum the sum over all elements
 * @param meanNumerator the mean is {@code meanNumerator / meanDenominator}
 * @param meanDenominator the number of elements or rows, or the sum of their weights if torch
 *     divides by that
 * @param elementCount the number of elements of the unreduced loss
 * @param ignoredCount the elements left out: targets equal to an {@code ignoreIndex}, or infinite
 *     CTC losses set to zero
 */
public record Statistics(
    double sum,
    double meanNumerator,
    double meanDenominator,
    long elementCount,
    long ignoredCount) {

  static Statistics of(LossStatistics proto) {
    return new Statistics(
        proto.getSum(),
        proto.getMeanNumerator(),
        proto.getMeanDenominator(),
        proto.getElementCount(),
        proto.getIgnoredCount());
  }
}
