# SPDX-License-Identifier: Apache-2.0
"""KL divergence, Poisson and Gaussian negative log-likelihood."""

import math

import torch
import torch.nn.functional as F

from lossd_server.errors import ShapeMismatch, ValueOutOfRange
from lossd_server.losses import checks
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Flag, Kind, LossSpec, Real, Tensor
from lossd_server.losses.tensor import Array


def kl_div(input: torch.Tensor, target: torch.Tensor, log_target: bool) -> torch.Tensor:
    """t (ln t - x), or exp(t) (t - x) with log_target. torch.nn.functional.kl_div."""
    return F.kl_div(input, target, reduction="none", log_target=log_target)


def poisson_nll_loss(input: torch.Tensor, target: torch.Tensor, log_input: bool, full: bool, eps: float) -> torch.Tensor:
    """exp(x) - t x, or x - t ln(x + eps); full adds t ln t - t + 0.5 ln(2 pi t) if t > 1. torch.nn.functional.poisson_nll_loss."""
    return F.poisson_nll_loss(input, target, log_input=log_input, full=full, eps=eps, reduction="none")


def gaussian_nll_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    full: bool,
    eps: float,
    variance_values: torch.Tensor | None = None,
    variance_scalar: float | None = None,
) -> torch.Tensor:
    """0.5 (ln v + (x - t)^2 / v) with v = max(variance, eps); full adds 0.5 ln(2 pi). torch.nn.functional.gaussian_nll_loss.

    Written out, because torch's function waits for the device to find negative variances, which the checks have rejected already.
    """
    variance = torch.full_like(input, variance_scalar or 0.0) if variance_values is None else variance_values
    variance = variance.clamp(min=eps)
    loss = (input - target).square_().div_(variance).add_(variance.log_()).mul_(0.5)
    return loss.add_(0.5 * math.log(2 * math.pi)) if full else loss


# -- columns


def _rates(arguments: Arguments) -> None:
    if not arguments["log_input"]:
        checks.non_negative("input")(arguments)


def _variances(arguments: Arguments) -> None:
    if "variance_values" in arguments:
        checks.non_negative("variance_values")(arguments)


_gaussian_pair = checks.broadcasting("input", "target")


def _gaussian_columns(arguments: Arguments) -> Arrangement:
    arrangement = _gaussian_pair(arguments)
    if "variance_values" in arguments:
        variance = _variance_of(arguments["variance_values"], arguments["input"].shape)
        variance = checks.expanded(variance, arrangement.output_shape, "variance_values")
        arrangement.columns["variance_values"] = variance.reshaped(arrangement.rows)
    elif arguments["variance_scalar"] < 0:
        raise ValueOutOfRange("variance_scalar", f"is {arguments['variance_scalar']}; it must be >= 0")
    return arrangement


def _variance_of(variance: Array, shape: tuple[int, ...]) -> Array:
    """One variance for each element, for each row, or for all elements that differ in one extent only."""
    if shape and variance.shape == shape[:-1]:
        variance = variance.reshaped(*variance.shape, 1)
    differing = [mine for mine, its in zip(variance.shape, shape, strict=False) if mine != its]
    if len(variance.shape) != len(shape) or differing not in ([], [1]):
        raise ShapeMismatch(
            "variance_values",
            f"has shape {list(variance.shape)}; it must be input's shape {list(shape)}, or that without its last extent, "
            "or that with one extent replaced by 1",
        )
    return variance


_PAIR = {"input": Tensor(Kind.FLOAT), "target": Tensor(Kind.REAL)}

SPECS = (
    LossSpec(
        name="kl_div",
        rpc="KlDivLoss",
        arguments={**_PAIR, "log_target": Flag()},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.elementwise("input", "target"),
        kernel=kl_div,
        workspace_factor=4.0,
        batch_mean=True,
        nanoseconds_per_operation=5.0,
    ),
    LossSpec(
        name="poisson_nll_loss",
        rpc="PoissonNllLoss",
        arguments={**_PAIR, "log_input": Flag(True), "full": Flag(), "eps": Real(1e-8, above=0.0)},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.elementwise("input", "target"),
        check_values=checks.all_of(_rates),
        kernel=poisson_nll_loss,
        workspace_factor=8.0,
        nanoseconds_per_operation=5.0,
    ),
    LossSpec(
        name="gaussian_nll_loss",
        rpc="GaussianNllLoss",
        arguments={
            **_PAIR,
            "variance_values": Tensor(Kind.REAL, required=False),
            "variance_scalar": Real(None, finite=False),
            "full": Flag(),
            "eps": Real(1e-6, above=0.0),
        },
        one_of=(("variance_values", "variance_scalar"),),
        coalescing=Coalescing.ELEMENTS,
        to_columns=_gaussian_columns,
        check_values=checks.all_of(_variances),
        kernel=gaussian_nll_loss,
        workspace_factor=3.0,
        nanoseconds_per_operation=4.0,
    ),
)
