# SPDX-License-Identifier: Apache-2.0
"""Promise 1 and promise 7, through a live server: torch's numbers, the float64 reference's, and statistics that merge."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lossd
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Coalescing
from reference import REFERENCE
from reference.result import Result
from reference.sequence import brute_force
from samples import SAMPLES, Kwargs, LossSamples, Sample, Sizes
from samples.record import compute_dtype, computed, map_tensors, rng

SMALL = Sizes(
    batch=st.integers(0, 5),
    width=st.integers(1, 6),
    inner=st.sampled_from([(), (1,), (3,), (2, 2)]),
)
EXAMPLES = 25  # a loss; twenty times as many where slow

# How the float tensors of a call are sent.
PRECISIONS = ("float32", "float64", "float16", "bfloat16", "mixed", "mixed16", "precision")
_MIXES = {
    "mixed": (torch.float32, torch.float64, torch.float16),
    "mixed16": (torch.float16, torch.bfloat16, torch.float32),
}

each_loss = pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)


def sent(kwargs: Kwargs, precision: str, seed: int = 0) -> Kwargs:
    """The arguments with their float tensors in the types of this precision."""
    if precision == "precision":
        return kwargs | {"precision": "float64"}
    generator = rng(seed)

    def convert(_: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype != torch.float32 or precision == "float32":
            return tensor
        mix = _MIXES.get(precision)
        return tensor.to(getattr(torch, precision) if mix is None else mix[generator.integers(len(mix))])

    converted: Kwargs = map_tensors(kwargs, convert)
    return converted


def expected(loss: LossSamples, kwargs: Kwargs) -> tuple[Result, Result]:
    """The reference's result; and how far it may be off: the effect of a few roundings of every float input, and of the loss."""
    arguments = computed(loss, kwargs)
    generator = rng(7)
    epsilon = torch.finfo(compute_dtype(loss, kwargs)).eps

    def of(roundings: float) -> Result:
        def convert(_: str, tensor: torch.Tensor) -> Any:
            array = tensor.numpy()
            if not tensor.is_floating_point():
                return array
            wide = array.astype(np.float64)
            # Towards zero: a probability stays one. Labels of 1 and -1 are exact.
            exact = (np.abs(wide) == 1) | (roundings == 0)
            return wide * np.where(exact, 1.0, 1 - roundings * epsilon * generator.random(wide.shape))

        with np.errstate(all="ignore"):
            return REFERENCE[loss.name](**map_tensors(arguments, convert))

    result = of(0)
    rounded = [of(8) for _ in range(2)]

    def slack(name: str) -> Any:
        base = getattr(result, name)
        with np.errstate(all="ignore"):
            moved = np.max([np.abs(getattr(other, name) - base) for other in rounded], axis=0)
            return 4 * np.nan_to_num(moved, nan=0.0, posinf=0.0) + 32 * epsilon * np.abs(base) + _floor(arguments, epsilon)

    return result, Result(slack("loss"), 1e-12, slack("numerators"))


def _floor(arguments: Kwargs, epsilon: float) -> float:
    """A rounding of the largest input, for losses that are small differences of large terms."""
    largest = [1.0]
    map_tensors(arguments, lambda _, t: largest.append(float(t[t.isfinite()].abs().max())) if t.isfinite().any() else None)
    return 2 * epsilon * max(largest)


def check_reference(result: Result, slack: Result, batch: int | None, reduction: str, got: lossd.LossResult) -> None:
    """The value and every statistic, to the rounding of the compute type."""
    denominator = float(1 if batch is None else batch) if reduction == "batchmean" else result.denominator
    with np.errstate(all="ignore"):
        total, numerator = result.loss.sum(), result.numerators.sum()
        values = {
            "none": (result.loss, slack.loss),
            "sum": (total, slack.loss.sum()),
            "mean": (np.divide(numerator, denominator), slack.numerators.sum() / abs(denominator) if denominator else 0.0),
            "batchmean": (np.divide(total, denominator), slack.loss.sum() / denominator if denominator else 0.0),
        }
    close(got.value, *values[reduction], "value")
    close(got.sum, total, slack.loss.sum(), "sum")
    close(got.mean_numerator, numerator, slack.numerators.sum(), "mean_numerator")
    close(got.mean_denominator, denominator, 1e-6 * abs(denominator) + 1e-7, "mean_denominator")
    assert got.element_count == result.loss.size
    assert got.ignored_count == result.ignored


def close(actual: Any, wanted: Any, slack: Any, what: str) -> None:
    """Equal within `slack`, which may be an array; NaN equals NaN, and an infinity its own kind."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    assert actual.shape == wanted.shape, what
    with np.errstate(all="ignore"):
        same = (np.abs(actual - wanted) <= slack) | (actual == wanted) | (np.isnan(actual) & np.isnan(wanted))
    assert same.all(), f"{what}: {actual[~same][:5]} is not {wanted[~same][:5]} within {np.broadcast_to(slack, same.shape)[~same][:5]}"


def torch_value(loss: LossSamples, kwargs: Kwargs, reduction: str) -> torch.Tensor:
    """torch's own answer, in the type that the server computes in."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # kl_div warns of "mean", linear_cross_entropy of its slower path
        return loss.torch_function()(**computed(loss, kwargs), reduction=reduction)


def check_torch(loss: LossSamples, kwargs: Kwargs, reduction: str, got: lossd.LossResult) -> None:
    """torch.testing.assert_close with its defaults, in shape and type too."""
    wanted = torch_value(loss, kwargs, reduction)
    actual = torch.as_tensor(got.value)
    if reduction != "none":
        actual = actual.to(wanted.dtype)
    torch.testing.assert_close(actual, wanted, equal_nan=True)


def check(client: lossd.Client, loss: LossSamples, sample: Sample, *reductions: str) -> None:
    """Calls of these reductions against torch and against the reference."""
    call = getattr(client, loss.name)
    wanted = expected(loss, sample.kwargs) if sample.reference else None
    for reduction in reductions:
        got = call(**sample.kwargs, reduction=reduction, return_statistics=True)
        if sample.torch and got.element_count:  # torch's mean of nothing is uninitialised memory for two losses
            check_torch(loss, sample.kwargs, reduction, got)
        if wanted:
            check_reference(*wanted, loss.batch_of(sample.kwargs), reduction, got)


def _samples() -> list[Any]:
    return [pytest.param(loss, sample, id=f"{loss.name}: {sample.label}") for loss in SAMPLES.values() for sample in loss.samples]


@pytest.mark.parametrize(("loss", "sample"), _samples())
def test_hand_picked_edges(client: lossd.Client, loss: LossSamples, sample: Sample) -> None:
    check(client, loss, sample, *loss.reductions)


@each_loss
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_type_and_reduction(client: lossd.Client, loss: LossSamples, precision: str) -> None:
    """16-bit inputs are computed in float32, mixed ones in the widest type, everything in float64 if the request asks for it."""
    for index, sample in enumerate(loss.samples[:2]):
        check(client, loss, Sample(sample.label, sent(sample.kwargs, precision, index), sample.torch, sample.reference), *loss.reductions)


@st.composite
def calls(draw: st.DrawFn, name: str) -> tuple[Sample, str]:
    loss = SAMPLES[name]
    kwargs = draw(loss.cases(SMALL))
    converted = sent(kwargs, draw(st.sampled_from(PRECISIONS)), draw(st.integers(0, 99)))
    return Sample("generated", converted), draw(st.sampled_from(loss.reductions))


@each_loss
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(EXAMPLES * 20, marks=pytest.mark.slow)])
def test_generated_cases(client: lossd.Client, loss: LossSamples, examples: int) -> None:
    @settings(max_examples=examples)
    @given(calls(loss.name))
    def run(call: tuple[Sample, str]) -> None:
        check(client, loss, *call)

    run()


@each_loss
@pytest.mark.parametrize("examples", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_statistics_of_any_split_add_up_to_those_of_the_whole(client: lossd.Client, loss: LossSamples, examples: int) -> None:
    """So the mean is exact over a stream, no matter what it divides by: a count, a sum of weights, or the targets not ignored."""
    call = getattr(client, loss.name)

    @settings(max_examples=examples)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        kwargs = data.draw(loss.cases(SMALL))
        batch = loss.batch_of(kwargs)
        assume(batch)
        assert batch is not None
        cuts = sorted(data.draw(st.lists(st.integers(0, batch), max_size=3)))
        extents = [end - start for start, end in zip([0, *cuts], [*cuts, batch], strict=True)]
        whole = call(**kwargs, reduction="none", return_statistics=True)
        parts = [call(**part, return_statistics=True) for part in loss.split(kwargs, extents)]
        # A matrix product's last bits change with its number of rows.
        rounding = 4e-6 if LOSSES[loss.rpc].coalescing is Coalescing.ALONE else 1e-12
        size = float(np.abs(whole.value).sum())
        for name in ("sum", "mean_numerator", "mean_denominator", "element_count", "ignored_count"):
            close(sum(getattr(part, name) for part in parts), getattr(whole, name), rounding * max(1.0, size), name)

    run()


@settings(max_examples=100)
@given(st.data())
def test_ctc_is_the_sum_over_all_alignments(client: lossd.Client, data: st.DataObject) -> None:
    steps, classes, seed = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 3)), data.draw(st.integers(0, 2**32 - 1))
    blank = data.draw(st.integers(0, classes - 1))
    labels = data.draw(st.lists(st.sampled_from([c for c in range(classes) if c != blank]), max_size=4))
    scores = torch.from_numpy(rng(seed).standard_normal((steps, classes))).log_softmax(1)
    wanted = brute_force(scores.numpy(), labels, blank)
    targets = torch.tensor(labels, dtype=torch.int64)
    got = client.ctc_loss(scores, targets, [steps], [len(labels)], blank, reduction="sum")
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    reference = REFERENCE["ctc_loss"](scores.numpy(), targets.numpy(), np.array([steps]), np.array([len(labels)]), blank)
    np.testing.assert_allclose(reference.loss, wanted, rtol=1e-12, atol=1e-12)
