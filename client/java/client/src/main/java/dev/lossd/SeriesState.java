// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import java.io.Serializable;

/**
 * The exact statistics of one series of an {@link Evaluation}. It is immutable and can be
 * serialised, so that evaluations of several processes can be merged.
 */
public final class SeriesState implements Serializable {
  private static final long serialVersionUID = 1;

  /** The RPC, such as "MseLoss"; "" if only results were added. */
  private final String loss;

  /** The name of the reduction. */
  private final String reduction;

  /** The exact sums. */
  private final Totals totals;

  SeriesState(String loss, String reduction, Totals totals) {
    this.loss = loss;
    this.reduction = reduction;
    this.totals = totals;
  }

  /** The state with more; `loss` is "" if only results were added. */
  SeriesState plus(String loss, String reduction, Totals more, String series) {
    if (!reduction.equals(this.reduction)
        || !(loss.isEmpty() || this.loss.isEmpty() || loss.equals(this.loss))) {
      throw new IllegalArgumentException(
          "series \"%s\": %s (%s) cannot be merged with %s (%s)"
              .formatted(series, nameOf(loss), reduction, nameOf(this.loss), this.reduction));
    }
    return new SeriesState(this.loss.isEmpty() ? loss : this.loss, reduction, totals.plus(more));
  }

  SeriesState plus(SeriesState other, String series) {
    return plus(other.loss, other.reduction, other.totals, series);
  }

  SeriesState plus(Totals more) {
    return new SeriesState(loss, reduction, totals.plus(more));
  }

  /** The value and the statistics, rounded once. */
  SeriesResult result() {
    Statistics statistics = totals.statistics();
    double value = totals.value(reduction.equals("sum"));
    return new SeriesResult(value, statistics, totals.callCount());
  }

  private static String nameOf(String loss) {
    return loss.isEmpty() ? "results" : loss;
  }
}
