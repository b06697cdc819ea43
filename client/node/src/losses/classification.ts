// SPDX-License-Identifier: Apache-2.0

import { rankOf, type TensorLike } from "../tensor.js";
import { classes, floats, indices, optional, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";
import { DistributionLosses } from "./distribution.js";

/** Options of {@link ClassificationLosses.nllLoss}. */
export interface NllOptions {
  /** One weight for each class: (C), finite. */
  weight?: TensorLike;
  /** The class of targets to leave out, by default -100; may be a valid class. */
  ignoreIndex?: number | bigint;
}

/** Options of {@link ClassificationLosses.crossEntropy}. */
export interface CrossEntropyOptions {
  /** One weight for each class: (C), finite. */
  weight?: TensorLike;
  /** The class of targets to leave out, by default -100; may be a valid class. Only with class indices. */
  ignoreIndex?: number | bigint;
  /** In [0, 1], by default 0. */
  labelSmoothing?: number;
}

/** Options of {@link ClassificationLosses.binaryCrossEntropy}. */
export interface BinaryCrossEntropyOptions {
  /** Broadcasts to input's shape without enlarging it. */
  weight?: TensorLike;
}

/** Options of {@link ClassificationLosses.binaryCrossEntropyWithLogits}. */
export interface BinaryCrossEntropyWithLogitsOptions extends BinaryCrossEntropyOptions {
  /** Broadcasts to input's shape without enlarging it; (C) for inputs of (N, C). */
  posWeight?: TensorLike;
}

/** Options of losses whose targets are 1 and -1. */
export interface AnyTargetOptions {
  /** Also computes other targets with the same formula, as torch does. By default they are refused. */
  allowAnyTarget?: boolean;
}

/** Options of {@link ClassificationLosses.multiMarginLoss}. */
export interface MultiMarginOptions {
  /** 1 or 2, by default 1. */
  p?: number;
  /** Finite, by default 1. */
  margin?: number;
  /** One weight for each class: (C), finite. */
  weight?: TensorLike;
}

/** Losses of class scores against one class, or one probability, per element or row. */
export abstract class ClassificationLosses<A extends Answers> extends DistributionLosses<A> {
  /**
   * -weight[y] input[y]; the mean divides by the sum of weight[y] over the targets not ignored, and is NaN if all are.
   * torch.nn.functional.nll_loss.
   *
   * @param input - Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target - Class indices in [0, C) or ignoreIndex: (), (N) or (N, d1, ..., dK); any integer type.
   */
  nllLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: NllOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("NllLoss", options, () => ({
      input: floats(input, "input"),
      target: indices(target, "target"),
      weight: optional(options.weight, "weight"),
      ignoreIndex: options.ignoreIndex,
    }));
  }

  /**
   * (1 - s) (-w[y] lp[y]) + s/C sum_c(-w[c] lp[c]) for class indices, -sum_c w[c] t'[c] lp[c] for class probabilities, with
   * lp = log_softmax(input), s = labelSmoothing, t' = (1 - s) target + s/C. The mean divides by the sum of w[y] over the targets not
   * ignored for indices, by the number of targets for probabilities.
   * torch.nn.functional.cross_entropy.
   *
   * @param input - Logits: (C), (N, C) or (N, C, d1, ..., dK); float.
   * @param target - An integer type holds class indices in [0, C) or ignoreIndex: (), (N) or (N, d1, ..., dK). A float type holds class
   *   probabilities of the shape of input. Numbers in nested arrays are taken as the one whose rank they have.
   */
  crossEntropy<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: CrossEntropyOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("CrossEntropyLoss", options, () => ({
      input: floats(input, "input"),
      ignoreIndex: options.ignoreIndex,
      ...classes(target, rankOf(input), options.ignoreIndex),
      weight: optional(options.weight, "weight"),
      labelSmoothing: options.labelSmoothing,
    }));
  }

  /**
   * -weight (t ln x + (1 - t) ln(1 - x)), the logs clamped at -100; the mean divides by the number of elements.
   * torch.nn.functional.binary_cross_entropy.
   *
   * @param input - Probabilities in [0, 1], any shape; float.
   * @param target - In [0, 1], the shape of input; any type, cast to input's.
   */
  binaryCrossEntropy<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: BinaryCrossEntropyOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("BceLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      weight: optional(options.weight, "weight"),
    }));
  }

  /**
   * binaryCrossEntropy of sigmoid(input), stably; posWeight multiplies the positive term. The mean divides by the number of
   * elements.
   * torch.nn.functional.binary_cross_entropy_with_logits.
   *
   * @param input - Logits, any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  binaryCrossEntropyWithLogits<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: BinaryCrossEntropyWithLogitsOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("BceWithLogitsLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      weight: optional(options.weight, "weight"),
      posWeight: optional(options.posWeight, "posWeight"),
    }));
  }

  /**
   * ln(1 + exp(-target input)), stably; the mean divides by the number of elements.
   * torch.nn.functional.soft_margin_loss.
   *
   * @param input - Any shape; float.
   * @param target - 1 or -1; any type, cast to input's. It broadcasts to the shape of input.
   */
  softMarginLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: AnyTargetOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("SoftMarginLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      allowAnyTarget: options.allowAnyTarget,
    }));
  }

  /**
   * sum over j != y of weight[y] max(0, margin - input[y] + input[j])^p / C; the mean divides by N.
   * torch.nn.functional.multi_margin_loss.
   *
   * @param input - (C) or (N, C); float.
   * @param target - Class indices in [0, C): () or (N); any integer type.
   */
  multiMarginLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: MultiMarginOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("MultiMarginLoss", options, () => ({
      input: floats(input, "input"),
      target: indices(target, "target"),
      p: options.p,
      margin: options.margin,
      weight: optional(options.weight, "weight"),
    }));
  }
}
