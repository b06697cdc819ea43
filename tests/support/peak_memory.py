# SPDX-License-Identifier: Apache-2.0
"""The measured peak memory of reading, computing and answering one call: `python peak_memory.py` prints a line of JSON a case.

Each case is a process of its own, forked before torch has threads, with the allocator set as the server's: what the heap keeps,
or cannot reuse because something small lies in its holes, is counted.
"""

import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lossd
from lossd_server.call import Execution, Success
from lossd_server.compute.batch import compute
from lossd_server.compute.memory import HostMemory
from lossd_server.losses import LOSSES
from lossd_server.process import keep_freed_memory
from lossd_server.requests.decode import read
from lossd_server.requests.validate import RequestLimits, validate, workspace_bytes
from lossd_server.service.responses import responses
from support.encoded_requests import encoded

Kwargs = dict[str, Any]
M = 1 << 20
_BASE = np.random.default_rng(1).random(4 * M, np.float32)  # of which all arguments are views, so that a fork is cheap


def _floats(*shape: int, dtype: str = "f4") -> np.ndarray[Any, Any]:
    return _BASE[: math.prod(shape)].reshape(shape).astype(dtype, copy=False)


def _ones(*shape: int, dtype: str = "f4") -> np.ndarray[Any, Any]:
    return np.broadcast_to(np.ones((), dtype), shape)


def _labels(classes: int, *shape: int, dtype: str = "i8") -> np.ndarray[Any, Any]:
    return np.broadcast_to((np.arange(shape[0]) % classes).astype(dtype).reshape(-1, *[1] * (len(shape) - 1)), shape)


def _pairs(name: str, *, target: Callable[..., Any] = _floats, **more: Any) -> dict[str, tuple[str, Kwargs]]:
    """An element-wise loss: plain, of small elements, and with arguments that broadcast."""
    return {
        f"{name}": (name, {"input": _floats(4 * M), "target": target(4 * M), **more}),
        f"{name}, small elements": (name, {"input": _floats(4 * M, dtype="f2"), "target": _ones(4 * M, dtype="?"), **more}),
    }


def cases() -> dict[str, tuple[str, Kwargs]]:
    """By label: a loss and its arguments."""
    found: dict[str, tuple[str, Kwargs]] = {}
    for name in ("l1_loss", "mse_loss", "huber_loss"):
        found |= _pairs(name) | {f"{name}, weighted": (name, {"input": _floats(4 * M), "target": _floats(4 * M), "weight": _floats(4 * M)})}
    for name in ("smooth_l1_loss", "kl_div", "poisson_nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"):
        found |= _pairs(name)
    for name in ("soft_margin_loss", "hinge_embedding_loss"):
        found |= _pairs(name, target=_ones)
    image = {"input": _floats(2048, 2048), "target": _floats(2048, 2048)}
    found |= {
        "smooth_l1_loss, tiny beta": ("smooth_l1_loss", {"input": _floats(4 * M), "target": _floats(4 * M), "beta": 1e-45}),
        "kl_div, log targets": ("kl_div", image | {"log_target": True}),
        "poisson_nll_loss, full": ("poisson_nll_loss", image | {"full": True, "log_input": False}),
        "binary_cross_entropy, broadcast": ("binary_cross_entropy", image | {"weight": _floats(2048)}),
        "binary_cross_entropy_with_logits, broadcast": (
            "binary_cross_entropy_with_logits",
            image | {"weight": _floats(2048, 1), "pos_weight": _floats(2048)},
        ),
        "gaussian_nll_loss": ("gaussian_nll_loss", image | {"var": _floats(2048, 2048), "full": True}),
        "gaussian_nll_loss, broadcast": ("gaussian_nll_loss", image | {"var": _floats(2048)}),
        "gaussian_nll_loss, a number": ("gaussian_nll_loss", image | {"var": 0.5}),
        "margin_ranking_loss": ("margin_ranking_loss", {"input1": _floats(4 * M), "input2": _floats(4 * M), "target": _ones(4 * M)}),
        "gaussian_nll_loss, a target that broadcasts": ("gaussian_nll_loss", image | {"target": _floats(2048), "var": _floats(2048)}),
        "margin_ranking_loss, broadcast": (
            "margin_ranking_loss",
            {"input1": _floats(2048, 1), "input2": _floats(1, 2048), "target": _ones(2048, 2048, dtype="?")},
        ),
        "hinge_embedding_loss, broadcast": ("hinge_embedding_loss", {"input": _floats(1, dtype="f2"), "target": _ones(4 * M, dtype="?")}),
        "soft_margin_loss, broadcast": ("soft_margin_loss", {"input": _floats(2048, 2048, dtype="f2"), "target": _ones(1, dtype="?")}),
        "cosine_embedding_loss": (
            "cosine_embedding_loss",
            {"input1": _floats(16384, 256), "input2": _floats(16384, 256), "target": _ones(16384)},
        ),
        "cosine_embedding_loss, short rows": (
            "cosine_embedding_loss",
            {"input1": _floats(4 * M, 1), "input2": _floats(4 * M, 1), "target": _ones(4 * M, dtype="u1")},
        ),
    }
    for width in (256, 1):
        rows = 4 * M // width
        triplet = {name: _floats(rows, width) for name in ("anchor", "positive", "negative")}
        found[f"triplet_margin_loss, {width} wide"] = ("triplet_margin_loss", triplet | {"swap": True})
        found[f"triplet_margin_loss, {width} wide, p 3"] = ("triplet_margin_loss", triplet | {"swap": True, "p": 3.0})
        for distance in (lossd.CosineDistance(), lossd.SquaredEuclideanDistance()):
            found[f"triplet_margin_with_distance_loss, {width} wide, {distance.field}"] = (
                "triplet_margin_with_distance_loss",
                triplet | {"distance_function": distance, "swap": True},
            )
    for classes in (1000, 8, 1):
        rows = 4 * M // classes
        scores = _floats(rows, classes)
        labels = _labels(classes, rows)
        lists = np.broadcast_to(np.where(np.arange(classes) == 0, 0, -1), (rows, classes))
        found |= {
            f"nll_loss, {classes} classes": ("nll_loss", {"input": scores, "target": labels, "weight": _floats(classes)}),
            f"cross_entropy, {classes} classes": ("cross_entropy", {"input": scores, "target": labels, "weight": _floats(classes)}),
            f"cross_entropy, {classes} classes, smoothed": ("cross_entropy", {"input": scores, "target": labels, "label_smoothing": 0.1}),
            f"cross_entropy, {classes} classes, probabilities": (
                "cross_entropy",
                {"input": scores, "target": _floats(rows, classes), "weight": _floats(classes), "label_smoothing": 0.1},
            ),
            f"multi_margin_loss, {classes} classes": ("multi_margin_loss", {"input": scores, "target": labels, "p": 2}),
            f"multilabel_margin_loss, {classes} classes": ("multilabel_margin_loss", {"input": scores, "target": lists}),
            f"multilabel_soft_margin_loss, {classes} classes": (
                "multilabel_soft_margin_loss",
                {"input": scores, "target": _floats(rows, classes), "weight": _floats(rows, 1)},
            ),
        }
    image = {"input": _floats(4, 4, 512, 512), "target": _labels(4, 4, 512, 512, dtype="u1")}
    found["cross_entropy, an image"] = ("cross_entropy", image)
    found["nll_loss, an image"] = ("nll_loss", image | {"weight": _floats(4)})
    lengths = {"input_lengths": [1000] * 32, "target_lengths": [60] * 32}
    speech = {"log_probs": np.log(_floats(1000, 32, 100)), "targets": 1 + _labels(99, 32, 60), **lengths}
    found["ctc_loss"] = ("ctc_loss", speech | {"zero_infinity": True})
    # A request of little that asks for much: scores of all classes for many rows.
    found |= {
        "linear_cross_entropy, many rows of few features": (
            "linear_cross_entropy",
            {"input": _floats(20_000, 1), "linear_weight": _floats(20_000, 1), "target": _labels(20_000, 20_000)},
        ),
        "linear_cross_entropy, smoothed": (
            "linear_cross_entropy",
            {"input": _floats(4096, 4), "linear_weight": _floats(8192, 4), "target": _labels(8192, 4096), "label_smoothing": 0.1},
        ),
        "linear_cross_entropy, weighted, inner extents": (
            "linear_cross_entropy",
            {"input": _floats(8192, 4), "linear_weight": _floats(2048, 3, 4), "target": _labels(2048, 8192, 3), "weight": _floats(2048)},
        ),
        "linear_cross_entropy, probabilities": (
            "linear_cross_entropy",
            {"input": _floats(4096, 4), "linear_weight": _floats(1024, 4), "target": _floats(4096, 1024), "weight": _floats(1024)},
        ),
        "adaptive_log_softmax_with_loss": (
            "adaptive_log_softmax_with_loss",
            {
                "input": _floats(20_000, 16), "target": _labels(20_000, 20_000), "head_weight": _floats(2002, 16),
                "cutoffs": [2000, 10_000],
                "tail": [(_floats(8, 16), _floats(8000, 8)), (_floats(2, 16), _floats(10_000, 2))],
            },
        ),
    }  # fmt: skip
    return found


def measure(name: str, kwargs: Kwargs) -> dict[str, int]:
    """Bytes: of the message, of the estimate that admits it, and held at most besides the message."""
    rpc, message = encoded(name, **kwargs)
    spec = LOSSES[rpc]
    kwargs.clear()
    _trim()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    arguments = read(spec, message)
    call = validate(spec, arguments, RequestLimits(max_response_bytes=1 << 40))
    estimate = workspace_bytes(spec, arguments, call.arrangement, call.reduction, double=call.double)
    del arguments
    (answer,) = compute([call], HostMemory())
    responses(Success(answer, Execution(0.0, 0.0, 1, "cpu")), 1)
    return {"message": len(message), "estimate": estimate, "peak": _status("VmHWM") - before}


def _trim() -> None:
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def main(names: list[str]) -> None:
    keep_freed_memory()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    varied: set[str] = set()
    for label, (name, kwargs) in cases().items():
        variants: tuple[Kwargs, ...] = ({},) if name in varied else ({}, {"precision": "float64"}, {"reduction": "none"})
        varied.add(name)
        for variant in variants if not names or name in names else ():
            if os.fork():
                os.wait()
                continue
            try:
                sizes = measure(name, kwargs | variant)
                print(json.dumps({"label": ", ".join([label, *variant.values()]), "loss": name, **sizes}), flush=True)
            except BaseException:  # noqa: BLE001 - the parent goes on
                traceback.print_exc()
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
