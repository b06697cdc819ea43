# SPDX-License-Identifier: Apache-2.0
"""One method per loss, with the names of torch.nn.functional, written once for all clients."""

import inspect

from lossd._losses._base import ArrayT, FloatT, ResultT
from lossd._losses.classification import ClassificationLosses
from lossd._losses.distribution import DistributionLosses
from lossd._losses.embedding import EmbeddingLosses
from lossd._losses.multilabel import MultiLabelLosses
from lossd._losses.regression import RegressionLosses
from lossd._losses.sequence import SequenceLosses
from lossd._losses.vocabulary import VocabularyLosses


class LossMethods(
    RegressionLosses[FloatT, ArrayT, ResultT],
    DistributionLosses[FloatT, ArrayT, ResultT],
    ClassificationLosses[FloatT, ArrayT, ResultT],
    MultiLabelLosses[FloatT, ArrayT, ResultT],
    EmbeddingLosses[FloatT, ArrayT, ResultT],
    SequenceLosses[FloatT, ArrayT, ResultT],
    VocabularyLosses[FloatT, ArrayT, ResultT],
):
    """All losses. A client derives from this class and sends the requests."""


_OPTIONS = """
    return_statistics: True returns the LossResult, which holds the value and what is needed to merge it with others.
    precision: "float64" computes in float64; by default 16-bit inputs are computed in float32, and others as given.
    reject_non_finite: True refuses NaN and infinities in float tensors; by default they propagate as in torch.
    timeout: Seconds for this call, instead of the client's timeout; None means no limit.

Raises:"""

for _name, _method in inspect.getmembers(LossMethods, inspect.isfunction):
    if not _name.startswith("_"):
        _method.__doc__ = inspect.cleandoc(_method.__doc__ or "").replace("\n\nRaises:", _OPTIONS)
