# SPDX-License-Identifier: Apache-2.0
"""The losses that hold their output layer: some rows at a time, and in one pass over the targets."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lossd_server.call import Answer
from lossd_server.compute.batch import compute
from lossd_server.compute.memory import HostMemory
from lossd_server.losses import vocabulary
from lossd_server.losses.tensor import Array
from samples import SAMPLES
from support.encoded_requests import call_of

_LOSSES = ("linear_cross_entropy", "adaptive_log_softmax_with_loss")


def answer_of(name: str, **kwargs: Any) -> Answer:
    with torch.no_grad():
        (answer,) = compute([call_of(name, **kwargs)], HostMemory())
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize("scores", [1, 40])
@pytest.mark.parametrize("name", _LOSSES)
def test_the_number_of_rows_at_a_time_does_not_matter(name: str, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for sample in SAMPLES[name].samples:
        call = call_of(name, **sample.kwargs, reduction="none")
        if not call.values_count:
            continue
        whole = answer_of(name, **sample.kwargs, reduction="none")
        with monkeypatch.context() as patch:
            patch.setattr(vocabulary, "_CHUNK_SCORES", scores)
            parts = answer_of(name, **sample.kwargs, reduction="none")
        assert parts.shape == whole.shape
        dtype = np.float64 if whole.double else np.float32
        assert whole.values is not None
        assert parts.values is not None
        np.testing.assert_allclose(np.frombuffer(parts.values, dtype), np.frombuffer(whole.values, dtype), rtol=2e-5, atol=2e-5)


def many_clusters(rows: int, clusters: int) -> dict[str, Any]:
    """Clusters of one class each, a head of one class, and features of one extent."""
    one = np.ones((1, 1), np.float32)
    return {
        "input": np.ones((rows, 1), np.float32),
        "target": np.arange(rows) % (clusters + 1),
        "head_weight": np.ones((clusters + 1, 1), np.float32),
        "tail": [(one, one)] * clusters,
        "cutoffs": list(range(1, clusters + 1)),
    }


class _Elements(TorchDispatchMode):
    """Counts the elements of the new tensors that operations make of the targets; scores have two extents."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._schema.is_mutable:
            return result
        self.total += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.ndim == 1)
        return result


def test_the_targets_are_passed_over_once_and_not_for_each_cluster() -> None:
    totals = []
    for clusters in (2, 100):
        call = call_of("adaptive_log_softmax_with_loss", **many_clusters(1000, clusters))
        with torch.no_grad(), _Elements() as elements:
            compute([call], HostMemory())
        totals.append(elements.total)
    assert totals[1] < 2 * totals[0]


def test_the_targets_of_many_clusters_are_counted_in_one_pass() -> None:
    """To count those of 100 clusters takes about as long as of 2; with a pass for each cluster it would take 40 times as long."""
    target = Array.of(np.arange(1 << 20) % 101)

    def seconds(clusters: int) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            counts = vocabulary._cluster_counts(target, tuple(range(1, clusters + 1)))
            times.append(time.perf_counter() - start)
            assert len(counts) == clusters
        return min(times)

    assert seconds(100) < 10 * seconds(2)
