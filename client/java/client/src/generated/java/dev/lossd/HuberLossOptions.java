// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.HuberLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.huber_loss}. An option that is not
 * set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class HuberLossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final HuberLossRequest request;

  private HuberLossOptions(Reduction<R> reduction, Duration timeout, HuberLossRequest request) {
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
  public static <R extends LossResult> HuberLossOptions<R> of(Reduction<R> reduction) {
    return new HuberLossOptions<>(
        reduction, null, HuberLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static HuberLossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static HuberLossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static HuberLossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code weight}.
   *
   * @param weight Same shape as input.
   * @return the options with it
   */
  public HuberLossOptions<R> weight(Tensor weight) {
    return with(request.toBuilder().setWeight(weight.proto()));
  }

  /**
   * Sets {@code delta}.
   *
   * @param delta Default 1.0. &gt; 0; infinity is allowed.
   * @return the options with it
   */
  public HuberLossOptions<R> delta(double delta) {
    return with(request.toBuilder().setDelta(delta));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public HuberLossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public HuberLossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public HuberLossOptions<R> timeout(Duration timeout) {
    return new HuberLossOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    HuberLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private HuberLossOptions<R> with(HuberLossRequest.Builder changed) {
    return new HuberLossOptions<>(reduction, timeout, changed.build());
  }
}
