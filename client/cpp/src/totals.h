// SPDX-License-Identifier: Apache-2.0
// Exact statistics of a loss over many results: the order of adding and merging does not change a bit.

#pragma once

#include <array>
#include <cstdint>

#include "lossd/result.h"

namespace lossd::detail {

/// A sum of doubles without rounding. NaN and infinities behave as in IEEE 754, whatever the order.
class ExactSum {
 public:
  void add(double number);
  void merge(const ExactSum& other);

  /// The sum, rounded once, half to even.
  double value() const;

 private:
  // Units of 2^-1074 as a two's complement number: all 2098 bits of doubles, and room for 2^77 of them.
  std::array<std::uint64_t, 34> limbs_{};
  bool positive_infinity_ = false;
  bool negative_infinity_ = false;
  bool nan_ = false;
};

/// The merged statistics of any number of results.
struct Totals {
  ExactSum sum;
  ExactSum mean_numerator;
  ExactSum mean_denominator;
  std::int64_t element_count = 0;
  std::int64_t ignored_count = 0;
  std::int64_t call_count = 0;

  void add(const Statistics& result);
  void merge(const Totals& other);

  /// Rounded once.
  Statistics statistics() const;

  /// The loss over everything: the sum if `reduction`, a lossd.v1.Reduction, is SUM; otherwise the mean.
  double value(int reduction) const;
};

}  // namespace lossd::detail
