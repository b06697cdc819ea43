# SPDX-License-Identifier: Apache-2.0
"""L1, MSE, smooth L1 and Huber: element-wise distances between an input and a target of one shape."""

import torch
import torch.nn.functional as F

from lossd_server.losses.checks import elementwise
from lossd_server.losses.spec import Coalescing, Kind, LossSpec, Real, Tensor, Unreduced


def l1_loss(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Unreduced:
    """|x - t|, times w; MEAN divides by sum(w). torch.nn.functional.l1_loss."""
    loss = F.l1_loss(input, target, reduction="none")
    return Unreduced(loss) if weight is None else Unreduced(loss * weight, mean_denominator=weight)


def mse_loss(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Unreduced:
    """(x - t)^2, times w; MEAN divides by sum(w). torch.nn.functional.mse_loss."""
    loss = F.mse_loss(input, target, reduction="none")
    return Unreduced(loss) if weight is None else Unreduced(loss * weight, mean_denominator=weight)


def smooth_l1_loss(input: torch.Tensor, target: torch.Tensor, beta: float) -> torch.Tensor:
    """0.5 d^2 / beta if d < beta, else d - 0.5 beta. torch.nn.functional.smooth_l1_loss.

    If 0.5 beta is not exact, torch rounds it inside a tensor but not at a tensor's end, so tiny values of beta are computed here.
    """
    if 0 < beta < torch.finfo(input.dtype).tiny:
        distance = (input - target).abs()
        return torch.where(distance < beta, 0.5 * distance * distance / beta, distance - 0.5 * beta)
    return F.smooth_l1_loss(input, target, reduction="none", beta=beta)


def huber_loss(input: torch.Tensor, target: torch.Tensor, delta: float, weight: torch.Tensor | None = None) -> torch.Tensor:
    """0.5 d^2 if d <= delta, else delta (d - 0.5 delta), times w; MEAN divides by the number of elements.

    torch.nn.functional.huber_loss.
    """
    loss = F.huber_loss(input, target, reduction="none", delta=delta)
    return loss if weight is None else loss * weight


_PAIR = {"input": Tensor(Kind.FLOAT), "target": Tensor(Kind.REAL)}
_WEIGHT = {"weight": Tensor(Kind.REAL, required=False)}

SPECS = (
    LossSpec(
        name="l1_loss",
        rpc="L1Loss",
        arguments={**_PAIR, **_WEIGHT},
        coalescing=Coalescing.ELEMENTS,
        to_columns=elementwise("input", "target", "weight"),
        kernel=l1_loss,
        workspace_factor=3.0,
    ),
    LossSpec(
        name="mse_loss",
        rpc="MseLoss",
        arguments={**_PAIR, **_WEIGHT},
        coalescing=Coalescing.ELEMENTS,
        to_columns=elementwise("input", "target", "weight"),
        kernel=mse_loss,
    ),
    LossSpec(
        name="smooth_l1_loss",
        rpc="SmoothL1Loss",
        arguments={**_PAIR, "beta": Real(1.0, minimum=0.0)},
        coalescing=Coalescing.ELEMENTS,
        to_columns=elementwise("input", "target"),
        kernel=smooth_l1_loss,
        workspace_factor=6.0,
    ),
    LossSpec(
        name="huber_loss",
        rpc="HuberLoss",
        arguments={**_PAIR, **_WEIGHT, "delta": Real(1.0, above=0.0, finite=False)},
        coalescing=Coalescing.ELEMENTS,
        to_columns=elementwise("input", "target", "weight"),
        kernel=huber_loss,
    ),
)
