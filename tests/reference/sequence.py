# SPDX-License-Identifier: Apache-2.0
"""Reference of CTC: Graves et al. 2006, in log space; and the sum over all alignments that it must equal."""

import itertools
from typing import Any

import numpy as np

from reference.result import Array, Result


def ctc_loss(log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int = 0,
             zero_infinity: bool = False) -> Result:  # fmt: skip
    """-ln p(targets | log_probs); the mean's numerators are divided by max(target length, 1)."""
    batched = log_probs.ndim == 3
    scores = log_probs if batched else log_probs[:, None]
    steps, lengths = np.atleast_1d(input_lengths), np.atleast_1d(target_lengths)
    if targets.ndim == 2:
        rows = [targets[n, :length] for n, length in enumerate(lengths)]
    else:
        rows = [targets[end - length : end] for end, length in zip(np.cumsum(lengths), lengths, strict=True)]
    loss = np.array([negative_log_likelihood(scores[: steps[n], n], row, blank) for n, row in enumerate(rows)])
    ignored = 0
    if zero_infinity:
        ignored = int((loss == np.inf).sum())
        loss = np.where(loss == np.inf, 0.0, loss)
    return Result(loss if batched else loss[0], float(len(rows)), loss / np.maximum(lengths, 1), ignored)


def negative_log_likelihood(scores: Array, labels: Array, blank: int) -> float:
    """Of one row: scores (T, C), labels without blanks. The forward variables over the labels with blanks between them."""
    states = [blank]
    for label in labels.tolist():
        states += [label, blank]
    if not len(scores):  # torch has it that nothing is to be read off no time steps, and calls it possible for no labels
        return 0.0 if not len(labels) else np.inf
    alpha = np.full(len(states), -np.inf)
    alpha[: min(2, len(states))] = scores[0, states[:2]]
    for step in scores[1:]:
        before = alpha.copy()
        for s, label in enumerate(states):
            ways = [before[s]]
            if s > 0:
                ways.append(before[s - 1])
            if s > 1 and label not in (blank, states[s - 2]):
                ways.append(before[s - 2])
            alpha[s] = np.logaddexp.reduce(ways) + step[label]
    return float(-np.logaddexp.reduce(alpha[-2:]))


def brute_force(scores: Array, labels: list[int], blank: int) -> float:
    """The same by definition: the sum over every alignment that reads as the labels once repeats and blanks are taken out."""
    total: Any = -np.inf
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if [label for label, _ in itertools.groupby(path) if label != blank] == labels:
            total = np.logaddexp(total, scores[np.arange(len(path)), list(path)].sum())
    return float(-total)
