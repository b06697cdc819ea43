// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.KlDivLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.kl_div}. An option that is not set
 * has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class KlDivOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final KlDivLossRequest request;

  private KlDivOptions(Reduction<R> reduction, Duration timeout, KlDivLossRequest request) {
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
  public static <R extends LossResult> KlDivOptions<R> of(Reduction<R> reduction) {
    return new KlDivOptions<>(
        reduction, null, KlDivLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static KlDivOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static KlDivOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static KlDivOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Torch's defaults with {@link Reduction#BATCH_MEAN}.
   *
   * @return the options
   */
  public static KlDivOptions<Loss> batchMean() {
    return of(Reduction.BATCH_MEAN);
  }

  /**
   * Sets {@code logTarget}.
   *
   * @param logTarget as in torch
   * @return the options with it
   */
  public KlDivOptions<R> logTarget(boolean logTarget) {
    return with(request.toBuilder().setLogTarget(logTarget));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public KlDivOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public KlDivOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public KlDivOptions<R> timeout(Duration timeout) {
    return new KlDivOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    KlDivLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private KlDivOptions<R> with(KlDivLossRequest.Builder changed) {
    return new KlDivOptions<>(reduction, timeout, changed.build());
  }
}
