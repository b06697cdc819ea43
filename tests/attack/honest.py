# SPDX-License-Identifier: Apache-2.0
"""Callers that mean well, through the SDK, in threads: every answer is compared with the truth, bit by bit.

The truth is what the same server answered to the same call before the attack began, alone.
"""

import itertools
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

import lossd

from .corpus import Valid
from .verdict import Tally

_PATIENCE = 200  # times that a call is tried that the server is too busy for, besides the SDK's own retries


def bits(result: Any) -> bytes:
    """Everything of a result but how it was computed."""
    sums = struct.pack("<3d2q", result.sum, result.mean_numerator, result.mean_denominator, result.element_count, result.ignored_count)
    return np.asarray(result.value).tobytes() + sums


def ask(client: Any, valid: Valid) -> Any:
    return getattr(client, valid.name)(**valid.kwargs, return_statistics=True)


def truth_of(address: str, valid: list[Valid]) -> dict[Valid, bytes]:
    with lossd.Client(address) as client:
        return {call: bits(ask(client, call)) for call in valid}


class Honest:
    """Threads that call until the end of a `with`: one call at a time, in batches, and over one stream from several threads at once."""

    def __init__(self, address: str, truth: dict[Valid, bytes], tally: Tally) -> None:
        self._truth = truth
        self._calls = list(truth)
        self._tally = tally
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._unary = lossd.Client(address)
        self._streaming = lossd.Client(address, coalesce=True)
        work: list[Callable[[int], None]] = [self._one_by_one, self._in_batches, self._over_a_stream, self._over_a_stream]
        self._threads = [
            threading.Thread(target=self._loop, args=(target, start), name=f"honest-{start}") for start, target in enumerate(work)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._unary.close()
        self._streaming.close()

    def _loop(self, work: Callable[[int], None], start: int) -> None:
        for position in itertools.count(start * 101):
            if self._stopped.is_set():
                return
            try:
                work(position)
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                self._count("lost answers")
                self._find(f"an honest caller met {type(error).__name__}: {error}")

    def _one_by_one(self, position: int) -> None:
        self._check(self._unary, self._calls[position % len(self._calls)])

    def _over_a_stream(self, position: int) -> None:
        self._check(self._streaming, self._calls[position % len(self._calls)])

    def _check(self, client: Any, valid: Valid) -> None:
        for _ in range(_PATIENCE):
            try:
                found = ask(client, valid)
            except lossd.OverloadedError:
                self._count("honest calls refused for load, and tried again")
                continue
            self._compare(valid, found)
            return
        self._count("lost answers")
        self._find(f"an honest {valid.rpc} was never answered")

    def _in_batches(self, position: int) -> None:
        chosen = [self._calls[(position * 7 + index * 13) % len(self._calls)] for index in range(20)]
        try:
            with self._unary.batch() as batch:
                handles = [ask(batch, valid) for valid in chosen]
        except lossd.OverloadedError:
            self._count("honest calls refused for load, and tried again", len(chosen))
            return
        for valid, handle in zip(chosen, handles, strict=True):
            try:
                self._compare(valid, handle.result())
            except lossd.OverloadedError:
                self._count("honest calls refused for load, and tried again")

    def _compare(self, valid: Valid, found: Any) -> None:
        if bits(found) == self._truth[valid]:
            self._count("honest answers")
        else:
            self._count("wrong answers")
            self._find(f"an honest {valid.rpc} was answered with other bits than alone")

    def _count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self._tally.count(what, times)

    def _find(self, what: str) -> None:
        with self._lock:
            self._tally.find(what)
