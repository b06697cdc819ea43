// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestAnExactSumIsRoundedOnce(t *testing.T) {
	for _, test := range []struct {
		numbers []float64
		want    float64
	}{
		{nil, 0},
		{[]float64{1e308, 1e308, -1e308, -1e308, 0.1}, 0.1},
		{[]float64{1, 1e-300, -1}, 1e-300},
		{[]float64{math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64}, 2 * math.SmallestNonzeroFloat64},
		{[]float64{-3 * math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64}, -2 * math.SmallestNonzeroFloat64},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, math.Inf(1)},
		{[]float64{math.Inf(1), 1}, math.Inf(1)},
		{[]float64{math.Inf(-1), -1}, math.Inf(-1)},
		{[]float64{math.Inf(1), math.Inf(-1)}, math.NaN()},
		{[]float64{math.NaN(), 1}, math.NaN()},
	} {
		var sum exactSum
		for _, number := range test.numbers {
			sum.add(number)
		}
		if got := sum.value(); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("sum of %v is %v; want %v", test.numbers, got, test.want)
		}
	}
}

func TestExactSumsOfAnyNumbersAgreeWithRationals(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var parts [3]exactSum
		want := new(big.Rat)
		for range random.IntN(20) {
			number := math.Ldexp(random.NormFloat64(), random.IntN(2000)-1080)
			parts[random.IntN(3)].add(number)
			want.Add(want, new(big.Rat).SetFloat64(number))
		}
		var sum exactSum
		for i := range parts {
			sum.merge(&parts[i])
		}
		if wanted, _ := want.Float64(); sum.value() != wanted {
			t.Fatalf("%v; want %v", sum.value(), wanted)
		}
	}
}
