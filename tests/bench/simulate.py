# SPDX-License-Identifier: Apache-2.0
"""What a timer costs: lossd's queue, which has none, against fixed timers of 1, 5 and 10 ms, in virtual time.

    python tests/bench/simulate.py [--out DIR]

Two charts and their numbers as JSON: latency over the offered load, for calls that arrive one by one, of eight kinds, or in bursts;
and the throughput of clients that each wait for their answer. Same seed, same numbers.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import svg
from simulation import Device, Policy, Run, Traffic, simulate

CALLS = 3000  # at each point

# A batch costs a launch and a little for each element: about what small losses cost on a GPU, and in Python on a CPU.
DEVICE = Device(fixed_seconds=100e-6, seconds_per_element=5e-9)

POLICIES = {
    "lossd: no timer": (Policy(), "#2f81f7"),
    "1 ms timer": (Policy(1e-3), "#3fb950"),
    "5 ms timer": (Policy(5e-3), "#d9822b"),
    "10 ms timer": (Policy(10e-3), "#e5534b"),
}
RATES = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
CLIENTS = (1, 4, 16, 64, 256, 1024)
MIXES = {"one kind of call": Traffic(), "eight kinds of calls": Traffic(keys=8), "bursts of 64 calls": Traffic(burst=64)}


def sweep(points: dict[float, Traffic], value: Callable[[Run], float]) -> tuple[list[svg.Line], list[dict[str, Any]]]:
    """A line for each policy over these points, and the same as data."""
    lines, data = [], []
    for name, (policy, colour) in POLICIES.items():
        runs = {x: simulate(traffic, DEVICE, policy, CALLS) for x, traffic in points.items()}
        lines.append(svg.Line(name, [(x, value(run)) for x, run in runs.items()], colour))
        data += [
            {
                "policy": name,
                "x": x,
                "calls_per_second": run.throughput,
                "p50_ms": 1e3 * run.median_latency,
                "p99_ms": 1e3 * run.p99_latency,
                "calls_per_batch": run.calls_per_batch,
            }
            for x, run in runs.items()
        ]
    return lines, data


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    note = f"Simulated: a device that takes {1e6 * DEVICE.fixed_seconds:g} us a batch and {320e6 * DEVICE.seconds_per_element:g} us a call"
    data, latency, throughput = {}, {}, {}
    for quantile, value in (("median", lambda run: 1e3 * run.median_latency), ("p99", lambda run: 1e3 * run.p99_latency)):
        for name, mix in MIXES.items():
            points = {rate: Traffic(rate=rate, burst=mix.burst, keys=mix.keys) for rate in RATES}
            latency[f"{name}: {quantile}"], data[f"{name}, by calls/s offered"] = sweep(points, value)
    for name, mix in list(MIXES.items())[:2]:
        points = {clients: Traffic(clients=clients, keys=mix.keys) for clients in CLIENTS}
        throughput[f"{name}: calls/s"], data[f"{name}, by clients"] = sweep(points, lambda run: run.throughput)
    chart = svg.lines("Latency with and without a timer", latency, note, "calls/s offered", "ms", x_log=True)
    (out / "simulation-latency.svg").write_text(chart)
    chart = svg.lines("Throughput with and without a timer", throughput, note, "clients", "calls/s", columns=2, x_log=True)
    (out / "simulation-throughput.svg").write_text(chart)
    (out / "simulation.json").write_text(json.dumps({"device": vars(DEVICE), "calls": CALLS, "results": data}, indent=1) + "\n")
    for title, rows in data.items():
        print(f"{title:36s}{'p50 ms':>10s}{'p99 ms':>10s}{'calls/s':>12s}{'a batch':>9s}")
        for row in rows:
            numbers = f"{row['p50_ms']:10.3f}{row['p99_ms']:10.3f}{row['calls_per_second']:12,.0f}{row['calls_per_batch']:9.1f}"
            print(f"    {row['policy']:20s}{row['x']:12,.0f}{numbers}")


if __name__ == "__main__":
    main()
