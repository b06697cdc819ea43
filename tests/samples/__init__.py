# SPDX-License-Identifier: Apache-2.0
"""Sample calls and error inputs of every loss, by family. A new loss is listed by its family's module."""

from samples import binary, classification, distribution, embedding, multilabel, regression, sequence, vocabulary
from samples.record import ErrorInput, Kwargs, LossSamples, Sample, Sizes

SAMPLES: dict[str, LossSamples] = {
    loss.name: loss
    for family in (regression, distribution, classification, binary, multilabel, embedding, sequence, vocabulary)
    for loss in family.LOSSES
}

__all__ = ["SAMPLES", "ErrorInput", "Kwargs", "LossSamples", "Sample", "Sizes"]
