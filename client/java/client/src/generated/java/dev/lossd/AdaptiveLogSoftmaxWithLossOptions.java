// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.AdaptiveLogSoftmaxWithLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;
import java.util.List;
import java.util.stream.LongStream;

/**
 * The reduction and the options of {@code torch.nn.AdaptiveLogSoftmaxWithLoss}. An option that is
 * not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class AdaptiveLogSoftmaxWithLossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final AdaptiveLogSoftmaxWithLossRequest request;

  private AdaptiveLogSoftmaxWithLossOptions(
      Reduction<R> reduction, Duration timeout, AdaptiveLogSoftmaxWithLossRequest request) {
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
  public static <R extends LossResult> AdaptiveLogSoftmaxWithLossOptions<R> of(
      Reduction<R> reduction) {
    return new AdaptiveLogSoftmaxWithLossOptions<>(
        reduction,
        null,
        AdaptiveLogSoftmaxWithLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static AdaptiveLogSoftmaxWithLossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static AdaptiveLogSoftmaxWithLossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static AdaptiveLogSoftmaxWithLossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code headBias}.
   *
   * @param headBias (cutoffs[0] + number of tails); float. {@code head.bias}.
   * @return the options with it
   */
  public AdaptiveLogSoftmaxWithLossOptions<R> headBias(Tensor headBias) {
    return with(request.toBuilder().setHeadBias(headBias.proto()));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public AdaptiveLogSoftmaxWithLossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public AdaptiveLogSoftmaxWithLossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public AdaptiveLogSoftmaxWithLossOptions<R> timeout(Duration timeout) {
    return new AdaptiveLogSoftmaxWithLossOptions<>(reduction, timeout, request);
  }

  Call<R> call(
      Tensor input,
      Tensor target,
      Tensor headWeight,
      List<AdaptiveTailCluster> tail,
      long[] cutoffs) {
    AdaptiveLogSoftmaxWithLossRequest.Builder request = this.request.toBuilder();
    request.setInput(input.proto());
    request.setTarget(target.proto());
    request.setHeadWeight(headWeight.proto());
    request.addAllTail(tail.stream().map(AdaptiveTailCluster::proto).toList());
    request.addAllCutoffs(LongStream.of(cutoffs).boxed().toList());
    return new Call<>(request.build(), reduction, timeout);
  }

  private AdaptiveLogSoftmaxWithLossOptions<R> with(
      AdaptiveLogSoftmaxWithLossRequest.Builder changed) {
    return new AdaptiveLogSoftmaxWithLossOptions<>(reduction, timeout, changed.build());
  }
}
