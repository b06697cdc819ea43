// SPDX-License-Identifier: Apache-2.0

// Exact statistics of a loss over many results: the order of adding and merging does not change a bit.

import type { Statistics } from "./codec.js";

/** A sum as `JSON.stringify` takes it. @internal */
export interface SumState {
  /** The sum of the finite numbers in units of 2^-1074, in hexadecimal. */
  readonly units: string;
  /** The infinities and NaN that were added. */
  readonly infinities: readonly string[];
}

/** A sum of doubles without rounding. NaN and infinities behave as in IEEE 754, whatever the order. @internal */
export class ExactSum {
  // Every finite double is a whole number of units of 2^-1074.
  #units = 0n;
  readonly #infinities = new Set<number>();

  /** Adds a number. */
  add(number: number): void {
    if (!Number.isFinite(number)) {
      this.#infinities.add(number);
      return;
    }
    BITS.setFloat64(0, number);
    const high = BITS.getUint32(0);
    const exponent = (high >>> 20) & 0x7ff;
    const fraction = BITS.getBigUint64(0) & FRACTION;
    // Subnormal numbers have exponent 0, and the unit of exponent 1.
    const units = exponent === 0 ? fraction : (fraction | HIDDEN) << BigInt(exponent - 1);
    this.#units += high >>> 31 ? -units : units;
  }

  /** Adds everything that was added to `other`. */
  merge(other: ExactSum): void {
    this.#units += other.#units;
    for (const infinity of other.#infinities) this.#infinities.add(infinity);
  }

  /** The sum, rounded once. */
  get value(): number {
    if (this.#infinities.size > 0) return [...this.#infinities].reduce((sum, infinity) => sum + infinity, 0);
    return this.#units < 0n ? -rounded(-this.#units) : rounded(this.#units);
  }

  toJSON(): SumState {
    return { units: this.#units.toString(16), infinities: [...this.#infinities].map(String) };
  }

  static of({ units, infinities }: SumState): ExactSum {
    const sum = new ExactSum();
    sum.#units = units.startsWith("-") ? -BigInt(`0x${units.slice(1)}`) : BigInt(`0x${units}`);
    for (const infinity of infinities) sum.#infinities.add(Number(infinity));
    return sum;
  }
}

/** Totals as `JSON.stringify` takes them. @internal */
export interface TotalsState {
  readonly sum: SumState;
  readonly meanNumerator: SumState;
  readonly meanDenominator: SumState;
  readonly elementCount: number;
  readonly ignoredCount: number;
  readonly callCount: number;
}

/** The merged statistics of any number of results. @internal */
export class Totals implements Statistics {
  #sum = new ExactSum();
  #numerator = new ExactSum();
  #denominator = new ExactSum();
  elementCount = 0;
  ignoredCount = 0;
  callCount = 0;

  /** Adds one result. */
  add(result: Statistics): void {
    this.#sum.add(result.sum);
    this.#numerator.add(result.meanNumerator);
    this.#denominator.add(result.meanDenominator);
    this.elementCount += result.elementCount;
    this.ignoredCount += result.ignoredCount;
    this.callCount += 1;
  }

  /** Adds everything that was added to `other`. */
  merge(other: Totals): void {
    this.#sum.merge(other.#sum);
    this.#numerator.merge(other.#numerator);
    this.#denominator.merge(other.#denominator);
    this.elementCount += other.elementCount;
    this.ignoredCount += other.ignoredCount;
    this.callCount += other.callCount;
  }

  get sum(): number {
    return this.#sum.value;
  }

  get meanNumerator(): number {
    return this.#numerator.value;
  }

  get meanDenominator(): number {
    return this.#denominator.value;
  }

  /** The loss over everything: the sum if `reduction` is "sum", otherwise the mean. */
  value(reduction: string): number {
    return reduction === "sum" ? this.sum : this.meanNumerator / this.meanDenominator;
  }

  toJSON(): TotalsState {
    const { elementCount, ignoredCount, callCount } = this;
    return {
      sum: this.#sum.toJSON(),
      meanNumerator: this.#numerator.toJSON(),
      meanDenominator: this.#denominator.toJSON(),
      elementCount,
      ignoredCount,
      callCount,
    };
  }

  static of(state: TotalsState): Totals {
    const totals = new Totals();
    totals.#sum = ExactSum.of(state.sum);
    totals.#numerator = ExactSum.of(state.meanNumerator);
    totals.#denominator = ExactSum.of(state.meanDenominator);
    totals.elementCount = state.elementCount;
    totals.ignoredCount = state.ignoredCount;
    totals.callCount = state.callCount;
    return totals;
  }
}

// Implementation details follow.

const BITS = new DataView(new ArrayBuffer(8));
const HIDDEN = 1n << 52n;
const FRACTION = HIDDEN - 1n;
const KEPT_BITS = 64;

/** `units` of 2^-1074 as a double, rounded to nearest, ties to even. */
function rounded(units: bigint): number {
  const dropped = units.toString(2).length - KEPT_BITS;
  if (dropped <= 0) return scaled(Number(units), -1074);
  // Number() rounds 64 bits rightly if the last one says whether anything below them is set.
  const kept = units >> BigInt(dropped);
  const sticky = kept << BigInt(dropped) === units ? 0n : 1n;
  return scaled(Number(kept | sticky), dropped - 1074);
}

/** `number * 2**exponent`, in steps that round nothing; the result must be a double, or beyond the largest. */
function scaled(number: number, exponent: number): number {
  if (exponent < -1000) return scaled(number * 2 ** -500, exponent + 500);
  return number * 2 ** exponent;
}
