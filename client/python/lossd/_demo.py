# SPDX-License-Identifier: Apache-2.0
"""The demonstration behind `lossd demo`: real predictions, many callers, and a check of every answer.

Every caller scores the data set case by case, with the mini-batches in its own random order, so that each mini-batch is computed many
times, each time with different other calls. Two neighbours send large calls until the callers are done: without them a CPU answers small
calls as fast as they arrive, and nothing would be coalesced.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossd._client import Client
from lossd._codec import LossResult
from lossd.v1 import loss_service_pb2

ROWS_A_CALL: Final = 32
NEIGHBOURS: Final = 2
NEIGHBOUR_COPIES: Final = 128

# The tolerances of torch.testing.assert_close for float32.
RTOL: Final = 1.3e-6
ATOL: Final = 1e-5

_START_SECONDS: Final = 120.0
_CONNECT_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 20.0


class ServerFailedError(Exception):
    """The server could not be started; the message says why."""


@dataclass(frozen=True)
class Case:
    """A loss, by its name in torch.nn.functional, over two arrays of demo_data/."""

    loss: str
    input: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The loss and its arguments."""
        return self.loss + "".join(f" {name}={value}" for name, value in self.arguments.items())


CASES: Final = (
    Case("cross_entropy", "digits_logits", "digits_labels"),
    Case("cross_entropy", "digits_logits", "digits_labels", {"label_smoothing": 0.1}),
    Case("nll_loss", "digits_log_probabilities", "digits_labels"),
    Case("binary_cross_entropy", "tumour_probabilities", "tumour_labels"),
    Case("binary_cross_entropy_with_logits", "tumour_logits", "tumour_labels"),
    Case("l1_loss", "diabetes_predictions", "diabetes_targets"),
    Case("mse_loss", "diabetes_predictions", "diabetes_targets"),
    Case("smooth_l1_loss", "diabetes_predictions", "diabetes_targets"),
    Case("huber_loss", "diabetes_predictions", "diabetes_targets", {"delta": 10.0}),
)


@dataclass(frozen=True)
class Row:
    """The results of one case."""

    label: str
    value: float
    expected: float
    calls: int
    mean_batch: float
    largest_batch: int
    p50_ms: float
    p99_ms: float
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The results of the demonstration."""

    info: loss_service_pb2.GetServerInfoResponse
    torch_version: str | None
    rows: tuple[Row, ...]
    callers: int
    neighbours: int
    neighbour_rows: int
    seconds: float

    @property
    def failures(self) -> list[str]:
        """A message for every wrong answer."""
        return [failure for row in self.rows for failure in row.failures]


@contextmanager
def server(device: str) -> Iterator[str]:
    """Starts a server in its own process on a free port, yields its address, and stops it at the end. Raises ServerFailedError."""
    command = [sys.executable, "-P", "-m", "lossd.cli", "serve", "--listen=127.0.0.1:0", "--admin-listen=", "--log-level=warning"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}
    process = subprocess.Popen([*command, f"--device={device}"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(_START_SECONDS, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        killer.cancel()
        if not line:
            _, errors = process.communicate()
            raise ServerFailedError(errors.strip().rpartition("Error: ")[2] or "the server did not start")
        yield line.split()[-1]
    finally:
        killer.cancel()
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def run(address: str, callers: int) -> Report:
    """Scores all cases on the server at `address` from `callers` threads, and checks every answer. Raises LossdError."""
    batches = [_MiniBatch(case, *rows) for case in CASES for rows in _split(*arrays(case))]
    neighbour = _MiniBatch(CASES[0], *(np.concatenate([array] * NEIGHBOUR_COPIES) for array in arrays(CASES[0])))
    with Client(address) as client:
        client.wait_until_ready(_CONNECT_SECONDS)
        info = client.server_info()
        _score(client, neighbour)  # the first call is slow, since it loads modules
        started_at = time.perf_counter()
        answers = _call(client, batches, neighbour, callers)
        seconds = time.perf_counter() - started_at
    torch = _torch()
    rows = [_row(case, case.label, [batch for batch in batches if batch.case is case], answers, torch) for case in CASES]
    rows.append(_row(CASES[0], f"{CASES[0].label} (neighbours)", [neighbour], answers, torch))
    return Report(info, torch.__version__ if torch else None, tuple(rows), callers, NEIGHBOURS, len(neighbour.input), seconds)


def arrays(case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """The case's predictions and targets."""
    folder = resources.files("lossd") / "demo_data"
    with (folder / f"{case.input}.npy").open("rb") as input_file, (folder / f"{case.target}.npy").open("rb") as target_file:
        return np.load(input_file), np.load(target_file)


def files() -> Iterator[tuple[str, bytes]]:
    """The name and content of every .npy file of the demonstration."""
    for name in sorted({name for case in CASES for name in (case.input, case.target)}):
        yield f"{name}.npy", (resources.files("lossd") / "demo_data" / f"{name}.npy").read_bytes()


# Implementation details follow.


@dataclass(frozen=True, eq=False)
class _MiniBatch:
    case: Case
    input: NDArray[Any]
    target: NDArray[Any]


class _Answer(NamedTuple):
    result: LossResult
    seconds: float


_Answers = Mapping[_MiniBatch, Sequence[_Answer]]


def _split(inputs: NDArray[Any], targets: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for start in range(0, len(inputs), ROWS_A_CALL):
        yield inputs[start : start + ROWS_A_CALL], targets[start : start + ROWS_A_CALL]


def _score(client: Client, batch: _MiniBatch) -> _Answer:
    method = getattr(client, batch.case.loss)
    started_at = time.perf_counter()
    result = method(batch.input, batch.target, return_statistics=True, **batch.case.arguments)
    return _Answer(result, time.perf_counter() - started_at)


def _call(client: Client, batches: Sequence[_MiniBatch], neighbour: _MiniBatch, callers: int) -> _Answers:
    """All answers to the callers and neighbours."""
    answers: dict[_MiniBatch, list[_Answer]] = {batch: [] for batch in (*batches, neighbour)}
    over = threading.Event()

    def caller(number: int) -> None:
        for batch in _shuffled(batches, seed=number):
            if over.is_set():
                return
            answers[batch].append(_score(client, batch))

    def keep_busy() -> None:
        while not over.is_set():
            answers[neighbour].append(_score(client, neighbour))

    with ThreadPoolExecutor(callers + NEIGHBOURS) as pool:
        try:
            neighbours = [pool.submit(keep_busy) for _ in range(NEIGHBOURS)]
            for done in as_completed([pool.submit(caller, number) for number in range(callers)]):
                done.result()
        finally:
            over.set()
        for future in neighbours:
            future.result()
    return answers


def _shuffled(batches: Sequence[_MiniBatch], seed: int) -> list[_MiniBatch]:
    """The cases in order, with the mini-batches of each in random order."""
    shuffled = random.Random(seed).sample(batches, len(batches))
    return sorted(shuffled, key=lambda batch: CASES.index(batch.case))


def _row(case: Case, label: str, batches: Sequence[_MiniBatch], answers: _Answers, torch: Any) -> Row:
    numerator = sum(answers[batch][0].result.mean_numerator for batch in batches)
    denominator = sum(answers[batch][0].result.mean_denominator for batch in batches)
    value = numerator / denominator
    expected = _recorded(case) if torch is None else _torch_value(torch, case, *arrays(case))
    failures = [failure for batch in batches for failure in _check(label, batch, answers[batch], torch)]
    if not _close(value, expected):
        failures.append(f"{label}: {value!r} over the data set instead of {expected!r}")

    of_row = [answer for batch in batches for answer in answers[batch]]
    sizes = [answer.result.execution.calls_in_batch for answer in of_row]
    p50, p99 = np.percentile([answer.seconds for answer in of_row], (50, 99)) * 1e3
    return Row(
        label=label,
        value=value,
        expected=expected,
        calls=len(of_row),
        mean_batch=len(sizes) / sum(1 / size for size in sizes),  # calls / batches: a call is 1/size of its batch
        largest_batch=max(sizes),
        p50_ms=float(p50),
        p99_ms=float(p99),
        failures=tuple(failures),
    )


def _check(label: str, batch: _MiniBatch, answers: Sequence[_Answer], torch: Any) -> Iterator[str]:
    first = answers[0].result
    if torch is not None:
        expected = _torch_value(torch, batch.case, batch.input, batch.target)
        if not _close(first.value, expected):
            yield f"{label}: {first.value!r} for a mini-batch instead of {expected!r}"
    for result, _ in answers:
        # Dataclasses compare field by field; only the execution may differ from one answer to the next.
        if replace(result, execution=first.execution) != first:
            yield f"{label}: {result.value!r} and {first.value!r} for the same mini-batch in different batches"


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) <= ATOL + RTOL * abs(expected)


def _torch_value(torch: Any, case: Case, inputs: NDArray[Any], targets: NDArray[Any]) -> float:
    loss = getattr(torch.nn.functional, case.loss)
    return float(loss(torch.from_numpy(inputs), torch.from_numpy(targets), **case.arguments))


def _recorded(case: Case) -> float:
    values: dict[str, float] = json.loads((resources.files("lossd") / "demo_data" / "expected.json").read_text())
    return values[case.label]


def _torch() -> Any:
    """Torch, or None if it is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch
