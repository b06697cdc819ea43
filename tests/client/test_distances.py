# SPDX-License-Identifier: Apache-2.0
"""distance_function: what stands for a distance is taken, and all else is refused by name."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import lossd
from samples.record import normal, rng

ANCHOR, POSITIVE, NEGATIVE = (normal(rng(seed), 6, 4) for seed in range(3))


@pytest.mark.parametrize(
    "distance", [None, torch.nn.PairwiseDistance(), torch.nn.PairwiseDistance(1.0, 1e-3), F.pairwise_distance, torch.pairwise_distance]
)
def test_torchs_distance_is_taken(client: lossd.Client, distance: Any) -> None:
    expected = F.triplet_margin_with_distance_loss(ANCHOR, POSITIVE, NEGATIVE, distance_function=distance)
    got = client.triplet_margin_with_distance_loss(ANCHOR, POSITIVE, NEGATIVE, distance_function=distance)
    assert got == pytest.approx(float(expected), rel=1e-5)


def squared(u: Any, v: Any) -> Any:
    return ((u - v) ** 2).sum(-1)


class Mine(torch.nn.PairwiseDistance):
    """A module that may compute anything."""


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (squared, "distance_function is squared, .* lossd.SquaredEuclideanDistance"),
        (lambda u, v: u - v, "distance_function is .*<lambda>"),
        (torch.nn.CosineSimilarity(), r"use lossd.CosineDistance\(\)"),
        (F.cosine_similarity, r"use lossd.CosineDistance\(\)"),
        (torch.nn.PairwiseDistance(keepdim=True), "omit keepdim"),
        (torch.nn.PairwiseDistance, r"is the class PairwiseDistance: pass an instance, PairwiseDistance\(\)"),
        (lossd.CosineDistance, r"is the class CosineDistance: pass an instance, CosineDistance\(\)"),
        (Mine(), r"distance_function is Mine\(\)"),
        ("cosine", "distance_function is 'cosine'"),
    ],
    ids=str,
)
def test_other_functions_are_refused_by_name(client: lossd.Client, distance: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        client.triplet_margin_with_distance_loss(ANCHOR, POSITIVE, NEGATIVE, distance_function=distance)
