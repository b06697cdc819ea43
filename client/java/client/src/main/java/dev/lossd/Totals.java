// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.io.Serializable;

/**
 * The merged statistics of any number of results: the order of adding does not change a bit.
 *
 * @param sum the sum over all elements
 * @param meanNumerator the mean is its value divided by that of the denominator
 * @param meanDenominator the number of elements or rows, or the sum of their weights
 * @param elementCount the number of elements of the unreduced loss
 * @param ignoredCount the elements left out
 * @param callCount the number of results
 */
record Totals(
    ExactSum sum,
    ExactSum meanNumerator,
    ExactSum meanDenominator,
    long elementCount,
    long ignoredCount,
    long callCount)
    implements Serializable {
  static final Totals NONE = new Totals(ExactSum.ZERO, ExactSum.ZERO, ExactSum.ZERO, 0, 0, 0);

  Totals plus(Statistics result) {
    return new Totals(
        sum.plus(result.sum()),
        meanNumerator.plus(result.meanNumerator()),
        meanDenominator.plus(result.meanDenominator()),
        elementCount + result.elementCount(),
        ignoredCount + result.ignoredCount(),
        callCount + 1);
  }

  Totals plus(Totals other) {
    return new Totals(
        sum.plus(other.sum),
        meanNumerator.plus(other.meanNumerator),
        meanDenominator.plus(other.meanDenominator),
        elementCount + other.elementCount,
        ignoredCount + other.ignoredCount,
        callCount + other.callCount);
  }

  /** The loss over everything: the sum, or otherwise the mean. */
  double value(boolean isSum) {
    return isSum ? sum.value() : meanNumerator.value() / meanDenominator.value();
  }

  Statistics statistics() {
    return new Statistics(
        sum.value(), meanNumerator.value(), meanDenominator.value(), elementCount, ignoredCount);
  }
}
