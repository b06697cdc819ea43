# SPDX-License-Identifier: Apache-2.0
"""What a user writes, and the types that come of it. Checked by mypy --strict; never run."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import lossd
import lossd.testing

Array = NDArray[np.floating[Any]]


def blocking(client: lossd.Client, logits: Array, labels: NDArray[np.int64]) -> None:
    """Client."""
    assert_type(client.cross_entropy(logits, labels), float)
    assert_type(client.cross_entropy(logits, labels, reduction="sum", label_smoothing=0.1), float)
    assert_type(client.cross_entropy(logits, labels, reduction="none"), Array)
    assert_type(client.cross_entropy(logits, labels, return_statistics=True), lossd.LossResult)
    assert_type(client.cross_entropy(logits, labels, reduction="none", return_statistics=True), lossd.LossResult)
    assert_type(client.kl_div(logits, logits, "batchmean"), float)
    assert_type(client.mse_loss([1.0], [2.0], timeout=None, precision="float64"), float)
    assert_type(client.ctc_loss(logits, labels, [3], [2], reduction="none"), Array)
    distance = lossd.CosineDistance()
    assert_type(client.triplet_margin_with_distance_loss(logits, logits, logits, distance_function=distance), float)
    reduction = str(labels)  # a variable
    assert_type(client.cross_entropy(logits, labels, reduction=reduction), float | Array)
    assert_type(client.mse_loss(logits, logits, reduction), float | Array)
    assert_type(client.mse_loss(logits, logits, reduction, return_statistics=True), lossd.LossResult)
    client.mse_loss(logits, logits, patience=3)  # type: ignore[call-overload]
    client.kl_div(logits)  # type: ignore[call-overload]


async def awaited(client: lossd.AsyncClient, logits: Array, labels: NDArray[np.int64]) -> None:
    """AsyncClient."""
    assert_type(await client.cross_entropy(logits, labels), float)
    assert_type(await client.cross_entropy(logits, labels, reduction="none"), Array)
    assert_type(await client.cross_entropy(logits, labels, return_statistics=True), lossd.LossResult)
    async with client.batch() as batch:
        pending = batch.cross_entropy(logits, labels)
    assert_type(pending.result(), float)
    evaluation = client.evaluation()
    await evaluation["north"].cross_entropy(logits, labels)
    assert_type(await evaluation.compute(), dict[str, lossd.SeriesResult])
    assert_type(await evaluation.total(), lossd.SeriesResult)


def batches(client: lossd.Client, logits: Array, labels: NDArray[np.int64]) -> None:
    """Client.batch."""
    with client.batch(timeout=5.0) as batch:
        value = batch.cross_entropy(logits, labels)
        values = batch.cross_entropy(logits, labels, reduction="none")
        result = batch.cross_entropy(logits, labels, return_statistics=True)
    assert_type(value.result(), float)
    assert_type(values.result(), Array)
    assert_type(result.result(), lossd.LossResult)


def evaluations(client: lossd.Client, logits: Array, labels: NDArray[np.int64]) -> None:
    """Client.evaluation."""
    evaluation = client.evaluation()
    evaluation.cross_entropy(logits, labels)
    evaluation["north"].mse_loss(logits, logits, reduction="sum")
    evaluation.update("l1_loss", logits, logits)
    evaluation.merge(client.evaluation())
    evaluation.merge(evaluation.state())
    results = evaluation.compute()
    assert_type(results, dict[str, lossd.SeriesResult])
    assert_type(results["north"].value, float)


def errors(client: lossd.Client) -> None:
    """What calls raise."""
    try:
        client.mse_loss([1.0], [2.0])
    except lossd.InvalidArgumentError as error:
        assert_type(error.field_violations, tuple[lossd.FieldViolation, ...])
    except lossd.TooLargeError as error:
        assert_type(error.limit_bytes, int | None)
    except lossd.OverloadedError as error:
        assert_type(error.retry_after_seconds, float | None)


def in_tests() -> None:
    """lossd.testing."""
    with lossd.testing.server(max_request_bytes=1000) as address:
        assert_type(address, str)
    with lossd.testing.client() as client:
        assert_type(client, lossd.Client)
