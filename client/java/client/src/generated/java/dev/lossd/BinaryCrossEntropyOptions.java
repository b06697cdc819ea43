// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.BceLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.binary_cross_entropy}. An option that
 * is not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class BinaryCrossEntropyOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final BceLossRequest request;

  private BinaryCrossEntropyOptions(
      Reduction<R> reduction, Duration timeout, BceLossRequest request) {
    this.reduction = reduction;
    this.timeout = timeout;
    this.request = request;
  }

  /**
   * Torch's defaults with this reduction.
   *
   * @param reduction how the loss is reduced
   * @param <R> the type of the result
   * @return the options
   */
  public static <R extends LossResult> BinaryCrossEntropyOptions<R> of(Reduction<R> reduction) {
    return new BinaryCrossEntropyOptions<>(
        reduction, null, BceLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code weight}.
   *
   * @param weight Broadcasts to input's shape and never enlarges it.
   * @return the options with it
   */
  public BinaryCrossEntropyOptions<R> weight(Tensor weight) {
    return with(request.toBuilder().setWeight(weight.proto()));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public BinaryCrossEntropyOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public BinaryCrossEntropyOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public BinaryCrossEntropyOptions<R> timeout(Duration timeout) {
    return new BinaryCrossEntropyOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    BceLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private BinaryCrossEntropyOptions<R> with(BceLossRequest.Builder changed) {
    return new BinaryCrossEntropyOptions<>(reduction, timeout, changed.build());
  }
}
