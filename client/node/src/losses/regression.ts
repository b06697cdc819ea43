// SPDX-License-Identifier: Apache-2.0

import type { TensorLike } from "../tensor.js";
import { Caller, floats, optional, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";

/** Options of {@link RegressionLosses.l1Loss} and {@link RegressionLosses.mseLoss}. */
export interface WeightedOptions {
  /** The shape of input. */
  weight?: TensorLike;
}

/** Options of {@link RegressionLosses.smoothL1Loss}. */
export interface SmoothL1Options {
  /** Finite, \>= 0, by default 1; 0 makes it the L1 loss. */
  beta?: number;
}

/** Options of {@link RegressionLosses.huberLoss}. */
export interface HuberOptions extends WeightedOptions {
  /** \> 0, by default 1; infinity is allowed. */
  delta?: number;
}

/** Element-wise distances between an input and a target of one shape. */
export abstract class RegressionLosses<A extends Answers> extends Caller<A> {
  /**
   * |input - target|, times weight; the mean divides by the number of elements, or by sum(weight).
   * torch.nn.functional.l1_loss.
   *
   * @param input - Any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  l1Loss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: WeightedOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("L1Loss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      weight: optional(options.weight, "weight"),
    }));
  }

  /**
   * (input - target)^2, times weight; the mean divides by the number of elements, or by sum(weight).
   * torch.nn.functional.mse_loss.
   *
   * @param input - Any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  mseLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: WeightedOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("MseLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      weight: optional(options.weight, "weight"),
    }));
  }

  /**
   * 0.5 d^2 / beta if d = |input - target| \< beta, else d - 0.5 beta; the mean divides by the number of elements.
   * torch.nn.functional.smooth_l1_loss.
   *
   * @param input - Any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  smoothL1Loss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: SmoothL1Options & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("SmoothL1Loss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      beta: options.beta,
    }));
  }

  /**
   * 0.5 d^2 if d = |input - target| \<= delta, else delta (d - 0.5 delta), times weight; the mean divides by the number of
   * elements, even with a weight. torch.nn.functional.huber_loss.
   *
   * @param input - Any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  huberLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: HuberOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("HuberLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      delta: options.delta,
      weight: optional(options.weight, "weight"),
    }));
  }
}
