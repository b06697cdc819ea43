// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"math"
	"math/big"
)

// unitBits: every finite float64 is a whole number of units of 2^-1074.
const unitBits = 1074

// An exactSum is a sum of float64 without rounding: the order of adding and merging does not change a bit. NaN and infinities behave as
// in IEEE 754.
type exactSum struct {
	units   big.Int
	special float64 // the sum of the NaN and infinities that were added, or 0
}

func (s *exactSum) add(number float64) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		s.special += number
		return
	}
	if number == 0 {
		return
	}
	fraction, exponent := math.Frexp(number) // number = fraction * 2^exponent, and fraction has 53 bits
	units := big.NewInt(int64(math.Ldexp(fraction, 53)))
	if shift := exponent - 53 + unitBits; shift >= 0 {
		units.Lsh(units, uint(shift))
	} else {
		units.Rsh(units, uint(-shift)) // a subnormal number, whose last bits are 0
	}
	s.units.Add(&s.units, units)
}

func (s *exactSum) merge(other *exactSum) {
	s.units.Add(&s.units, &other.units)
	s.special += other.special
}

// value returns the sum, rounded once.
func (s *exactSum) value() float64 {
	if s.special != 0 {
		return s.special
	}
	sum := new(big.Float).SetInt(&s.units)
	rounded, _ := sum.SetMantExp(sum, -unitBits).Float64()
	return rounded
}

// totals are the merged statistics of any number of results.
type totals struct {
	sum, meanNumerator, meanDenominator exactSum
	elementCount, ignoredCount          int64
	callCount                           int64
}

func (t *totals) add(s Statistics) {
	t.sum.add(s.Sum)
	t.meanNumerator.add(s.MeanNumerator)
	t.meanDenominator.add(s.MeanDenominator)
	t.elementCount += s.ElementCount
	t.ignoredCount += s.IgnoredCount
	t.callCount++
}

func (t *totals) merge(other *totals) {
	t.sum.merge(&other.sum)
	t.meanNumerator.merge(&other.meanNumerator)
	t.meanDenominator.merge(&other.meanDenominator)
	t.elementCount += other.elementCount
	t.ignoredCount += other.ignoredCount
	t.callCount += other.callCount
}

func (t *totals) statistics() Statistics {
	return Statistics{t.sum.value(), t.meanNumerator.value(), t.meanDenominator.value(), t.elementCount, t.ignoredCount}
}
