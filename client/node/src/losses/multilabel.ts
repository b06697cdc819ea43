// SPDX-License-Identifier: Apache-2.0

import type { TensorLike } from "../tensor.js";
import { floats, indices, optional, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";
import { ClassificationLosses } from "./classification.js";

/** Options of {@link MultilabelLosses.multilabelSoftMarginLoss}. */
export interface MultilabelSoftMarginOptions {
  /** (C), or broadcasts to input's shape without enlarging it. */
  weight?: TensorLike;
}

/** Losses of class scores against any number of classes per row. */
export abstract class MultilabelLosses<A extends Answers> extends ClassificationLosses<A> {
  /**
   * sum over labels j and non-labels i of max(0, 1 - (input[j] - input[i])) / C; the mean divides by N.
   * torch.nn.functional.multilabel_margin_loss.
   *
   * @param input - (C) or (N, C); float.
   * @param target - Class indices in [-1, C), the shape of input; any integer type. The first -1 of a row ends its labels.
   */
  multilabelMarginLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("MultiLabelMarginLoss", options, () => ({
      input: floats(input, "input"),
      target: indices(target, "target"),
    }));
  }

  /**
   * The mean over C of -weight (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)); the mean divides by the number of rows.
   * torch.nn.functional.multilabel_soft_margin_loss.
   *
   * @param input - Logits (..., C); float.
   * @param target - The shape of input; any type, cast to input's.
   */
  multilabelSoftMarginLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: MultilabelSoftMarginOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("MultiLabelSoftMarginLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      weight: optional(options.weight, "weight"),
    }));
  }
}
