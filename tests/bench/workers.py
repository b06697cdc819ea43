# SPDX-License-Identifier: Apache-2.0
"""`lossd serve --workers` 1, 2, ...: how throughput grows with processes, in one interleaved run.

    python tests/bench/workers.py [--workers N ...] [--rounds N] [--seconds S]

Needs h2load. Load and servers share the cores, so N processes show what N are worth only where there are cores to spare: the last
columns are the cores that the server used, and how evenly the connections fell (its busiest worker's share of the workers' CPU).
Ratios are of throughput to the first number of workers, medians over rounds.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import load
from processes import Server
from workloads import WORKLOADS

load.CONNECTIONS = 32  # the kernel spreads them by chance: with few, a worker may get none

_WORKLOADS = [workload for workload in WORKLOADS if workload.name in ("ce_128", "large_32", "batch")]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    rows: dict[tuple[str, int], list[tuple[float, float, float, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {n: stack.enter_context(Server("lossd", workers=n)) for n in arguments.workers}
        for number in range(arguments.rounds):
            for workload in _WORKLOADS:
                for n, server in list(servers.items())[:: 1 if number % 2 else -1]:
                    cpu, since, started = server.cpu_seconds(), server.cpu_seconds_by_worker(), time.monotonic()
                    sample = load.measure(server, workload, arguments.seconds, folder, 0)
                    cores = (server.cpu_seconds() - cpu) / (time.monotonic() - started)
                    each = [now - then for now, then in zip(server.cpu_seconds_by_worker(), since, strict=True)] or [1.0]
                    row = (sample.calls_per_second, sample.cpu_per_1000_calls, cores, max(each) / (sum(each) or 1.0))
                    rows.setdefault((workload.name, n), []).append(row)
    print(f"{os.cpu_count()} cores, {load.CONNECTIONS} connections, {arguments.rounds} rounds\n")
    print("| workload | workers | calls/s | ratio | CPU s per 1,000 calls | cores | busiest worker |\n|---|---|---|---|---|---|---|")
    for (name, n), samples in sorted(rows.items()):
        first = rows[name, arguments.workers[0]]
        ratio = statistics.median(sample[0] / base[0] for sample, base in zip(samples, first, strict=True))
        rate, cpu, cores, busiest = (statistics.median(column) for column in zip(*samples, strict=True))
        print(f"| {name} | {n} | {rate:,.0f} | {ratio:.2f} | {cpu:.3f} | {cores:.2f} | {busiest:.0%} |")


if __name__ == "__main__":
    main()
