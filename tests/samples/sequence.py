# SPDX-License-Identifier: Apache-2.0
"""Samples of CTC."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from samples.record import ErrorInput, Kwargs, LossSamples, Sample, Sizes, index_types, normal, poked, rng, seeds

INF, NAN = math.inf, math.nan


def _lengths(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.int64)


def _targets(generator: np.random.Generator, classes: int, blank: int, rows: int, length: int) -> torch.Tensor:
    """(rows, length) of labels other than blank; repeats are likely, as they cost CTC an extra step."""
    drawn = generator.integers(0, max(classes - 1, 1), (rows, length))
    drawn = np.where(generator.random((rows, length)) < 0.3, np.roll(drawn, 1, axis=1), drawn)
    return torch.from_numpy(drawn + (drawn >= blank))


@st.composite
def _alignments(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, classes = draw(seeds), draw(sizes.width) + 1
    batch = draw(st.one_of(st.none(), sizes.batch.map(lambda extent: max(extent, 1))))
    rows, blank = batch or 1, draw(st.integers(0, classes - 1))
    steps = max(1, min(draw(sizes.width), 300_000 // (rows * classes)))
    length = min(draw(sizes.width), 2 * steps)
    short = draw(st.booleans())  # inputs shorter than their targets are infinitely unlikely
    target_lengths = _lengths(generator.integers(0, length + 1, rows))
    input_lengths = _lengths(generator.integers(0 if short else steps, steps + 1, rows))
    targets = _targets(generator, classes, blank, rows, length)
    log_probs = normal(generator, steps, rows, classes, scale=2.0).log_softmax(-1)
    if batch is None:
        log_probs, targets, input_lengths, target_lengths = log_probs[:, 0], targets[0], input_lengths[0], target_lengths[0]
    elif draw(st.booleans()):
        targets = _concatenated(targets, target_lengths)
    kwargs = {"log_probs": log_probs, "targets": targets.to(draw(index_types)) if classes < 256 else targets}
    kwargs |= {"input_lengths": input_lengths, "target_lengths": target_lengths, "blank": blank}
    return kwargs | ({"zero_infinity": draw(st.booleans())} if short else {})


def _concatenated(targets: torch.Tensor, target_lengths: torch.Tensor) -> torch.Tensor:
    return torch.cat([row[:length] for row, length in zip(targets, target_lengths, strict=True)])


def _pieces(kwargs: Kwargs, extents: list[int]) -> list[Kwargs]:
    """Each piece with only the time steps and labels that it needs."""
    scores = kwargs["log_probs"].split(extents, 1)
    input_lengths, target_lengths = kwargs["input_lengths"].split(extents), kwargs["target_lengths"].split(extents)
    if kwargs["targets"].ndim == 1:
        targets = kwargs["targets"].split([int(lengths.sum()) for lengths in target_lengths])
    else:
        targets = kwargs["targets"].split(extents)
        targets = [t[:, : max([0, *lengths.tolist()])] for t, lengths in zip(targets, target_lengths, strict=True)]
    steps = [max([1, *lengths.tolist()]) for lengths in input_lengths]
    columns = zip(scores, steps, targets, input_lengths, target_lengths, strict=True)
    names = ("log_probs", "targets", "input_lengths", "target_lengths")
    return [kwargs | dict(zip(names, (x[:t], y, i, j), strict=True)) for x, t, y, i, j in columns]


def torch_ctc(
    log_probs: torch.Tensor, targets: torch.Tensor, input_lengths: Any, target_lengths: torch.Tensor, **rest: Any
) -> torch.Tensor:
    """torch takes the labels of an unbatched call as concatenated ones: none beyond the length."""
    targets = targets[: int(target_lengths)] if log_probs.ndim == 2 else targets
    return torch.nn.functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, **rest)


def _good(generator: np.random.Generator, blank: int = 0) -> Kwargs:
    lengths = {"input_lengths": _lengths([7, 6, 7]), "target_lengths": _lengths([3, 2, 0])}
    return {"log_probs": normal(generator, 7, 3, 5).log_softmax(-1), "targets": _targets(generator, 5, blank, 3, 3), **lengths}


def _samples() -> list[Sample]:
    good = _good(rng(1))
    x, y, lengths = good["log_probs"], good["targets"], good["target_lengths"]
    last = _good(rng(2), blank=4)
    one = {"log_probs": x[:, 0], "targets": y[0], "input_lengths": _lengths(7), "target_lengths": _lengths(3)}
    short = good | {"input_lengths": _lengths([2, 0, 0]), "targets": torch.tensor([[1, 1, 2], [1, 1, 1], [1, 1, 1]])}
    return [
        Sample("a batch", good),
        Sample("concatenated targets", good | {"targets": _concatenated(y, lengths)}),
        Sample("the last class is blank", last | {"blank": 4}),
        Sample("a class in the middle is blank", {**_good(rng(3), blank=2), "blank": 2}),
        Sample("unbatched", one),
        Sample("unbatched, lengths of one extent", one | {"input_lengths": _lengths([7]), "target_lengths": _lengths([3])}),
        Sample("unbatched, shorter than given", one | {"input_lengths": _lengths(5), "target_lengths": _lengths(1)}),
        Sample("an empty batch", _empty(good)),
        Sample("an empty batch, concatenated targets", _empty(good) | {"targets": y[0, :0]}),
        Sample("int32 targets", good | {"targets": y.to(torch.int32)}),
        Sample("uint8 targets", good | {"targets": y.to(torch.uint8)}),
        Sample("repeated labels", good | {"targets": y * 0 + 1}),
        Sample("empty targets", good | {"target_lengths": _lengths([0, 0, 0])}),
        Sample("no labels at all", good | {"target_lengths": _lengths([0, 0, 0]), "targets": y[:, :0]}),
        Sample("no labels at all, concatenated", good | {"target_lengths": _lengths([0, 0, 0]), "targets": y[0, :0]}),
        Sample("inputs too short", short),
        Sample("inputs too short, zero_infinity", short | {"zero_infinity": True}),
        Sample("zero_infinity without need", good | {"zero_infinity": True}),
        Sample(
            "labels out of range beyond their length", good | {"targets": torch.where(y * 0 + torch.arange(3) >= lengths[:, None], 99, y)}
        ),
        Sample(
            "one time step",
            {"log_probs": x[:1, :2], "targets": y[:2, :1], "input_lengths": _lengths([1, 1]), "target_lengths": _lengths([1, 0])},
        ),
        Sample("unnormalised scores", good | {"log_probs": x + 3}),
        Sample("impossible labels", good | {"log_probs": poked(x, *[-INF] * 5)}),
        Sample("not contiguous", good | {"log_probs": x.transpose(0, 1).contiguous().transpose(0, 1), "targets": y.T.contiguous().T}),
        Sample("long", _long()),
    ]


def _empty(good: Kwargs) -> Kwargs:
    none = {name: good[name][:0] for name in ("targets", "input_lengths", "target_lengths")}
    return {**none, "log_probs": good["log_probs"][:, :0]}


def _long() -> Kwargs:
    generator = rng(4)
    lengths = {"input_lengths": _lengths([200, 150]), "target_lengths": _lengths([40, 33])}
    return {"log_probs": normal(generator, 200, 2, 30).log_softmax(-1), "targets": _targets(generator, 30, 0, 2, 40), **lengths}


def _label_errors() -> list[ErrorInput]:
    good = _good(rng(5))
    y = good["targets"]
    flat = good | {"targets": _concatenated(y, good["target_lengths"])}
    wrong = {"the number of classes": 5, "minus one": -1, "the largest integer": 2**63 - 1, "the smallest integer": -(2**63), "blank": 0}
    fields = {"padded_targets": good, "concatenated_targets": flat}
    return [
        *(
            ErrorInput(f"{field}: a label that is {n}", kwargs | {"targets": poked(kwargs["targets"], v)}, "TARGET_OUT_OF_RANGE", field)
            for field, kwargs in fields.items()
            for n, v in wrong.items()
        ),
        *(ErrorInput(f"{f}: float labels", k | {"targets": k["targets"].float()}, "DTYPE_UNSUPPORTED", f) for f, k in fields.items()),
        ErrorInput("a short row of targets", good | {"targets": y[:2]}, "SHAPE_MISMATCH", "padded_targets"),
        ErrorInput("targets of three extents", flat | {"targets": y[None]}, "SHAPE_MISMATCH", "concatenated_targets"),
        ErrorInput("one label too few", flat | {"targets": flat["targets"][:-1]}, "SHAPE_MISMATCH", "concatenated_targets"),
        ErrorInput("one label too many", flat | {"targets": y.reshape(-1)[:6]}, "SHAPE_MISMATCH", "concatenated_targets"),
    ]


def _errors() -> list[ErrorInput]:
    good = _good(rng(6))
    x = good["log_probs"]
    lengths = {
        "negative": ([-1, 2, 0], "VALUE_OUT_OF_RANGE"),
        "huge": ([2**63 - 1, 2, 0], "VALUE_OUT_OF_RANGE"),
        "above T and S": ([2, 2, 8], "VALUE_OUT_OF_RANGE"),
        "too few": ([3, 2], "SHAPE_MISMATCH"),
        "too many": ([1] * 4, "SHAPE_MISMATCH"),
        "none": ([], "TENSOR_MISSING"),
    }
    huge = {"log_probs": torch.zeros(100_000, 2), "targets": torch.ones(50_000, dtype=torch.int64)}
    return [
        *_label_errors(),
        *(
            ErrorInput(f"{field} {n}", good | {field: _lengths(v)}, reason, field)
            for field in ("input_lengths", "target_lengths")
            for n, (v, reason) in lengths.items()
        ),
        *(ErrorInput(f"blank {b}", good | {"blank": b}, "HYPERPARAMETER_OUT_OF_RANGE", "blank") for b in (-1, 5, 2**62)),
        ErrorInput("no classes", good | {"log_probs": x[..., :0]}, "SHAPE_MISMATCH", "log_probs"),
        ErrorInput("integer scores", good | {"log_probs": x.to(torch.int64)}, "DTYPE_UNSUPPORTED", "log_probs"),
        ErrorInput("a 1-d input", good | {"log_probs": x[0, 0]}, "SHAPE_MISMATCH", "log_probs"),
        ErrorInput("rejected NaN", good | {"log_probs": poked(x, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "log_probs"),
        ErrorInput(
            "a small request for 40 GB of workspace", huge | {"input_lengths": _lengths(100_000), "target_lengths": _lengths(50_000)},
            "WORKSPACE_TOO_LARGE", "", "RESOURCE_EXHAUSTED",
        ),
    ]  # fmt: skip


LOSSES = (
    LossSamples(
        name="ctc_loss",
        rpc="CtcLoss",
        samples=_samples(),
        errors=_errors(),
        cases=_alignments,
        batched={"log_probs": 1, "targets": 0, "input_lengths": 0, "target_lengths": 0},
        row_rank=2,
        indices=True,
        free=("log_probs",),
        function=torch_ctc,
        pieces=_pieces,
    ),
)
