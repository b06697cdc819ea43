// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.io.Serializable;
import java.math.BigDecimal;

/**
 * A sum of doubles without rounding, so that the order of adding does not matter. NaN and
 * infinities behave as in IEEE 754.
 *
 * @param finite the sum of the finite numbers
 * @param special the sum of the others; 0 if there were none
 */
record ExactSum(BigDecimal finite, double special) implements Serializable {
  static final ExactSum ZERO = new ExactSum(BigDecimal.ZERO, 0);

  ExactSum plus(double number) {
    return Double.isFinite(number)
        ? new ExactSum(finite.add(new BigDecimal(number)), special)
        : new ExactSum(finite, special + number);
  }

  ExactSum plus(ExactSum other) {
    return new ExactSum(finite.add(other.finite), special + other.special);
  }

  /** The sum, rounded once. */
  double value() {
    return special == 0 ? finite.doubleValue() : special;
  }
}
