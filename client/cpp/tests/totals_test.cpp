// SPDX-License-Identifier: Apache-2.0
// Exact sums, without a server.

#include "totals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lossd::detail {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double sum(std::initializer_list<double> numbers) {
  ExactSum exact;
  for (const double number : numbers) exact.add(number);
  return exact.value();
}

TEST(ExactSums, NothingIsLostBetweenTheLargestAndTheSmallest) {
  const double largest = std::numeric_limits<double>::max();
  const double smallest = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(sum({largest, smallest, -largest}), smallest);
  EXPECT_EQ(sum({1e308, 1.0, -1e308, 1e-300}), 1.0);
  EXPECT_EQ(sum({-smallest, -smallest}), -2 * smallest);
  EXPECT_EQ(sum({largest, largest}), kInfinity);
  EXPECT_EQ(sum({-largest, -largest, largest}), -largest);
  EXPECT_EQ(sum({}), 0.0);
}

TEST(ExactSums, TheyAreRoundedOnceToEven) {
  const double half = std::ldexp(1.0, -53);  // half the distance from 1 to the next double
  EXPECT_EQ(sum({1.0, half}), 1.0);
  EXPECT_EQ(sum({1.0, half, 1e-300}), 1.0 + 2 * half);
  EXPECT_EQ(sum({1.0 + 2 * half, half}), 1.0 + 4 * half);
}

TEST(ExactSums, NaNAndInfinitiesBehaveWhateverTheOrder) {
  EXPECT_EQ(sum({1.0, kInfinity, -1e308}), kInfinity);
  EXPECT_TRUE(std::isnan(sum({kInfinity, 1.0, -kInfinity})));
  EXPECT_TRUE(std::isnan(sum({std::nan(""), kInfinity})));
}

TEST(ExactSums, MergingIsAdding) {
  ExactSum left;
  ExactSum right;
  left.add(-1.5);
  left.add(1e300);
  right.add(0.25);
  right.add(-1e300);
  left.merge(right);
  EXPECT_EQ(left.value(), -1.25);
}

}  // namespace
}  // namespace lossd::detail
