// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.PoissonNllLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.poisson_nll_loss}. An option that is
 * not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class PoissonNllLossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final PoissonNllLossRequest request;

  private PoissonNllLossOptions(
      Reduction<R> reduction, Duration timeout, PoissonNllLossRequest request) {
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
  public static <R extends LossResult> PoissonNllLossOptions<R> of(Reduction<R> reduction) {
    return new PoissonNllLossOptions<>(
        reduction,
        null,
        PoissonNllLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static PoissonNllLossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static PoissonNllLossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static PoissonNllLossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code logInput}.
   *
   * @param logInput Default true.
   * @return the options with it
   */
  public PoissonNllLossOptions<R> logInput(boolean logInput) {
    return with(request.toBuilder().setLogInput(logInput));
  }

  /**
   * Sets {@code full}.
   *
   * @param full as in torch
   * @return the options with it
   */
  public PoissonNllLossOptions<R> full(boolean full) {
    return with(request.toBuilder().setFull(full));
  }

  /**
   * Sets {@code eps}.
   *
   * @param eps Default 1e-8. Finite, &gt; 0. Used only if logInput is false.
   * @return the options with it
   */
  public PoissonNllLossOptions<R> eps(double eps) {
    return with(request.toBuilder().setEps(eps));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public PoissonNllLossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public PoissonNllLossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public PoissonNllLossOptions<R> timeout(Duration timeout) {
    return new PoissonNllLossOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor input, Tensor target) {
    PoissonNllLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private PoissonNllLossOptions<R> with(PoissonNllLossRequest.Builder changed) {
    return new PoissonNllLossOptions<>(reduction, timeout, changed.build());
  }
}
