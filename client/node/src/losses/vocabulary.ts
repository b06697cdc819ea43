// SPDX-License-Identifier: Apache-2.0

import { rankOf, type TensorLike } from "../tensor.js";
import {
  classes,
  floats,
  indices,
  integers,
  optional,
  type Answer,
  type Answers,
  type LossOptions,
  type Reduction,
} from "./caller.js";
import type { CrossEntropyOptions } from "./classification.js";
import { SequenceLosses } from "./sequence.js";

/** Options of {@link VocabularyLosses.linearCrossEntropy}. */
export interface LinearCrossEntropyOptions extends CrossEntropyOptions {
  /** (C) or (C, d1, ..., dK); float. */
  linearBias?: TensorLike;
}

/** One tail cluster of an adaptive softmax. */
export interface TailCluster {
  /** (h, F) with h \>= 1; float. The module's `tail.i.0.weight`. */
  projection: TensorLike;
  /** (classes of the cluster, h); float. The module's `tail.i.1.weight`. */
  output: TensorLike;
}

/** The parameters of {@link VocabularyLosses.adaptiveLogSoftmaxWithLoss}: those of torch's module. */
export interface AdaptiveLogSoftmaxOptions {
  /** (cutoffs[0] + number of tails, F); the module's `head.weight`. */
  headWeight: TensorLike;
  /** One for each cutoff. */
  tail: readonly TailCluster[];
  /** Increasing, \>= 1, without n_classes. */
  cutoffs: readonly number[] | readonly bigint[];
  /** (cutoffs[0] + number of tails); the module's `head.bias`. */
  headBias?: TensorLike;
}

/** Losses over large vocabularies, computed from features. */
export abstract class VocabularyLosses<A extends Answers> extends SequenceLosses<A> {
  /**
   * crossEntropy of input linearWeight^T + linearBias, without holding all logits in memory at once.
   * torch.nn.functional.linear_cross_entropy.
   *
   * @param input - (N, F) or (F); float.
   * @param linearWeight - (C, F), or (C, d1, ..., dK, F) with input of (N, F); float.
   * @param target - As crossEntropy's for logits of (C), (N, C) or (N, C, d1, ..., dK).
   */
  linearCrossEntropy<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    linearWeight: TensorLike,
    target: TensorLike,
    options: LinearCrossEntropyOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("LinearCrossEntropyLoss", options, () => ({
      input: floats(input, "input"),
      linearWeight: floats(linearWeight, "linearWeight"),
      ...classes(target, rankOf(input) + rankOf(linearWeight) - 2),
      linearBias: optional(options.linearBias, "linearBias"),
      weight: optional(options.weight, "weight"),
      ignoreIndex: options.ignoreIndex,
      labelSmoothing: options.labelSmoothing,
    }));
  }

  /**
   * -log p(target) of torch.nn.AdaptiveLogSoftmaxWithLoss with these parameters; the mean divides by N. `"sum"` and `"none"` are
   * extensions: `"none"` is minus the module's `output`.
   * torch.nn.AdaptiveLogSoftmaxWithLoss.
   *
   * @param input - (N, F) or (F); float.
   * @param target - Class indices in [0, n_classes): (N) or (); any integer type.
   */
  adaptiveLogSoftmaxWithLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: AdaptiveLogSoftmaxOptions & LossOptions<R, S> & A["control"],
  ): Answer<A, R, S> {
    return this.call("AdaptiveLogSoftmaxWithLoss", options, () => ({
      input: floats(input, "input"),
      target: indices(target, "target"),
      headWeight: floats(options.headWeight, "headWeight"),
      headBias: optional(options.headBias, "headBias"),
      tail: options.tail.map(({ projection, output }, i) => ({
        projection: floats(projection, `tail[${i}].projection`),
        output: floats(output, `tail[${i}].output`),
      })),
      cutoffs: integers(options.cutoffs, "cutoffs"),
    }));
  }
}
