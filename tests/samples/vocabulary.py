# SPDX-License-Identifier: Apache-2.0
"""Samples of adaptive softmax and linear cross entropy: a batch of features and an output layer."""

import math
from typing import Any

import torch
from hypothesis import strategies as st

from samples.classification import class_targets, smoothing_errors
from samples.record import (
    ErrorInput,
    Kwargs,
    LossSamples,
    Sample,
    Sizes,
    apart,
    index_types,
    labels,
    mean_over_rows,
    normal,
    poked,
    rng,
    seeds,
    uniform,
)

INF, NAN = math.inf, math.nan

# -- adaptive softmax


def _layers(generator: Any, features: int, cutoffs: list[int], last: int, widths: list[int], *, bias: bool) -> Kwargs:
    ends = [*cutoffs[1:], cutoffs[-1] + last]
    tail = [
        (normal(generator, width, features), normal(generator, end - start, width))
        for width, start, end in zip(widths, cutoffs, ends, strict=True)
    ]
    head = cutoffs[0] + len(cutoffs)
    kwargs: Kwargs = {"head_weight": normal(generator, head, features), "tail": tail, "cutoffs": cutoffs}
    return kwargs | ({"head_bias": normal(generator, head)} if bias else {})


@st.composite
def _adaptive_cases(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, features, batch = draw(seeds), draw(sizes.width), draw(st.one_of(st.none(), sizes.batch))
    steps = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    cutoffs = [sum(steps[: index + 1]) for index in range(len(steps) - 1)]
    widths = [draw(st.integers(1, 4)) for _ in cutoffs]
    outer = () if batch is None else (batch,)
    target = labels(generator, sum(steps), *outer).to(draw(index_types))
    return {
        "input": normal(generator, *outer, features), "target": target,
        **_layers(generator, features, cutoffs, steps[-1], widths, bias=draw(st.booleans())),
    }  # fmt: skip


def torch_adaptive(input: torch.Tensor, target: torch.Tensor, *, head_weight: Any, tail: Any, cutoffs: Any, reduction: str,
                   head_bias: Any = None) -> torch.Tensor:  # fmt: skip
    """The module with these parameters. SUM and NONE, which it lacks, are of minus its output."""
    classes = cutoffs[-1] + tail[-1][1].shape[0]
    module = torch.nn.AdaptiveLogSoftmaxWithLoss(input.shape[-1], classes, cutoffs, div_value=1.0, head_bias=head_bias is not None)
    module.head.weight = torch.nn.Parameter(head_weight)
    if head_bias is not None:
        module.head.bias = torch.nn.Parameter(head_bias)
    for cluster, (projection, output) in zip(module.tail, tail, strict=True):
        cluster[0].weight, cluster[1].weight = torch.nn.Parameter(projection), torch.nn.Parameter(output)  # type: ignore[index]
    with torch.no_grad():
        output, loss = module(input, target)
    return loss if reduction == "mean" else mean_over_rows(-output, reduction)


_PLAIN = {"features": 8, "cutoffs": [4, 7, 12], "last": 5, "widths": [4, 2, 1]}


def _adaptive_samples() -> list[Sample]:
    generator = rng(1)
    x = normal(generator, 10, 8)
    good: Kwargs = {"input": x, "target": torch.arange(10) * 17 // 10, **_layers(generator, **_PLAIN, bias=False)}
    biased = good | _layers(generator, **_PLAIN, bias=True)
    one_tail = _layers(generator, 8, [4], 13, [3], bias=False)
    flat = {**good, "input": apart(x), "head_weight": apart(good["head_weight"]), "tail": [(apart(p), apart(o)) for p, o in good["tail"]]}
    return [
        Sample("a batch", good),
        Sample("a head bias", biased),
        Sample("unbatched", good | {"input": x[0], "target": torch.tensor(16)}),
        Sample("unbatched, in the head", biased | {"input": x[0], "target": torch.tensor(0)}),
        Sample("one tail", good | one_tail),
        Sample(
            "clusters of one class",
            good | {"target": good["target"] % 4, **_layers(generator, 8, [1, 2], 1, [1, 1], bias=True)} | {"target": torch.arange(10) % 3},
        ),
        Sample("only the head", good | {"target": good["target"] % 4}),
        Sample("only the last tail", good | {"target": good["target"] * 0 + 16}),
        Sample("an empty batch", good | {"input": x[:0], "target": good["target"][:0]}),
        Sample("one row", good | {"input": x[:1], "target": good["target"][:1]}),
        Sample("uint8 labels", good | {"target": good["target"].to(torch.uint8)}),
        Sample("not contiguous", flat),
        Sample("float64 features", good | {"input": x.double()}),
        Sample("large features", good | {"input": x * 1e3}),
        Sample("NaN features", good | {"input": poked(x, NAN)}),
    ]


def _adaptive_errors() -> list[ErrorInput]:
    generator = rng(2)
    x, y = normal(generator, 10, 8), labels(generator, 17, 10)
    good: Kwargs = {"input": x, "target": y, **_layers(generator, **_PLAIN, bias=True)}
    tail = good["tail"]

    def second(projection: torch.Tensor, output: torch.Tensor) -> Kwargs:
        return good | {"tail": [tail[0], (projection, output), tail[2]]}

    wrong = {"n_classes": 17, "minus one": -1, "the largest integer": 2**63 - 1}
    cutoffs = {"not increasing": [7, 4, 12], "repeated": [4, 4, 12], "zero": [0, 7, 12], "negative": [-4, 7, 12]}
    return [
        *(ErrorInput(f"a label that is {n}", good | {"target": poked(y, v)}, "TARGET_OUT_OF_RANGE", "target") for n, v in wrong.items()),
        ErrorInput("one label fewer", good | {"target": y[1:]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a column of labels", good | {"target": y[:, None]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("float labels", good | {"target": y.float()}, "DTYPE_UNSUPPORTED", "target"),
        ErrorInput("three extents", good | {"input": x[None], "target": y[None]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("0-d", good | {"input": x[0, 0], "target": y[0]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("integer features", good | {"input": x.to(torch.int64)}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("a head of another width", good | {"head_weight": good["head_weight"][:, 1:]}, "SHAPE_MISMATCH", "head_weight"),
        ErrorInput("a head of too few classes", good | {"head_weight": good["head_weight"][1:]}, "SHAPE_MISMATCH", "head_weight"),
        ErrorInput("a head bias too short", good | {"head_bias": good["head_bias"][1:]}, "SHAPE_MISMATCH", "head_bias"),
        ErrorInput("a projection of another width", second(tail[1][0][:, 1:], tail[1][1]), "SHAPE_MISMATCH", "tail[1].projection"),
        ErrorInput("a projection to nothing", second(tail[1][0][:0], tail[1][1][:, :0]), "SHAPE_MISMATCH", "tail[1].projection"),
        ErrorInput("an output of another width", second(tail[1][0], tail[1][1][:, 1:]), "SHAPE_MISMATCH", "tail[1].output"),
        ErrorInput("an output of too few classes", second(tail[1][0], tail[1][1][1:]), "SHAPE_MISMATCH", "tail[1].output"),
        ErrorInput("integer outputs", second(tail[1][0], tail[1][1].to(torch.int64)), "DTYPE_UNSUPPORTED", "tail[1].output"),
        *(ErrorInput(f"cutoffs {n}", good | {"cutoffs": v}, "HYPERPARAMETER_OUT_OF_RANGE", "cutoffs") for n, v in cutoffs.items()),
        ErrorInput("rejected NaN", good | {"input": poked(x, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "input"),
    ]


# -- linear cross entropy


@st.composite
def _linear_cases(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, features, classes, batch = draw(seeds), draw(sizes.width), draw(sizes.width), draw(st.one_of(st.none(), sizes.batch))
    inner = () if batch is None else draw(sizes.inner)
    outer = () if batch is None else (batch,)
    kwargs: Kwargs = {"input": normal(generator, *outer, features), "linear_weight": normal(generator, classes, *inner, features)}
    if draw(st.booleans()):
        kwargs["linear_bias"] = normal(generator, classes, *inner)
    if draw(st.booleans()):
        kwargs["target"] = draw(st.sampled_from([uniform, normal]))(generator, *outer, classes, *inner)
    else:
        kwargs |= draw(class_targets(generator, classes, (*outer, *inner)))
    if draw(st.booleans()):
        kwargs["weight"] = uniform(generator, classes)
    if draw(st.booleans()):
        kwargs["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return kwargs


def _linear_samples() -> list[Sample]:
    generator = rng(3)
    x, layer, bias = normal(generator, 6, 5), normal(generator, 4, 5), normal(generator, 4)
    y, w, t = labels(generator, 4, 6), uniform(generator, 4), normal(generator, 6, 4).softmax(1)
    good: Kwargs = {"input": x, "linear_weight": layer, "target": y}
    inner = {"linear_weight": normal(generator, 4, 3, 2, 5), "target": labels(generator, 4, 6, 3, 2)}
    return [
        Sample("a batch", good),
        Sample("bias", good | {"linear_bias": bias}),
        Sample("bias, weights, smoothing", good | {"linear_bias": bias, "weight": w, "label_smoothing": 0.1}),
        Sample("unbatched", {"input": x[0], "linear_weight": layer, "target": y[0]}),
        Sample("unbatched, bias, probabilities", {"input": x[0], "linear_weight": layer, "linear_bias": bias, "target": t[0]}),
        Sample("probabilities", good | {"target": t}),
        Sample("probabilities, weights, smoothing", good | {"target": t, "weight": w, "label_smoothing": 0.3}),
        Sample("K = 2", good | inner),
        Sample("K = 2, bias", good | inner | {"linear_bias": normal(generator, 4, 3, 2)}),
        Sample("K = 1, probabilities", good | {"linear_weight": normal(generator, 4, 3, 5), "target": uniform(generator, 6, 4, 3)}),
        Sample("some ignored", good | {"target": torch.where(y == 1, -100, y), "weight": w}),
        Sample("all ignored", good | {"target": y * 0 - 100}),
        Sample("a valid class ignored", good | {"ignore_index": 2}),
        Sample("zero weights", good | {"weight": w * 0}),
        Sample("one class", good | {"linear_weight": layer[:1], "target": y * 0}),
        Sample("an empty batch", good | {"input": x[:0], "target": y[:0]}),
        Sample("uint8 labels", good | {"target": y.to(torch.uint8)}),
        Sample("not contiguous", good | {"input": apart(x), "linear_weight": apart(layer)}),
        Sample("float64 layer", good | {"linear_weight": layer.double()}),
        Sample("large logits", good | {"input": x * 1e3}),
        Sample("NaN features", good | {"input": poked(x, NAN)}),
        Sample(
            "more rows than a chunk",
            {"input": normal(generator, 700, 3), "linear_weight": normal(generator, 50, 3), "target": labels(generator, 50, 700)},
        ),
    ]


def _linear_errors() -> list[ErrorInput]:
    generator = rng(4)
    x, layer, bias = normal(generator, 6, 5), normal(generator, 4, 5), normal(generator, 4)
    y, w, t = labels(generator, 4, 6), uniform(generator, 4), uniform(generator, 6, 4)
    good: Kwargs = {"input": x, "linear_weight": layer, "target": y}
    wrong = {"the number of classes": 4, "minus one": -1, "the largest integer": 2**63 - 1}
    table = {
        "a layer of another width": ({"linear_weight": layer[:, 1:]}, "SHAPE_MISMATCH", "linear_weight"),
        "a layer of one extent": ({"linear_weight": layer[0]}, "SHAPE_MISMATCH", "linear_weight"),
        "no classes": ({"linear_weight": layer[:0]}, "SHAPE_MISMATCH", "linear_weight"),
        "a bias too short": ({"linear_bias": bias[1:]}, "SHAPE_MISMATCH", "linear_bias"),
        "three extents": ({"input": x[None], "target": y[None]}, "SHAPE_MISMATCH", "input"),
        "one label fewer": ({"target": y[1:]}, "SHAPE_MISMATCH", "class_indices"),
        "one class fewer": ({"target": t[:, 1:]}, "SHAPE_MISMATCH", "class_probabilities"),
        "ignore_index with probabilities": ({"target": t, "ignore_index": -100}, "HYPERPARAMETER_OUT_OF_RANGE", "ignore_index"),
        "too few weights": ({"weight": w[1:]}, "SHAPE_MISMATCH", "weight"),
        "an infinite weight": ({"weight": poked(w, INF)}, "VALUE_OUT_OF_RANGE", "weight"),
        "bool labels": ({"target": y > 1}, "DTYPE_UNSUPPORTED", "class_indices"),
        "an integer layer": ({"linear_weight": layer.to(torch.int64)}, "DTYPE_UNSUPPORTED", "linear_weight"),
        "rejected NaN": ({"linear_weight": poked(layer, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "linear_weight"),
    }
    million = {"input": torch.zeros(10**6, 1), "linear_weight": torch.zeros(10**6, 1), "target": torch.zeros(10**6, dtype=torch.int32)}
    return [
        *(
            ErrorInput(f"a label that is {n}", good | {"target": poked(y, v)}, "TARGET_OUT_OF_RANGE", "class_indices")
            for n, v in wrong.items()
        ),
        *(ErrorInput(label, good | changed, reason, field) for label, (changed, reason, field) in table.items()),
        ErrorInput("K = 1 without a batch", {"input": x[0], "linear_weight": layer[:, None], "target": y[:1]}, "SHAPE_MISMATCH", "input"),
        *smoothing_errors(good),
        ErrorInput("12 MB that ask for 10^12 logits", million, "OPERATIONS_TOO_LARGE", "", "RESOURCE_EXHAUSTED"),
    ]


LOSSES = (
    LossSamples(
        name="adaptive_log_softmax_with_loss",
        rpc="AdaptiveLogSoftmaxWithLoss",
        samples=_adaptive_samples(),
        errors=_adaptive_errors(),
        cases=_adaptive_cases,
        batched={"input": 0, "target": 0},
        row_rank=1,
        indices=True,
        function=torch_adaptive,
    ),
    LossSamples(
        name="linear_cross_entropy",
        rpc="LinearCrossEntropyLoss",
        samples=_linear_samples(),
        errors=_linear_errors(),
        cases=_linear_cases,
        batched={"input": 0, "target": 0},
        row_rank=1,
        indices=True,
    ),
)
