# SPDX-License-Identifier: Apache-2.0
"""The losses, by method of LossService. This is their only list."""

from lossd_server.losses import classification, distribution, embedding, margin, regression, sequence, vocabulary
from lossd_server.losses.spec import LossSpec

LOSSES: dict[str, LossSpec] = {
    spec.rpc: spec
    for family in (regression, distribution, classification, margin, embedding, sequence, vocabulary)
    for spec in family.SPECS
}
