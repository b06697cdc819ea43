# SPDX-License-Identifier: Apache-2.0
"""Promise 4 beside a long call: no other call waits for its end."""

import threading

import numpy as np

import lossd
from lossd.testing import server
from support.encoded_requests import call_of

_ROWS, _CLASSES, _FEATURES = 8000, 4096, 512


def test_calls_are_answered_while_a_long_one_is_computed_and_with_the_same_bits() -> None:
    generator = np.random.default_rng(1)
    long = {
        "input": generator.standard_normal((_ROWS, _FEATURES), np.float32),
        "linear_weight": generator.standard_normal((_CLASSES, _FEATURES), np.float32),
        "target": generator.integers(0, _CLASSES, _ROWS),
    }
    small = {"input": generator.standard_normal((32, 10), np.float32), "target": generator.integers(0, 10, 32)}
    medium = {"input": generator.standard_normal((1024, 1000), np.float32), "target": generator.integers(0, 1000, 1024)}
    assert call_of("linear_cross_entropy", **long).cost_seconds > 0.5
    with server() as address, lossd.Client(address) as client, lossd.Client(address) as other:
        alone = [client.cross_entropy(**kwargs, reduction="none").tobytes() for kwargs in (small, medium)]
        long_alone = client.linear_cross_entropy(**long)
        found: list[float] = []
        thread = threading.Thread(target=lambda: found.append(other.linear_cross_entropy(**long)))
        thread.start()
        beside = []
        while thread.is_alive():
            beside.append([client.cross_entropy(**kwargs, reduction="none").tobytes() for kwargs in (small, medium)])
        thread.join()
    assert found == [long_alone]
    assert all(answers == alone for answers in beside)
    assert len(beside) >= 5, "they waited for its end"
