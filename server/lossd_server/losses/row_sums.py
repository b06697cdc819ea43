# SPDX-License-Identifier: Apache-2.0
"""Reductions over the last extent of a (rows, D) tensor. The bits of each result depend on its row alone.

On the CPU, torch sums each row by itself, in an order that does not depend on the number of rows. On a GPU torch's order does, so
there a row is padded with zeros to a power of two and halved by additions.
"""

import math

import torch


def total(values: torch.Tensor) -> torch.Tensor:
    """sum_d x[d]."""
    return values.sum(-1) if values.device.type == "cpu" else halved(values)


def norm(values: torch.Tensor, p: float) -> torch.Tensor:
    """(sum_d |x[d]|^p)^(1/p); the largest |x[d]| if p is infinite. torch.linalg.vector_norm."""
    if values.device.type == "cpu" or math.isinf(p):
        lengths: torch.Tensor = torch.linalg.vector_norm(values, p, dim=-1)
        return lengths
    if p == 2:
        return halved(values.square()).sqrt()
    return halved(values.abs().pow(p)).pow(1 / p)


def halved(values: torch.Tensor) -> torch.Tensor:
    """The sum of each row as a balanced tree: element i plus element i + width/2, until one is left."""
    width = 1 << (values.shape[-1] - 1).bit_length()
    tree = torch.nn.functional.pad(values, (0, width - values.shape[-1]))
    while tree.shape[-1] > 1:
        half = tree.shape[-1] // 2
        tree = tree[..., :half] + tree[..., half:]
    return tree[..., 0]
