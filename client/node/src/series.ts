// SPDX-License-Identifier: Apache-2.0

import type { Rpc, Statistics } from "./codec.js";
import { Totals, type TotalsState } from "./statistics.js";

/** The loss over all updates of a series. */
export interface SeriesResult extends Statistics {
  /** The loss over all rows at once. */
  readonly value: number;
  /** The number of updates. */
  readonly callCount: number;
}

/** The exact statistics of one series, as `JSON.stringify` takes them. */
export interface SeriesState {
  /** The RPC, such as `"MseLoss"`; empty if only results were added. */
  readonly loss: string;
  readonly reduction: string;
  readonly totals: TotalsState;
}

/** The exact statistics of every series by name. */
export type EvaluationState = Readonly<Record<string, SeriesState>>;

/** The statistics of one series; `loss` is empty if only results were added. @internal */
export class SeriesTotals {
  constructor(
    public loss: Rpc,
    readonly reduction: string,
    readonly totals = new Totals(),
  ) {}

  /** Throws TypeError if this loss or reduction differs from that of the series. */
  expect(loss: Rpc, reduction: string, name: string): void {
    if (reduction !== this.reduction || (loss !== "" && this.loss !== "" && loss !== this.loss)) {
      const held = `${this.loss || "results"} (${this.reduction})`;
      throw new TypeError(`series ${JSON.stringify(name)}: ${loss || "results"} (${reduction}) cannot be merged with ${held}`);
    }
    this.loss ||= loss;
  }

  /** Adds everything that another series holds. */
  merge(other: SeriesTotals, name: string): void {
    this.expect(other.loss, other.reduction, name);
    this.totals.merge(other.totals);
  }

  /** The value and statistics, rounded once. */
  result(): SeriesResult {
    const { sum, meanNumerator, meanDenominator, elementCount, ignoredCount, callCount } = this.totals;
    const value = this.totals.value(this.reduction);
    return { value, sum, meanNumerator, meanDenominator, elementCount, ignoredCount, callCount };
  }

  toJSON(): SeriesState {
    return { loss: this.loss, reduction: this.reduction, totals: this.totals.toJSON() };
  }

  static of({ loss, reduction, totals }: SeriesState): SeriesTotals {
    return new SeriesTotals(loss, reduction, Totals.of(totals));
  }
}
