// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.CtcLossRequest;
import dev.lossd.v1.Precision;
import java.time.Duration;
import java.util.stream.LongStream;

/**
 * The reduction and the options of {@code torch.nn.functional.ctc_loss}. An option that is not set
 * has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class CtcLossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final CtcLossRequest request;

  private CtcLossOptions(Reduction<R> reduction, Duration timeout, CtcLossRequest request) {
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
  public static <R extends LossResult> CtcLossOptions<R> of(Reduction<R> reduction) {
    return new CtcLossOptions<>(
        reduction, null, CtcLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static CtcLossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static CtcLossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static CtcLossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code blank}.
   *
   * @param blank In [0, C).
   * @return the options with it
   */
  public CtcLossOptions<R> blank(long blank) {
    return with(request.toBuilder().setBlank(blank));
  }

  /**
   * Sets {@code zeroInfinity}.
   *
   * @param zeroInfinity True sets infinite losses (inputs too short for their targets) to zero and
   *     counts them as ignored.
   * @return the options with it
   */
  public CtcLossOptions<R> zeroInfinity(boolean zeroInfinity) {
    return with(request.toBuilder().setZeroInfinity(zeroInfinity));
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public CtcLossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public CtcLossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public CtcLossOptions<R> timeout(Duration timeout) {
    return new CtcLossOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor logProbs, Tensor targets, long[] inputLengths, long[] targetLengths) {
    CtcLossRequest.Builder request = this.request.toBuilder();
    request.setLogProbs(logProbs.proto());
    if (targets.rank() == 2 || logProbs.rank() == 2) {
      request.setPaddedTargets(targets.proto());
    } else {
      request.setConcatenatedTargets(targets.proto());
    }
    request.addAllInputLengths(LongStream.of(inputLengths).boxed().toList());
    request.addAllTargetLengths(LongStream.of(targetLengths).boxed().toList());
    return new Call<>(request.build(), reduction, timeout);
  }

  private CtcLossOptions<R> with(CtcLossRequest.Builder changed) {
    return new CtcLossOptions<>(reduction, timeout, changed.build());
  }
}
