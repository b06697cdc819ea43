# SPDX-License-Identifier: Apache-2.0
"""Cross entropy over few classes: rows as they come, and rows made whole with classes of probability 0.

    python tests/bench/few_classes.py

Microseconds, the best of several runs, on one thread of a CPU.
"""

import time

import torch
import torch.nn.functional as F

from lossd_server.losses.classification import _VECTOR, _whole_rows


def microseconds(input: torch.Tensor, target: torch.Tensor, *, whole: bool) -> float:
    """Of one computation."""
    best = float("inf")
    for _ in range(7):
        started_at = time.perf_counter()
        for _ in range(100):
            F.cross_entropy(_whole_rows(input) if whole else input, target, reduction="none")
        best = min(best, (time.perf_counter() - started_at) / 100)
    return best * 1e6


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(f"{'classes':>8s}{'rows':>8s}{'as they come':>16s}{'whole':>10s}")
    for classes in (2, 4, 5, 10, _VECTOR - 1):
        for rows in (1, 32, 320, 3200):
            input, target = torch.randn(rows, classes), torch.randint(classes, (rows,))
            plain, whole = (microseconds(input, target, whole=choice) for choice in (False, True))
            print(f"{classes:8d}{rows:8d}{plain:16.1f}{whole:10.1f}")


if __name__ == "__main__":
    main()
