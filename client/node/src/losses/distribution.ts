// SPDX-License-Identifier: Apache-2.0

import type { TensorLike } from "../tensor.js";
import { floats, type Answer, type Answers, type LossOptions, type Reduction } from "./caller.js";
import { RegressionLosses } from "./regression.js";

/** Options of {@link DistributionLosses.klDiv}. */
export interface KlDivOptions {
  /** The target holds log-probabilities. By default false. */
  logTarget?: boolean;
}

/** Options of {@link DistributionLosses.poissonNllLoss}. */
export interface PoissonNllOptions {
  /** The input is the log of the rate. By default true. */
  logInput?: boolean;
  /** Adds Stirling's term if target \> 1. By default false. */
  full?: boolean;
  /** Finite, \> 0, by default 1e-8. */
  eps?: number;
}

/** Options of {@link DistributionLosses.gaussianNllLoss}. */
export interface GaussianNllOptions {
  /** Adds 0.5 ln(2 pi). By default false. */
  full?: boolean;
  /** Finite, \> 0, by default 1e-6. */
  eps?: number;
}

/** Negative log-likelihoods and divergences of distributions. */
export abstract class DistributionLosses<A extends Answers> extends RegressionLosses<A> {
  /**
   * target (ln target - input), or exp(target) (target - input) with logTarget. `"mean"` divides by the number of
   * elements and is not the KL divergence; `"batchmean"`, which is, divides by the first extent.
   * torch.nn.functional.kl_div.
   *
   * @param input - Log-probabilities, any shape; float.
   * @param target - Probabilities, or log-probabilities with logTarget; the shape of input.
   */
  klDiv<R extends Reduction | "batchmean" = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: KlDivOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("KlDivLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      logTarget: options.logTarget,
    }));
  }

  /**
   * exp(input) - target input, or input - target ln(input + eps) without logInput; the mean divides by the number of
   * elements.
   * torch.nn.functional.poisson_nll_loss.
   *
   * @param input - The log of the rate, or the rate, \>= 0, without logInput. Any shape; float.
   * @param target - The shape of input; any type, cast to input's.
   */
  poissonNllLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    options: PoissonNllOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("PoissonNllLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      logInput: options.logInput,
      full: options.full,
      eps: options.eps,
    }));
  }

  /**
   * 0.5 (ln v + (input - target)^2 / v) with v = max(var, eps); the mean divides by the number of elements.
   * torch.nn.functional.gaussian_nll_loss.
   *
   * @param input - Any shape; float.
   * @param target - Any type, cast to input's. It broadcasts, if the result has no more elements than the largest argument.
   * @param variance - \>= 0; torch's `var`. A number; or the shape of input, that shape without its last extent, or its rank with exactly
   *   one extent of 1.
   */
  gaussianNllLoss<R extends Reduction = "mean", S extends boolean = false>(
    input: TensorLike,
    target: TensorLike,
    variance: TensorLike,
    options: GaussianNllOptions & LossOptions<R, S> & A["control"] = {},
  ): Answer<A, R, S> {
    return this.call("GaussianNllLoss", options, () => ({
      input: floats(input, "input"),
      target: floats(target, "target"),
      ...(typeof variance === "number" ? { varianceScalar: variance } : { varianceValues: floats(variance, "variance") }),
      full: options.full,
      eps: options.eps,
    }));
  }
}
