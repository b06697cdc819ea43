// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import dev.lossd.v1.Precision;
import dev.lossd.v1.TripletMarginWithDistanceLossRequest;
import java.time.Duration;

/**
 * The reduction and the options of {@code torch.nn.functional.triplet_margin_with_distance_loss}.
 * An option that is not set has torch's default.
 *
 * <p>Options are immutable: each method returns a copy with one option changed.
 *
 * @param <R> {@link Loss}, or {@link UnreducedLoss} without a reduction
 */
public final class TripletMarginWithDistanceLossOptions<R extends LossResult> {
  private final Reduction<R> reduction;
  private final Duration timeout;
  private final TripletMarginWithDistanceLossRequest request;

  private TripletMarginWithDistanceLossOptions(
      Reduction<R> reduction, Duration timeout, TripletMarginWithDistanceLossRequest request) {
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
  public static <R extends LossResult> TripletMarginWithDistanceLossOptions<R> of(
      Reduction<R> reduction) {
    return new TripletMarginWithDistanceLossOptions<>(
        reduction,
        null,
        TripletMarginWithDistanceLossRequest.newBuilder().setReduction(reduction.proto()).build());
  }

  /**
   * Torch's defaults with {@link Reduction#MEAN}.
   *
   * @return the options
   */
  public static TripletMarginWithDistanceLossOptions<Loss> mean() {
    return of(Reduction.MEAN);
  }

  /**
   * Torch's defaults with {@link Reduction#SUM}.
   *
   * @return the options
   */
  public static TripletMarginWithDistanceLossOptions<Loss> sum() {
    return of(Reduction.SUM);
  }

  /**
   * Torch's defaults with {@link Reduction#NONE}.
   *
   * @return the options
   */
  public static TripletMarginWithDistanceLossOptions<UnreducedLoss> none() {
    return of(Reduction.NONE);
  }

  /**
   * Sets {@code margin}.
   *
   * @param margin Default 1.0. Finite, &gt; 0.
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> margin(double margin) {
    return with(request.toBuilder().setMargin(margin));
  }

  /**
   * Sets {@code swap}.
   *
   * @param swap as in torch
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> swap(boolean swap) {
    return with(request.toBuilder().setSwap(swap));
  }

  /**
   * Sets {@code distanceFunction}.
   *
   * @param distanceFunction the distance; by default {@link Distance.Pairwise} with its defaults
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> distanceFunction(Distance distanceFunction) {
    TripletMarginWithDistanceLossRequest.Builder request = this.request.toBuilder();
    Distances.set(request, distanceFunction);
    return with(request);
  }

  /**
   * Computes in float64. By default 16-bit tensors are computed in float32, and others as they are.
   *
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> float64() {
    return with(request.toBuilder().setPrecision(Precision.PRECISION_FLOAT64));
  }

  /**
   * Sets whether NaN and infinities in float tensors are refused.
   *
   * @param rejectNonFinite true refuses them; by default they propagate as in torch
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> rejectNonFinite(boolean rejectNonFinite) {
    return with(request.toBuilder().setRejectNonFinite(rejectNonFinite));
  }

  /**
   * Sets the time limit of the call, retries included, in place of the client's.
   *
   * @param timeout the limit; {@code ChronoUnit.FOREVER.getDuration()} for none
   * @return the options with it
   */
  public TripletMarginWithDistanceLossOptions<R> timeout(Duration timeout) {
    return new TripletMarginWithDistanceLossOptions<>(reduction, timeout, request);
  }

  Call<R> call(Tensor anchor, Tensor positive, Tensor negative) {
    TripletMarginWithDistanceLossRequest.Builder request = this.request.toBuilder();
    request.setAnchor(anchor.proto());
    request.setPositive(positive.proto());
    request.setNegative(negative.proto());
    return new Call<>(request.build(), reduction, timeout);
  }

  private TripletMarginWithDistanceLossOptions<R> with(
      TripletMarginWithDistanceLossRequest.Builder changed) {
    return new TripletMarginWithDistanceLossOptions<>(reduction, timeout, changed.build());
  }
}
