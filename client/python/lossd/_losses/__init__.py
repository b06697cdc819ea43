# SPDX-License-Identifier: Apache-2.0
"""One method per loss, named and keyed as in torch.nn.functional, written once for every kind of client."""

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
    """All losses. A kind of client derives from this and sends the requests."""
