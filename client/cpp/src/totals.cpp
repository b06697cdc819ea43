// SPDX-License-Identifier: Apache-2.0

#include "totals.h"

#include <bit>
#include <cmath>
#include <limits>

#include "lossd/v1/options.pb.h"

namespace lossd::detail {
namespace {

constexpr int kUnitExponent = -1074;  // the exponent of the least double
constexpr int kPrecision = 53;

using Limbs = std::array<std::uint64_t, 34>;

void add_limbs(Limbs& sum, const Limbs& other) {
  bool carry = false;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const std::uint64_t with_carry = other[i] + (carry ? 1 : 0);
    carry = with_carry < other[i];
    sum[i] += with_carry;
    carry = carry || sum[i] < with_carry;
  }
}

Limbs negated(Limbs limbs) {
  for (std::uint64_t& limb : limbs) limb = ~limb;
  Limbs one{};
  one[0] = 1;
  add_limbs(limbs, one);
  return limbs;
}

bool bit(const Limbs& limbs, int index) { return (limbs[static_cast<std::size_t>(index) / 64] >> (index % 64) & 1) != 0; }

bool any_bit_below(const Limbs& limbs, int index) {
  for (int i = 0; i < index; ++i) {
    if (bit(limbs, i)) return true;
  }
  return false;
}

}  // namespace

void ExactSum::add(double number) {
  if (std::isnan(number)) {
    nan_ = true;
  } else if (std::isinf(number)) {
    (number > 0 ? positive_infinity_ : negative_infinity_) = true;
  } else if (number != 0.0) {
    int exponent = 0;
    auto mantissa = static_cast<std::uint64_t>(std::ldexp(std::frexp(std::abs(number), &exponent), kPrecision));
    int shift = exponent - kPrecision - kUnitExponent;
    if (shift < 0) {  // a subnormal number, whose low bits are zero
      mantissa >>= -shift;
      shift = 0;
    }
    Limbs units{};
    const auto limb = static_cast<std::size_t>(shift) / 64;
    units[limb] = mantissa << (shift % 64);
    if (shift % 64 != 0) units[limb + 1] = mantissa >> (64 - shift % 64);
    add_limbs(limbs_, number < 0 ? negated(units) : units);
  }
}

void ExactSum::merge(const ExactSum& other) {
  add_limbs(limbs_, other.limbs_);
  positive_infinity_ = positive_infinity_ || other.positive_infinity_;
  negative_infinity_ = negative_infinity_ || other.negative_infinity_;
  nan_ = nan_ || other.nan_;
}

double ExactSum::value() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (nan_ || (positive_infinity_ && negative_infinity_)) return std::numeric_limits<double>::quiet_NaN();
  if (positive_infinity_) return kInfinity;
  if (negative_infinity_) return -kInfinity;
  const bool negative = limbs_.back() >> 63 != 0;
  const Limbs magnitude = negative ? negated(limbs_) : limbs_;
  int top = static_cast<int>(magnitude.size()) * 64 - 1;  // the highest bit
  while (top >= 0 && !bit(magnitude, top)) --top;
  const int lowest = std::max(0, top - kPrecision + 1);
  std::uint64_t mantissa = 0;
  for (int i = top; i >= lowest; --i) mantissa = mantissa << 1 | (bit(magnitude, i) ? 1 : 0);
  if (lowest > 0 && bit(magnitude, lowest - 1) && ((mantissa & 1) != 0 || any_bit_below(magnitude, lowest - 1))) ++mantissa;
  const double value = std::ldexp(static_cast<double>(mantissa), lowest + kUnitExponent);
  return negative ? -value : value;
}

void Totals::add(const Statistics& result) {
  sum.add(result.sum);
  mean_numerator.add(result.mean_numerator);
  mean_denominator.add(result.mean_denominator);
  element_count += result.element_count;
  ignored_count += result.ignored_count;
  ++call_count;
}

void Totals::merge(const Totals& other) {
  sum.merge(other.sum);
  mean_numerator.merge(other.mean_numerator);
  mean_denominator.merge(other.mean_denominator);
  element_count += other.element_count;
  ignored_count += other.ignored_count;
  call_count += other.call_count;
}

Statistics Totals::statistics() const {
  return {.sum = sum.value(),
          .mean_numerator = mean_numerator.value(),
          .mean_denominator = mean_denominator.value(),
          .element_count = element_count,
          .ignored_count = ignored_count};
}

double Totals::value(int reduction) const {
  return reduction == v1::REDUCTION_SUM ? sum.value() : mean_numerator.value() / mean_denominator.value();
}

}  // namespace lossd::detail
