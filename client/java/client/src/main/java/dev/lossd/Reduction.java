// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import dev.lossd.v1.LossResponse;
import java.util.List;
import java.util.function.Function;

/**
 * How the losses of elements or rows become one loss.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} for {@link #NONE}
 */
public final class Reduction<R extends LossResult> {
  /** The mean as torch defines it for the loss. */
  public static final Reduction<Loss> MEAN = reduced("mean", dev.lossd.v1.Reduction.REDUCTION_MEAN);

  /** The sum over all elements. */
  public static final Reduction<Loss> SUM = reduced("sum", dev.lossd.v1.Reduction.REDUCTION_SUM);

  /**
   * {@code kl_div} only: the sum divided by the first extent, which is the mathematical KL
   * divergence.
   */
  public static final Reduction<Loss> BATCH_MEAN =
      reduced("batchmean", dev.lossd.v1.Reduction.REDUCTION_BATCH_MEAN);

  /** No reduction: one loss for each element or row. */
  public static final Reduction<UnreducedLoss> NONE =
      new Reduction<>(
          "none",
          dev.lossd.v1.Reduction.REDUCTION_NONE,
          response ->
              new UnreducedLoss(
                  Tensor.of(response.getValues()),
                  Statistics.of(response.getStatistics()),
                  Execution.of(response.getExecution())));

  private final String name;
  private final dev.lossd.v1.Reduction proto;
  private final Function<LossResponse, R> read;

  private Reduction(String name, dev.lossd.v1.Reduction proto, Function<LossResponse, R> read) {
    this.name = name;
    this.proto = proto;
    this.read = read;
  }

  /**
   * The reduction of this name in torch.
   *
   * @param name "mean", "sum", "none" or "batchmean"
   * @return the reduction
   * @throws IllegalArgumentException if there is none of this name
   */
  public static Reduction<?> of(String name) {
    for (Reduction<?> reduction : List.of(MEAN, SUM, NONE, BATCH_MEAN)) {
      if (reduction.name.equals(name)) {
        return reduction;
      }
    }
    throw new IllegalArgumentException(
        "reduction is \"" + name + "\"; it must be one of mean, sum, none, batchmean");
  }

  /** Its name in torch. */
  @Override
  public String toString() {
    return name;
  }

  // Implementation details follow.

  dev.lossd.v1.Reduction proto() {
    return proto;
  }

  R read(LossResponse response) {
    return read.apply(response);
  }

  private static Reduction<Loss> reduced(String name, dev.lossd.v1.Reduction proto) {
    return new Reduction<>(
        name,
        proto,
        response ->
            new Loss(
                response.getValue(),
                Statistics.of(response.getStatistics()),
                Execution.of(response.getExecution())));
  }
}
