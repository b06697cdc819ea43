// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.Precision;
import dev.lossd.v1.SmoothL1LossRequest;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.smooth_l1_loss}. An option that is
 * not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class SmoothL1LossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final SmoothL1LossRequest request;

  private SmoothL1LossOptions(
      Reduction<R> reduction, Duration timeout, SmoothL1LossRequest request) {
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
  public static <R extends LossResult> SmoothL1LossOptions<R> of(Reduction<R> reduction) {
    return new SmoothL1LossOptions<>(
        reduction, null, SmoothL1LossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static SmoothL1LossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static SmoothL1LossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static SmoothL1LossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code beta}.
   *
   * @param beta Default 1.0. Finite, &gt;= 0; 0 makes it the L1 loss.
   * @return the options with it
   */
  public SmoothL1LossOptions<R> beta(double beta) {
    return with(request.toBuilder().setBeta(beta));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public SmoothL1LossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public SmoothL1LossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public SmoothL1LossOptions<R> timeout(Duration timeout) {
    return new SmoothL1LossOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    SmoothL1LossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private SmoothL1LossOptions<R> with(SmoothL1LossRequest.Builder changed) {
    return new SmoothL1LossOptions<>(reduction, timeout, changed.build());
  }
}
