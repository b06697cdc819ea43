# SPDX-License-Identifier: Apache-2.0
"""Errors of calls that are split: they name rows and arguments of the whole call."""

import re

import pytest
import torch

import lossd
import lossd.testing
from samples.record import normal, rng


def _rows(rows: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return normal(rng(1), rows, classes), torch.arange(rows) % classes


def test_tensors_that_do_not_go_together_are_named(address: str) -> None:
    logits, labels = _rows(1000)
    with lossd.Client(address, max_message_bytes=2_000) as small, pytest.raises(lossd.InvalidArgumentError) as caught:
        small.cross_entropy(logits, labels[:-1])
    assert caught.value.field_violations[0].field == "target"


@pytest.mark.parametrize("max_message_bytes", [2_000, 1_300])  # the second cuts parts again
def test_an_error_in_one_part_is_the_calls_error(address: str, max_message_bytes: int) -> None:
    logits, labels = _rows(1000)
    labels[777] = 10
    with lossd.Client(address, max_message_bytes=max_message_bytes) as small, pytest.raises(lossd.InvalidArgumentError) as caught:
        small.cross_entropy(logits, labels)
    (violation,) = caught.value.field_violations
    assert violation.field == "target"
    assert re.search(
        r"^must be a class index .* 1 of \d+ elements of rows \d+ to \d+ are not, the first at index \[777\]$", violation.description
    )
    assert caught.value.message == f"target: {violation.description}"


@pytest.mark.parametrize("limits", [{"max_operations": 3_000}, {"max_request_bytes": 9_000}], ids=str)
@pytest.mark.parametrize("bad", [3, 999])
def test_an_error_in_one_part_that_a_server_asked_for_is_the_calls_error(limits: dict[str, int], bad: int) -> None:
    logits, labels = _rows(1000)
    labels[bad] = -1
    with (
        lossd.testing.server(**limits) as address,
        lossd.Client(address) as client,
        pytest.raises(lossd.InvalidArgumentError, match=rf"target: .* the first at index \[{bad}\]"),
    ):
        client.cross_entropy(logits, labels)


def test_an_error_in_one_part_of_sequences_is_the_calls_error(address: str) -> None:
    log_probs = normal(rng(1), 20, 30, 5).log_softmax(-1)
    targets, lengths = torch.ones(90, dtype=torch.int64), torch.full((30,), 3)
    targets[77] = 9
    with lossd.Client(address, max_message_bytes=3_000) as small, pytest.raises(lossd.InvalidArgumentError) as caught:
        small.ctc_loss(log_probs, targets, torch.full((30,), 20), lengths)
    assert caught.value.field_violations[0].field == "targets"
    assert re.search(r" 1 of \d+ labels of rows (2[0-5]) to (2[5-9]) are not", caught.value.message)
