# SPDX-License-Identifier: Apache-2.0
"""Samples -> medians with their spread, the ratios that must hold, a table, JSON and a plot."""

import datetime
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import svg
from load import Sample
from workloads import LARGE_BYTES, WORKLOADS

Rounds = dict[tuple[str, str], list[Sample]]  # (workload, server) -> its samples, one of each round

_COLOURS = {"lossd": "#2f81f7", "naive": "#d9822b", "echo": "#8b949e"}
_PLOTTED = ("ce_32", "ce_128", "batch", "stream", "large_32", "mse_128")


@dataclass(frozen=True)
class Ratio:
    """A quotient of two measurements, and the bound that it must keep."""

    title: str
    over: tuple[str, str]  # (workload, server)
    under: tuple[str, str] | None
    bound: float
    at_most: bool = False
    of: Callable[[Sample], float] = lambda sample: sample.calls_per_second
    scale: float = 1.0

    def values(self, rounds: Rounds) -> list[float]:
        """One for each round."""
        over = [self.of(sample) for sample in rounds.get(self.over, [])]
        if self.under is None:
            return [value / self.scale for value in over]
        return [a / b for a, b in zip(over, [self.of(sample) for sample in rounds.get(self.under, [])], strict=False)]

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def _unary(in_flight: int) -> list[Ratio]:
    name = f"ce_{in_flight}"
    return [
        Ratio(f"CE 32x10, {in_flight} in flight, of the aio echo", (name, "lossd"), (name, "echo_aio"), 0.85),
        Ratio(f"CE 32x10, {in_flight} in flight, of the naive aio", (name, "lossd"), (name, "naive_aio"), 1.0),
        Ratio(f"CE 32x10, {in_flight} in flight, of the naive threaded", (name, "lossd"), (name, "naive_threaded"), 1.7),
    ]


def _p50(sample: Sample) -> float:
    return sample.p50


def _growth(sample: Sample) -> float:
    return sample.peak_growth_bytes


RATIOS = (
    *_unary(32),
    *_unary(128),
    Ratio("lone caller, p50, of the naive aio", ("ce_1", "lossd"), ("ce_1", "naive_aio"), 1.05, at_most=True, of=_p50),
    Ratio("lone caller, p50, of the naive threaded", ("ce_1", "lossd"), ("ce_1", "naive_threaded"), 1.15, at_most=True, of=_p50),
    Ratio("100 calls in a message, of the aio echo", ("batch", "lossd"), ("batch", "echo_aio"), 0.45),
    Ratio("100 calls in a message, of the naive threaded", ("batch", "lossd"), ("batch", "naive_threaded"), 3.0),
    Ratio("Client.batch() of its unary calls", ("py_batch", "lossd"), ("py_unary", "lossd"), 10.0),
    Ratio("AsyncClient, 128 in flight, coalescing or not", ("py_coalesce", "lossd"), ("py_async", "lossd"), 4.0),
    Ratio("CE 1024x1000, 32 in flight, of the naive threaded", ("large_32", "lossd"), ("large_32", "naive_threaded"), 1.5),
    Ratio("CE 1024x1000, 32 in flight, of the threaded bytes echo", ("large_32", "lossd"), ("large_32", "echo_threaded_bytes"), 0.75),
    Ratio("A,B,A,B of the same calls sorted, unary", ("mixed_128", "lossd"), ("sorted_128", "lossd"), 0.95),
    Ratio("A,B,A,B of the same calls sorted, in a message", ("batch_mixed", "lossd"), ("batch_sorted", "lossd"), 0.95),
    Ratio("memory growth of the bytes in flight, 8 x 4 MB", ("large_8", "lossd"), None, 3.0, True, _growth, 8 * LARGE_BYTES),
    Ratio("memory growth of the bytes in flight, 32 x 4 MB", ("large_32", "lossd"), None, 3.0, True, _growth, 32 * LARGE_BYTES),
)


def table(rounds: Rounds) -> str:
    """Medians of the rounds; the spread is half the range of the throughputs."""
    head = f"{'':34s}{'calls/s':>10s}{'±':>6s}{'p50 ms':>9s}{'p99 ms':>9s}{'CPU s/1000':>12s}{'peak MB':>9s}{'a batch':>9s}  why"
    rows = [head]
    for workload in WORKLOADS:
        servers = [server for name, server in rounds if name == workload.name]
        if servers:
            rows.append(workload.title)
        for server in servers:
            samples = rounds[workload.name, server]
            row = _medians(samples)
            batch = "" if row["calls_per_batch"] is None else f"{row['calls_per_batch']:.1f}"
            why = " ".join(f"{reason} {share:.0%}" for reason, share in samples[-1].reasons.items() if share >= 0.005)
            rows.append(
                f"    {server:30s}{row['calls_per_second']:10,.0f}{row['spread']:6.0%}{1e3 * row['p50']:9.2f}{1e3 * row['p99']:9.2f}"
                f"{row['cpu_per_1000_calls']:12.4f}{row['peak_bytes'] / 1e6:9.0f}{batch:>9s}  {why}".rstrip()
            )
    return "\n".join(rows)


def ratios(rounds: Rounds) -> list[dict[str, Any]]:
    """The median of every ratio that was measured, its range, and whether its bound is kept."""
    found = []
    for ratio in RATIOS:
        values = ratio.values(rounds)
        if values:
            median = statistics.median(values)
            bound = f"{'<=' if ratio.at_most else '>='} {ratio.bound:g}"
            found.append(
                {"ratio": ratio.title, "median": median, "range": [min(values), max(values)], "target": bound, "holds": ratio.holds(median)}
            )
    return found


def ratio_table(found: Sequence[dict[str, Any]]) -> str:
    """One line for each."""
    rows = [f"{'':58s}{'median':>8s}{'range':>16s}{'target':>10s}"]
    for one in found:
        low, high = one["range"]
        spread = f"{low:.2f} - {high:.2f}"
        rows.append(f"{one['ratio']:58s}{one['median']:8.2f}{spread:>16s}{one['target']:>10s}  {'pass' if one['holds'] else 'MISS'}")
    return "\n".join(rows)


def document(rounds: Rounds, found: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "machine": machine(),
        "seconds_per_run": seconds,
        "ratios": list(found),
        "results": [
            {"workload": name, "server": server, **_medians(samples), "rounds": [sample.to_json() for sample in samples]}
            for (name, server), samples in rounds.items()
        ],
    }


def plot(rounds: Rounds) -> str:
    """The throughputs as SVG."""
    panels = {}
    for workload in WORKLOADS:
        if workload.name not in _PLOTTED:
            continue
        panel = []
        for (name, server), samples in rounds.items():
            if name == workload.name:
                rates = [sample.calls_per_second for sample in samples]
                colour = _COLOURS[server.partition("_")[0]]
                panel.append(svg.Bar(server.replace("_", " "), statistics.median(rates), min(rates), max(rates), colour))
        if panel:
            panels[f"{workload.title}, calls/s"] = panel
    here = machine()
    versions = ", ".join(here["versions"][:3])
    note = (
        f"{here['cpu']}, {here['cores']} cores for load and server; {versions}; {here['date']}; bars: medians, lines: range of the rounds"
    )
    return svg.bars("lossd, the servers one would write, and echo servers", panels, note)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    names = ("torch", "grpcio", "protobuf", "numpy", "uvloop")
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": [f"Python {platform.python_version()}", *[f"{name} {version(name)}" for name in names], h2load],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


# Implementation details follow.


def _medians(samples: Sequence[Sample]) -> dict[str, Any]:
    rates = [sample.calls_per_second for sample in samples]
    row: dict[str, Any] = {"spread": (max(rates) - min(rates)) / 2 / statistics.median(rates)}
    for name in ("calls_per_second", "p50", "p99", "cpu_per_1000_calls", "peak_bytes", "peak_growth_bytes", "calls_per_batch"):
        values = [getattr(sample, name) for sample in samples]
        row[name] = None if None in values else statistics.median(values)
    return row
