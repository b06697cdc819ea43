// SPDX-License-Identifier: Apache-2.0

import { rankOf, type TensorLike } from "../tensor.js";
import { floats, indices, integers, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";
import { EmbeddingLosses } from "./embedding.js";

/** Options of {@link SequenceLosses.ctcLoss}. */
export interface CtcOptions {
  /** In [0, C), by default 0. */
  blank?: number;
  /** Infinite losses, of inputs too short for their targets, become zero and count as ignored. By default false. */
  zeroInfinity?: boolean;
}

/** Losses of sequences. */
export abstract class SequenceLosses<A extends Answers> extends EmbeddingLosses<A> {
  /**
   * -ln p(targets | logProbs) under connectionist temporal classification. The mean is the mean over N of
   * loss / max(targetLength, 1).
   * torch.nn.functional.ctc_loss.
   *
   * @param logProbs - Log-probabilities: (T, N, C) or (T, C); float.
   * @param targets - Class indices in [0, C) without blank, any integer type: (N, S), or (S) with logProbs of (T, C); or concatenated, (sum of
   *   targetLengths).
   * @param inputLengths - N lengths in [0, T]; one, or a number, with logProbs of (T, C).
   * @param targetLengths - N lengths in [0, S]; one, or a number, with logProbs of (T, C).
   */
  ctcLoss<R extends Reduction = "mean", S extends boolean = false>(
    logProbs: TensorLike,
    targets: TensorLike,
    inputLengths: TensorLike,
    targetLengths: TensorLike,
    options: CtcOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("CtcLoss", options, () => ({
      logProbs: floats(logProbs, "logProbs"),
      [rankOf(targets) === 2 || rankOf(logProbs) === 2 ? "paddedTargets" : "concatenatedTargets"]: indices(targets, "targets"),
      inputLengths: integers(inputLengths, "inputLengths"),
      targetLengths: integers(targetLengths, "targetLengths"),
      blank: options.blank,
      zeroInfinity: options.zeroInfinity,
    }));
  }
}
