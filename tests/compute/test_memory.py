# SPDX-License-Identifier: Apache-2.0
"""The two kinds of device memory: staged transfers and sums, on the CPU and, if the machine has one, on a GPU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossd_server.compute.memory import HostMemory, Memory, Parts, StagedMemory
from lossd_server.losses.tensor import FLOAT32, FLOAT64, INT64

DEVICES = [
    "cpu",
    pytest.param("cuda:0", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]),
]

segments = st.lists(st.integers(1, 700), min_size=1, max_size=30)


def _sums(memory: Memory, parts: list[np.ndarray]) -> list[float]:
    size = sum(part.size for part in parts)
    loaded = memory.load({"x": Parts(FLOAT32, (size,), [part.tobytes() for part in parts])}, [part.size for part in parts])
    return memory.reduce([loaded["x"]], keep_values=False).sums[0]


def _random(sizes: list[int], seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.standard_normal(size) * 10.0 ** generator.integers(-3, 4)).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(sizes=segments, seed=st.integers(0, 2**32 - 1))
def test_a_staged_sum_does_not_depend_on_neighbours(device: str, sizes: list[int], seed: int) -> None:
    memory = StagedMemory(torch.device(device))
    parts = _random(sizes, seed)
    assert _sums(memory, parts) == [_sums(memory, [part])[0] for part in parts]


@pytest.mark.parametrize("device", DEVICES)
def test_a_sum_of_negative_zeros_keeps_its_sign_whatever_its_neighbours(device: str) -> None:
    """BCE of a certain and right prediction is -0.0."""
    memory = StagedMemory(torch.device(device))
    zeros = [np.full(size, -0.0, np.float32) for size in (1, 2, 3, 300)]
    alone = [_sums(memory, [part])[0] for part in zeros]
    merged = _sums(memory, [np.ones(700, np.float32), *zeros])[1:]
    assert [np.signbit(value) for value in (*alone, *merged)] == [True] * 8


@pytest.mark.parametrize("device", DEVICES)
def test_staged_and_host_sums_agree_to_float64_rounding(device: str) -> None:
    parts = _random([1, 2, 3, 31, 32, 33, 255, 256, 257, 1000, 70_000], seed=7)
    staged, host = _sums(StagedMemory(torch.device(device)), parts), _sums(HostMemory(), parts)
    np.testing.assert_allclose(staged, host, rtol=1e-12)
    np.testing.assert_allclose(host, [np.sum(part, dtype=np.float64) for part in parts], rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [HostMemory, StagedMemory])
def test_columns_of_every_width_arrive_as_they_were(kind: type, device: str) -> None:
    if kind is HostMemory and device != "cpu":
        pytest.skip("the host's memory is the CPU's")
    memory = HostMemory() if kind is HostMemory else StagedMemory(torch.device(device))
    floats, doubles, labels = np.arange(6, dtype=np.float32), np.arange(3, dtype=np.float64) / 7, np.array([5, -1, 2**40])
    for _ in range(2):  # the staging buffer is used again
        loaded = memory.load(
            {
                "a": Parts(FLOAT32, (3, 2), [floats[:2].tobytes(), floats[2:].tobytes()]),
                "b": Parts(FLOAT64, (3,), [doubles.tobytes()]),
                "c": Parts(INT64, (3,), [labels[:1].tobytes(), labels[1:].tobytes()]),
            },
            [1, 2],
        )
        np.testing.assert_array_equal(loaded["a"].cpu().numpy(), floats.reshape(3, 2))
        np.testing.assert_array_equal(loaded["b"].cpu().numpy(), doubles)
        np.testing.assert_array_equal(loaded["c"].cpu().numpy(), labels)
        reduced = memory.reduce([loaded["b"], loaded["a"].sum(1)], keep_values=True)
        np.testing.assert_allclose(reduced.sums, [[0, 3 / 7], [1, 14]])
        assert reduced.values is not None
        np.testing.assert_array_equal(reduced.values, doubles)
