// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.BceWithLogitsLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.binary_cross_entropy_with_logits}. An
 * option that is not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class BinaryCrossEntropyWithLogitsOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final BceWithLogitsLossRequest request;

  private BinaryCrossEntropyWithLogitsOptions(
      Reduction<R> reduction, Duration timeout, BceWithLogitsLossRequest request) {
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
  public static <R extends LossResult> BinaryCrossEntropyWithLogitsOptions<R> of(
      Reduction<R> reduction) {
    return new BinaryCrossEntropyWithLogitsOptions<>(
        reduction,
        null,
        BceWithLogitsLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyWithLogitsOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyWithLogitsOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static BinaryCrossEntropyWithLogitsOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code weight}.
   *
   * @param weight Broadcasts to input's shape and never enlarges it.
   * @return the options with it
   */
  public BinaryCrossEntropyWithLogitsOptions<R> weight(Tensor weight) {
    return with(request.toBuilder().setWeight(weight.proto()));
  }

  /**
   * Sets {@code posWeight}.
   *
   * @param posWeight Broadcasts to input's shape and never enlarges it; (C) for inputs of (N, C).
   * @return the options with it
   */
  public BinaryCrossEntropyWithLogitsOptions<R> posWeight(Tensor posWeight) {
    return with(request.toBuilder().setPosWeight(posWeight.proto()));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public BinaryCrossEntropyWithLogitsOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public BinaryCrossEntropyWithLogitsOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public BinaryCrossEntropyWithLogitsOptions<R> timeout(Duration timeout) {
    return new BinaryCrossEntropyWithLogitsOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    BceWithLogitsLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private BinaryCrossEntropyWithLogitsOptions<R> with(BceWithLogitsLossRequest.Builder changed) {
    return new BinaryCrossEntropyWithLogitsOptions<>(reduction, timeout, changed.build());
  }
}
