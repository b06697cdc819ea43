// SPDX-License-Identifier: Apache-2.0
// Generated from proto/ by client/java/generate: do not edit.

package dev.lossd;

import java.util.List;

/**
 * The losses as updates of a series of an {@link Evaluation}: each adds a mini-batch to the series.
 */
public abstract class LossUpdates {
  LossUpdates() {}

  abstract void update(Call<Loss> call);

  /**
   * |input - target|. MEAN divides by the number of elements, or by the sum of {@code weight}.
   *
   * <p>{@code torch.nn.functional.l1_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   */
  public void l1Loss(Tensor input, Tensor target) {
    l1Loss(input, target, L1LossOptions.mean());
  }

  /**
   * |input - target|. MEAN divides by the number of elements, or by the sum of {@code weight}.
   *
   * <p>{@code torch.nn.functional.l1_loss}
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void l1Loss(Tensor input, Tensor target, L1LossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * (input - target)^2. MEAN divides by the number of elements, or by the sum of {@code weight}.
   *
   * <p>{@code torch.nn.functional.mse_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   */
  public void mseLoss(Tensor input, Tensor target) {
    mseLoss(input, target, MseLossOptions.mean());
  }

  /**
   * (input - target)^2. MEAN divides by the number of elements, or by the sum of {@code weight}.
   *
   * <p>{@code torch.nn.functional.mse_loss}
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void mseLoss(Tensor input, Tensor target, MseLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * with d = |input - target|: 0.5 d^2 / beta if d &lt; beta, else d - 0.5 beta. MEAN divides by
   * the number of elements.
   *
   * <p>{@code torch.nn.functional.smooth_l1_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   */
  public void smoothL1Loss(Tensor input, Tensor target) {
    smoothL1Loss(input, target, SmoothL1LossOptions.mean());
  }

  /**
   * with d = |input - target|: 0.5 d^2 / beta if d &lt; beta, else d - 0.5 beta. MEAN divides by
   * the number of elements.
   *
   * <p>{@code torch.nn.functional.smooth_l1_loss}
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void smoothL1Loss(Tensor input, Tensor target, SmoothL1LossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * with d = |input - target|: 0.5 d^2 if d &lt;= delta, else delta (d - 0.5 delta). MEAN divides
   * by the number of elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.huber_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   */
  public void huberLoss(Tensor input, Tensor target) {
    huberLoss(input, target, HuberLossOptions.mean());
  }

  /**
   * with d = |input - target|: 0.5 d^2 if d &lt;= delta, else delta (d - 0.5 delta). MEAN divides
   * by the number of elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.huber_loss}
   *
   * @param input Any shape; float.
   * @param target Same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void huberLoss(Tensor input, Tensor target, HuberLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * target (ln target - input), or exp(target) (target - input) with logTarget. MEAN divides by the
   * number of elements, and always will; it is not the KL divergence. BATCH_MEAN, which is, divides
   * by the first extent.
   *
   * <p>{@code torch.nn.functional.kl_div}, reduced by its mean, with torch's defaults.
   *
   * @param input Log-probabilities, any shape; float.
   * @param target Probabilities, or log-probabilities with logTarget; same shape as input.
   */
  public void klDiv(Tensor input, Tensor target) {
    klDiv(input, target, KlDivOptions.mean());
  }

  /**
   * target (ln target - input), or exp(target) (target - input) with logTarget. MEAN divides by the
   * number of elements, and always will; it is not the KL divergence. BATCH_MEAN, which is, divides
   * by the first extent.
   *
   * <p>{@code torch.nn.functional.kl_div}
   *
   * @param input Log-probabilities, any shape; float.
   * @param target Probabilities, or log-probabilities with logTarget; same shape as input.
   * @param options its reduction and its options
   */
  public void klDiv(Tensor input, Tensor target, KlDivOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * exp(input) - target input, or input - target ln(input + eps) if logInput is false. {@code full}
   * adds Stirling's term if target &gt; 1. MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.poisson_nll_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input The log of the rate, or the rate (then &gt;= 0) if logInput is false. Any shape;
   *     float.
   * @param target Same shape as input; any type, cast to the input's.
   */
  public void poissonNllLoss(Tensor input, Tensor target) {
    poissonNllLoss(input, target, PoissonNllLossOptions.mean());
  }

  /**
   * exp(input) - target input, or input - target ln(input + eps) if logInput is false. {@code full}
   * adds Stirling's term if target &gt; 1. MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.poisson_nll_loss}
   *
   * @param input The log of the rate, or the rate (then &gt;= 0) if logInput is false. Any shape;
   *     float.
   * @param target Same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void poissonNllLoss(Tensor input, Tensor target, PoissonNllLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * 0.5 (ln v + (input - target)^2 / v) with v = max(variance, eps); {@code full} adds 0.5 ln(2
   * pi). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.gaussian_nll_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Any type, cast to the input's. It and input broadcast if the result has no more
   *     elements than the largest tensor.
   * @param var the variances, &gt;= 0. Same shape as input, or input's shape without its last
   *     extent, or input's rank with exactly one extent of 1.
   */
  public void gaussianNllLoss(Tensor input, Tensor target, Tensor var) {
    gaussianNllLoss(input, target, var, GaussianNllLossOptions.mean());
  }

  /**
   * 0.5 (ln v + (input - target)^2 / v) with v = max(variance, eps); {@code full} adds 0.5 ln(2
   * pi). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.gaussian_nll_loss}
   *
   * @param input Any shape; float.
   * @param target Any type, cast to the input's. It and input broadcast if the result has no more
   *     elements than the largest tensor.
   * @param var the variances, &gt;= 0. Same shape as input, or input's shape without its last
   *     extent, or input's rank with exactly one extent of 1.
   * @param options its reduction and its options
   */
  public void gaussianNllLoss(
      Tensor input, Tensor target, Tensor var, GaussianNllLossOptions<Loss> options) {
    update(options.call(input, target, var));
  }

  /**
   * 0.5 (ln v + (input - target)^2 / v) with v = max(variance, eps); {@code full} adds 0.5 ln(2
   * pi). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.gaussian_nll_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target Any type, cast to the input's. It and input broadcast if the result has no more
   *     elements than the largest tensor.
   * @param var one variance for all elements, &gt;= 0
   */
  public void gaussianNllLoss(Tensor input, Tensor target, double var) {
    gaussianNllLoss(input, target, var, GaussianNllLossOptions.mean());
  }

  /**
   * 0.5 (ln v + (input - target)^2 / v) with v = max(variance, eps); {@code full} adds 0.5 ln(2
   * pi). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.gaussian_nll_loss}
   *
   * @param input Any shape; float.
   * @param target Any type, cast to the input's. It and input broadcast if the result has no more
   *     elements than the largest tensor.
   * @param var one variance for all elements, &gt;= 0
   * @param options its reduction and its options
   */
  public void gaussianNllLoss(
      Tensor input, Tensor target, double var, GaussianNllLossOptions<Loss> options) {
    update(options.call(input, target, var));
  }

  /**
   * -weight[y] input[y]. MEAN divides by the sum of weight[y] over the targets not ignored; it is
   * NaN if all are ignored.
   *
   * <p>{@code torch.nn.functional.nll_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target Class indices in [0, C) or ignoreIndex: (), (N) or (N, d1, ..., dK); any integer
   *     type.
   */
  public void nllLoss(Tensor input, Tensor target) {
    nllLoss(input, target, NllLossOptions.mean());
  }

  /**
   * -weight[y] input[y]. MEAN divides by the sum of weight[y] over the targets not ignored; it is
   * NaN if all are ignored.
   *
   * <p>{@code torch.nn.functional.nll_loss}
   *
   * @param input Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target Class indices in [0, C) or ignoreIndex: (), (N) or (N, d1, ..., dK); any integer
   *     type.
   * @param options its reduction and its options
   */
  public void nllLoss(Tensor input, Tensor target, NllLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * with lp = log_softmax(input), s = labelSmoothing. Class indices: (1 - s) (-w[y] lp[y]) + s/C
   * sum_c(-w[c] lp[c]); MEAN divides by the sum of w[y] over the targets not ignored. Class
   * probabilities: -sum_c w[c] t'[c] lp[c] with t' = (1 - s) t + s/C; MEAN divides by N d1 ... dK.
   *
   * <p>{@code torch.nn.functional.cross_entropy}, reduced by its mean, with torch's defaults.
   *
   * @param input Logits: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target class indices if its type is an integer type: In [0, C) or ignoreIndex: (), (N)
   *     or (N, d1, ..., dK); any integer type. Class probabilities if its type is a float type:
   *     Same shape as input; float. Rows need not sum to 1.
   */
  public void crossEntropy(Tensor input, Tensor target) {
    crossEntropy(input, target, CrossEntropyOptions.mean());
  }

  /**
   * with lp = log_softmax(input), s = labelSmoothing. Class indices: (1 - s) (-w[y] lp[y]) + s/C
   * sum_c(-w[c] lp[c]); MEAN divides by the sum of w[y] over the targets not ignored. Class
   * probabilities: -sum_c w[c] t'[c] lp[c] with t' = (1 - s) t + s/C; MEAN divides by N d1 ... dK.
   *
   * <p>{@code torch.nn.functional.cross_entropy}
   *
   * @param input Logits: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target class indices if its type is an integer type: In [0, C) or ignoreIndex: (), (N)
   *     or (N, d1, ..., dK); any integer type. Class probabilities if its type is a float type:
   *     Same shape as input; float. Rows need not sum to 1.
   * @param options its reduction and its options
   */
  public void crossEntropy(Tensor input, Tensor target, CrossEntropyOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * -weight (t ln x + (1 - t) ln(1 - x)), the logs clamped at -100. MEAN divides by the number of
   * elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.binary_cross_entropy}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input Probabilities in [0, 1], any shape; float.
   * @param target In [0, 1], same shape as input; any type, cast to the input's.
   */
  public void binaryCrossEntropy(Tensor input, Tensor target) {
    binaryCrossEntropy(input, target, BinaryCrossEntropyOptions.mean());
  }

  /**
   * -weight (t ln x + (1 - t) ln(1 - x)), the logs clamped at -100. MEAN divides by the number of
   * elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.binary_cross_entropy}
   *
   * @param input Probabilities in [0, 1], any shape; float.
   * @param target In [0, 1], same shape as input; any type, cast to the input's.
   * @param options its reduction and its options
   */
  public void binaryCrossEntropy(
      Tensor input, Tensor target, BinaryCrossEntropyOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * BceLoss of sigmoid(input), computed stably; posWeight multiplies the positive term. MEAN
   * divides by the number of elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.binary_cross_entropy_with_logits}, reduced by its mean, with
   * torch's defaults.
   *
   * @param input Logits, any shape; float.
   * @param target Same shape as input; any type, cast to the input's. Values outside [0, 1] are
   *     accepted, as torch does.
   */
  public void binaryCrossEntropyWithLogits(Tensor input, Tensor target) {
    binaryCrossEntropyWithLogits(input, target, BinaryCrossEntropyWithLogitsOptions.mean());
  }

  /**
   * BceLoss of sigmoid(input), computed stably; posWeight multiplies the positive term. MEAN
   * divides by the number of elements, even if {@code weight} is set.
   *
   * <p>{@code torch.nn.functional.binary_cross_entropy_with_logits}
   *
   * @param input Logits, any shape; float.
   * @param target Same shape as input; any type, cast to the input's. Values outside [0, 1] are
   *     accepted, as torch does.
   * @param options its reduction and its options
   */
  public void binaryCrossEntropyWithLogits(
      Tensor input, Tensor target, BinaryCrossEntropyWithLogitsOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * ln(1 + exp(-target input)), in the stable softplus form: torch's own overflows if -target input
   * &gt; 88 in float32. MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.soft_margin_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input Any shape; float.
   * @param target 1 or -1; any type, cast to the input's. Broadcasts to input's shape and never
   *     enlarges it.
   */
  public void softMarginLoss(Tensor input, Tensor target) {
    softMarginLoss(input, target, SoftMarginLossOptions.mean());
  }

  /**
   * ln(1 + exp(-target input)), in the stable softplus form: torch's own overflows if -target input
   * &gt; 88 in float32. MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.soft_margin_loss}
   *
   * @param input Any shape; float.
   * @param target 1 or -1; any type, cast to the input's. Broadcasts to input's shape and never
   *     enlarges it.
   * @param options its reduction and its options
   */
  public void softMarginLoss(Tensor input, Tensor target, SoftMarginLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * sum over j != y of weight[y] max(0, margin - input[y] + input[j])^p / C. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.multi_margin_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input (C), (N, C) or () for one class; float.
   * @param target Class indices in [0, C): (N), or () or (1) if input is not (N, C); any integer
   *     type.
   */
  public void multiMarginLoss(Tensor input, Tensor target) {
    multiMarginLoss(input, target, MultiMarginLossOptions.mean());
  }

  /**
   * sum over j != y of weight[y] max(0, margin - input[y] + input[j])^p / C. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.multi_margin_loss}
   *
   * @param input (C), (N, C) or () for one class; float.
   * @param target Class indices in [0, C): (N), or () or (1) if input is not (N, C); any integer
   *     type.
   * @param options its reduction and its options
   */
  public void multiMarginLoss(Tensor input, Tensor target, MultiMarginLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * sum over labels j and non-labels i of max(0, 1 - (input[j] - input[i])) / C. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.multilabel_margin_loss}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input (C), (N, C) or () for one class; float.
   * @param target Class indices in [-1, C), same shape as input; any integer type. The first -1 of
   *     a row ends its labels.
   */
  public void multilabelMarginLoss(Tensor input, Tensor target) {
    multilabelMarginLoss(input, target, MultilabelMarginLossOptions.mean());
  }

  /**
   * sum over labels j and non-labels i of max(0, 1 - (input[j] - input[i])) / C. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.multilabel_margin_loss}
   *
   * @param input (C), (N, C) or () for one class; float.
   * @param target Class indices in [-1, C), same shape as input; any integer type. The first -1 of
   *     a row ends its labels.
   * @param options its reduction and its options
   */
  public void multilabelMarginLoss(
      Tensor input, Tensor target, MultilabelMarginLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * the mean over C of -weight (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)). MEAN divides by the
   * number of rows.
   *
   * <p>{@code torch.nn.functional.multilabel_soft_margin_loss}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input Logits (..., C), at least one extent; float.
   * @param target Same shape as input; any type, cast to the input's. Values outside [0, 1] are
   *     accepted, as torch does.
   */
  public void multilabelSoftMarginLoss(Tensor input, Tensor target) {
    multilabelSoftMarginLoss(input, target, MultilabelSoftMarginLossOptions.mean());
  }

  /**
   * the mean over C of -weight (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)). MEAN divides by the
   * number of rows.
   *
   * <p>{@code torch.nn.functional.multilabel_soft_margin_loss}
   *
   * @param input Logits (..., C), at least one extent; float.
   * @param target Same shape as input; any type, cast to the input's. Values outside [0, 1] are
   *     accepted, as torch does.
   * @param options its reduction and its options
   */
  public void multilabelSoftMarginLoss(
      Tensor input, Tensor target, MultilabelSoftMarginLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * max(0, -target (input1 - input2) + margin). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.margin_ranking_loss}, reduced by its mean, with torch's defaults.
   *
   * @param input1 Any shape; float.
   * @param input2 Of input1's rank; float. Extents of 1 broadcast if the result has no more
   *     elements than the largest tensor.
   * @param target 1 or -1, of input1's rank, broadcast alike; any type, cast to the inputs'.
   */
  public void marginRankingLoss(Tensor input1, Tensor input2, Tensor target) {
    marginRankingLoss(input1, input2, target, MarginRankingLossOptions.mean());
  }

  /**
   * max(0, -target (input1 - input2) + margin). MEAN divides by the number of elements.
   *
   * <p>{@code torch.nn.functional.margin_ranking_loss}
   *
   * @param input1 Any shape; float.
   * @param input2 Of input1's rank; float. Extents of 1 broadcast if the result has no more
   *     elements than the largest tensor.
   * @param target 1 or -1, of input1's rank, broadcast alike; any type, cast to the inputs'.
   * @param options its reduction and its options
   */
  public void marginRankingLoss(
      Tensor input1, Tensor input2, Tensor target, MarginRankingLossOptions<Loss> options) {
    update(options.call(input1, input2, target));
  }

  /**
   * input if target is 1, max(0, margin - input) if it is -1. MEAN divides by the number of
   * elements.
   *
   * <p>{@code torch.nn.functional.hinge_embedding_loss}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input Any shape; float.
   * @param target 1 or -1; any type, cast to the input's. It and input broadcast if the result has
   *     no more elements than the larger.
   */
  public void hingeEmbeddingLoss(Tensor input, Tensor target) {
    hingeEmbeddingLoss(input, target, HingeEmbeddingLossOptions.mean());
  }

  /**
   * input if target is 1, max(0, margin - input) if it is -1. MEAN divides by the number of
   * elements.
   *
   * <p>{@code torch.nn.functional.hinge_embedding_loss}
   *
   * @param input Any shape; float.
   * @param target 1 or -1; any type, cast to the input's. It and input broadcast if the result has
   *     no more elements than the larger.
   * @param options its reduction and its options
   */
  public void hingeEmbeddingLoss(
      Tensor input, Tensor target, HingeEmbeddingLossOptions<Loss> options) {
    update(options.call(input, target));
  }

  /**
   * 1 - cos(input1, input2) if target is 1, max(0, cos - margin) if it is -1. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.cosine_embedding_loss}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input1 (N, D) or (D); float.
   * @param input2 Same shape as input1; float.
   * @param target 1 or -1: (N) or (); any type, cast to the inputs'.
   */
  public void cosineEmbeddingLoss(Tensor input1, Tensor input2, Tensor target) {
    cosineEmbeddingLoss(input1, input2, target, CosineEmbeddingLossOptions.mean());
  }

  /**
   * 1 - cos(input1, input2) if target is 1, max(0, cos - margin) if it is -1. MEAN divides by N.
   *
   * <p>{@code torch.nn.functional.cosine_embedding_loss}
   *
   * @param input1 (N, D) or (D); float.
   * @param input2 Same shape as input1; float.
   * @param target 1 or -1: (N) or (); any type, cast to the inputs'.
   * @param options its reduction and its options
   */
  public void cosineEmbeddingLoss(
      Tensor input1, Tensor input2, Tensor target, CosineEmbeddingLossOptions<Loss> options) {
    update(options.call(input1, input2, target));
  }

  /**
   * max(0, d(a, p) - d(a, n) + margin) with d the p-norm of u - v + eps; swap replaces d(a, n) by
   * min(d(a, n), d(p, n)). MEAN divides by the number of rows.
   *
   * <p>{@code torch.nn.functional.triplet_margin_loss}, reduced by its mean, with torch's defaults.
   *
   * @param anchor (..., D), at least one extent; float.
   * @param positive Same shape as anchor; float.
   * @param negative Same shape as anchor; float.
   */
  public void tripletMarginLoss(Tensor anchor, Tensor positive, Tensor negative) {
    tripletMarginLoss(anchor, positive, negative, TripletMarginLossOptions.mean());
  }

  /**
   * max(0, d(a, p) - d(a, n) + margin) with d the p-norm of u - v + eps; swap replaces d(a, n) by
   * min(d(a, n), d(p, n)). MEAN divides by the number of rows.
   *
   * <p>{@code torch.nn.functional.triplet_margin_loss}
   *
   * @param anchor (..., D), at least one extent; float.
   * @param positive Same shape as anchor; float.
   * @param negative Same shape as anchor; float.
   * @param options its reduction and its options
   */
  public void tripletMarginLoss(
      Tensor anchor, Tensor positive, Tensor negative, TripletMarginLossOptions<Loss> options) {
    update(options.call(anchor, positive, negative));
  }

  /**
   * TripletMarginLoss with one of a closed set of distances. MEAN divides by the number of rows.
   *
   * <p>{@code torch.nn.functional.triplet_margin_with_distance_loss}, reduced by its mean, with
   * torch's defaults.
   *
   * @param anchor (..., D), at least one extent; float.
   * @param positive Same shape as anchor; float.
   * @param negative Same shape as anchor; float.
   */
  public void tripletMarginWithDistanceLoss(Tensor anchor, Tensor positive, Tensor negative) {
    tripletMarginWithDistanceLoss(
        anchor, positive, negative, TripletMarginWithDistanceLossOptions.mean());
  }

  /**
   * TripletMarginLoss with one of a closed set of distances. MEAN divides by the number of rows.
   *
   * <p>{@code torch.nn.functional.triplet_margin_with_distance_loss}
   *
   * @param anchor (..., D), at least one extent; float.
   * @param positive Same shape as anchor; float.
   * @param negative Same shape as anchor; float.
   * @param options its reduction and its options
   */
  public void tripletMarginWithDistanceLoss(
      Tensor anchor,
      Tensor positive,
      Tensor negative,
      TripletMarginWithDistanceLossOptions<Loss> options) {
    update(options.call(anchor, positive, negative));
  }

  /**
   * -ln p(target | logProbs) under connectionist temporal classification. MEAN is the mean over N
   * of loss / max(target_length, 1); SUM is the plain sum.
   *
   * <p>{@code torch.nn.functional.ctc_loss}, reduced by its mean, with torch's defaults.
   *
   * @param logProbs Log-probabilities: (T, N, C) or (T, C); float.
   * @param targets Class indices in [0, C) without {@code blank}, any integer type. Padded: (N, S),
   *     or (S) if logProbs is (T, C). Entries beyond a target's length are not read. Or
   *     concatenated: (sum of targetLengths): the targets one after the other.
   * @param inputLengths N lengths, each in [0, T]; one length if logProbs is (T, C).
   * @param targetLengths N lengths, each in [0, S]; one length if logProbs is (T, C).
   */
  public void ctcLoss(Tensor logProbs, Tensor targets, long[] inputLengths, long[] targetLengths) {
    ctcLoss(logProbs, targets, inputLengths, targetLengths, CtcLossOptions.mean());
  }

  /**
   * -ln p(target | logProbs) under connectionist temporal classification. MEAN is the mean over N
   * of loss / max(target_length, 1); SUM is the plain sum.
   *
   * <p>{@code torch.nn.functional.ctc_loss}
   *
   * @param logProbs Log-probabilities: (T, N, C) or (T, C); float.
   * @param targets Class indices in [0, C) without {@code blank}, any integer type. Padded: (N, S),
   *     or (S) if logProbs is (T, C). Entries beyond a target's length are not read. Or
   *     concatenated: (sum of targetLengths): the targets one after the other.
   * @param inputLengths N lengths, each in [0, T]; one length if logProbs is (T, C).
   * @param targetLengths N lengths, each in [0, S]; one length if logProbs is (T, C).
   * @param options its reduction and its options
   */
  public void ctcLoss(
      Tensor logProbs,
      Tensor targets,
      long[] inputLengths,
      long[] targetLengths,
      CtcLossOptions<Loss> options) {
    update(options.call(logProbs, targets, inputLengths, targetLengths));
  }

  /**
   * applied with the caller's parameters: -log p(target). MEAN divides by N. SUM and NONE are ours:
   * NONE is minus torch's {@code output}.
   *
   * <p>{@code torch.nn.AdaptiveLogSoftmaxWithLoss}, reduced by its mean, with torch's defaults.
   *
   * @param input (N, F) or (F); float.
   * @param target Class indices in [0, n_classes): (N) or (); any integer type.
   * @param headWeight (cutoffs[0] + number of tails, F); float. {@code head.weight} of the module's
   *     state.
   * @param tail One for each cutoff, innermost first. {@code tail.i.0.weight} and {@code
   *     tail.i.1.weight}.
   * @param cutoffs Increasing, &gt;= 1, without n_classes, which is the last cutoff plus the last
   *     tail's size.
   */
  public void adaptiveLogSoftmaxWithLoss(
      Tensor input,
      Tensor target,
      Tensor headWeight,
      List<AdaptiveTailCluster> tail,
      long[] cutoffs) {
    adaptiveLogSoftmaxWithLoss(
        input, target, headWeight, tail, cutoffs, AdaptiveLogSoftmaxWithLossOptions.mean());
  }

  /**
   * applied with the caller's parameters: -log p(target). MEAN divides by N. SUM and NONE are ours:
   * NONE is minus torch's {@code output}.
   *
   * <p>{@code torch.nn.AdaptiveLogSoftmaxWithLoss}
   *
   * @param input (N, F) or (F); float.
   * @param target Class indices in [0, n_classes): (N) or (); any integer type.
   * @param headWeight (cutoffs[0] + number of tails, F); float. {@code head.weight} of the module's
   *     state.
   * @param tail One for each cutoff, innermost first. {@code tail.i.0.weight} and {@code
   *     tail.i.1.weight}.
   * @param cutoffs Increasing, &gt;= 1, without n_classes, which is the last cutoff plus the last
   *     tail's size.
   * @param options its reduction and its options
   */
  public void adaptiveLogSoftmaxWithLoss(
      Tensor input,
      Tensor target,
      Tensor headWeight,
      List<AdaptiveTailCluster> tail,
      long[] cutoffs,
      AdaptiveLogSoftmaxWithLossOptions<Loss> options) {
    update(options.call(input, target, headWeight, tail, cutoffs));
  }

  /**
   * CrossEntropyLoss of input linearWeight^T + linearBias, computed in chunks of rows so that the
   * logits are never held at once.
   *
   * <p>{@code torch.nn.functional.linear_cross_entropy}, reduced by its mean, with torch's
   * defaults.
   *
   * @param input (N, F) or (F); float.
   * @param linearWeight (C, F), or (C, d1, ..., dK, F) if input is (N, F); float.
   * @param target class indices if its type is an integer type: In [0, C) or ignoreIndex: (), (N)
   *     or (N, d1, ..., dK); any integer type. Class probabilities if its type is a float type:
   *     (C), (N, C) or (N, C, d1, ..., dK); float. Rows need not sum to 1.
   */
  public void linearCrossEntropy(Tensor input, Tensor linearWeight, Tensor target) {
    linearCrossEntropy(input, linearWeight, target, LinearCrossEntropyOptions.mean());
  }

  /**
   * CrossEntropyLoss of input linearWeight^T + linearBias, computed in chunks of rows so that the
   * logits are never held at once.
   *
   * <p>{@code torch.nn.functional.linear_cross_entropy}
   *
   * @param input (N, F) or (F); float.
   * @param linearWeight (C, F), or (C, d1, ..., dK, F) if input is (N, F); float.
   * @param target class indices if its type is an integer type: In [0, C) or ignoreIndex: (), (N)
   *     or (N, d1, ..., dK); any integer type. Class probabilities if its type is a float type:
   *     (C), (N, C) or (N, C, d1, ..., dK); float. Rows need not sum to 1.
   * @param options its reduction and its options
   */
  public void linearCrossEntropy(
      Tensor input, Tensor linearWeight, Tensor target, LinearCrossEntropyOptions<Loss> options) {
    update(options.call(input, linearWeight, target));
  }
}
