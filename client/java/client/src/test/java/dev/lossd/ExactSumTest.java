// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ExactSumTest {
  private static double sum(double... numbers) {
    ExactSum sum = ExactSum.ZERO;
    for (double number : numbers) {
      sum = sum.plus(number);
    }
    return sum.value();
  }

  @Test
  void losesNothing() {
    assertEquals(1, sum(1e300, 1, -1e300));
    assertEquals(Double.MIN_VALUE, sum(Double.MAX_VALUE, Double.MIN_VALUE, -Double.MAX_VALUE));
    assertEquals(0.30000000000000004, sum(0.1, 0.2)); // the doubles' sum, rounded once
    assertEquals(Double.POSITIVE_INFINITY, sum(Double.MAX_VALUE, Double.MAX_VALUE));
    assertEquals(1 + Math.ulp(1.0), sum(1, Math.ulp(1.0) / 2, Double.MIN_VALUE)); // above the tie
    assertEquals(1, sum(1, Math.ulp(1.0) / 2)); // a tie goes to even
  }

  @Test
  void isTheSameInAnyOrder() {
    Random random = new Random(1);
    List<Double> numbers = new ArrayList<>();
    for (int i = 0; i < 1000; i++) {
      numbers.add(Double.longBitsToDouble(random.nextLong() & ~(1L << 62)));
    }
    double once = sum(numbers.stream().mapToDouble(Double::doubleValue).toArray());
    Collections.shuffle(numbers, random);
    assertEquals(once, sum(numbers.stream().mapToDouble(Double::doubleValue).toArray()));
  }

  @Test
  void addsNanAndInfinitiesAsIeeeDoes() {
    double infinity = Double.POSITIVE_INFINITY;
    assertEquals(infinity, sum(1, infinity, 2));
    assertEquals(-infinity, sum(-infinity, -infinity));
    assertEquals(Double.NaN, sum(infinity, 1, -infinity));
    assertEquals(Double.NaN, sum(Double.NaN, infinity));
  }
}
