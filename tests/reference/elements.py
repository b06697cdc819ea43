# SPDX-License-Identifier: Apache-2.0
"""Reference of the losses that have one value an element. d is the distance, x the input, t the target."""

from typing import Any

import numpy as np

from reference.result import Array, Result, logit_bce, plain, softplus


def l1_loss(input: Array, target: Array, weight: Array | None = None) -> Result:
    d = np.abs(input - target)
    return plain(d) if weight is None else plain(d * weight, weight.sum())


def mse_loss(input: Array, target: Array, weight: Array | None = None) -> Result:
    d = input - target
    return plain(d * d) if weight is None else plain(d * d * weight, weight.sum())


def smooth_l1_loss(input: Array, target: Array, beta: float = 1.0) -> Result:
    d = np.abs(input - target)
    return plain(d if beta == 0 else np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta))


def huber_loss(input: Array, target: Array, delta: float = 1.0, weight: Array | None = None) -> Result:
    """The weight does not normalise."""
    d = np.abs(input - target)
    loss = np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))
    return plain(loss if weight is None else loss * weight)


def kl_div(input: Array, target: Array, log_target: bool = False) -> Result:
    """0 ln 0 is 0 for probabilities; log-probabilities of minus infinity are NaN, as 0 times infinity."""
    if log_target:
        return plain(np.exp(target) * (target - input))
    entropy = np.where(target == 0, 0.0, target * np.log(target))
    return plain(entropy - target * input)


def poisson_nll_loss(input: Array, target: Array, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Result:
    """Stirling: t ln t - t + ln(2 pi t) / 2, if t > 1."""
    loss = np.exp(input) - target * input if log_input else input - target * np.log(input + eps)
    if full:
        t = np.where(target > 1, target, 1.0)
        loss = loss + np.where(target > 1, t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t), 0.0)
    return plain(loss)


def gaussian_nll_loss(input: Array, target: Array, var: Any, full: bool = False, eps: float = 1e-6) -> Result:
    """v = max(var, eps); (ln v + (x - t)^2 / v) / 2, full adds ln(2 pi) / 2."""
    v = np.asarray(var, np.float64)
    if 0 < v.ndim == input.ndim - 1:
        v = v[..., None]
    v = np.maximum(v, eps)
    return plain(0.5 * (np.log(v) + (input - target) ** 2 / v) + (0.5 * np.log(2 * np.pi) if full else 0.0))


def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None) -> Result:
    """The logs are clamped at -100; the weight does not normalise."""
    loss = -(target * np.maximum(np.log(input), -100) + (1 - target) * np.maximum(np.log1p(-input), -100))
    return plain(loss if weight is None else loss * weight)


def binary_cross_entropy_with_logits(input: Array, target: Array, weight: Array | None = None, pos_weight: Array | None = None) -> Result:
    loss = logit_bce(input, target, 1.0 if pos_weight is None else pos_weight)
    return plain(loss if weight is None else loss * weight)


def soft_margin_loss(input: Array, target: Array) -> Result:
    return plain(softplus(-target * input))


def margin_ranking_loss(input1: Array, input2: Array, target: Array, margin: float = 0) -> Result:
    return plain(np.maximum(0, -target * (input1 - input2) + margin))


def hinge_embedding_loss(input: Array, target: Array, margin: float = 1.0) -> Result:
    """A target other than 1 and -1 has both."""
    return plain(np.where(target != -1, input, 0.0) + np.where(target != 1, np.maximum(0, margin - input), 0.0))
