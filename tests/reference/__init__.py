# SPDX-License-Identifier: Apache-2.0
"""An independent reference of every loss: float64 numpy, written from the formulas, without torch.

REFERENCE[name](**arguments) takes numpy arrays in the signature of torch.nn.functional, without reduction.
"""

from collections.abc import Callable

from reference import classes, elements, rows, sequence
from reference.result import Result

REFERENCE: dict[str, Callable[..., Result]] = {
    "l1_loss": elements.l1_loss,
    "mse_loss": elements.mse_loss,
    "smooth_l1_loss": elements.smooth_l1_loss,
    "huber_loss": elements.huber_loss,
    "kl_div": elements.kl_div,
    "poisson_nll_loss": elements.poisson_nll_loss,
    "gaussian_nll_loss": elements.gaussian_nll_loss,
    "binary_cross_entropy": elements.binary_cross_entropy,
    "binary_cross_entropy_with_logits": elements.binary_cross_entropy_with_logits,
    "soft_margin_loss": elements.soft_margin_loss,
    "margin_ranking_loss": elements.margin_ranking_loss,
    "hinge_embedding_loss": elements.hinge_embedding_loss,
    "multilabel_soft_margin_loss": rows.multilabel_soft_margin_loss,
    "multi_margin_loss": rows.multi_margin_loss,
    "multilabel_margin_loss": rows.multilabel_margin_loss,
    "cosine_embedding_loss": rows.cosine_embedding_loss,
    "triplet_margin_loss": rows.triplet_margin_loss,
    "triplet_margin_with_distance_loss": rows.triplet_margin_with_distance_loss,
    "nll_loss": classes.nll_loss,
    "cross_entropy": classes.cross_entropy,
    "linear_cross_entropy": classes.linear_cross_entropy,
    "adaptive_log_softmax_with_loss": classes.adaptive_log_softmax_with_loss,
    "ctc_loss": sequence.ctc_loss,
}

__all__ = ["REFERENCE", "Result"]
