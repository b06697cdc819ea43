# SPDX-License-Identifier: Apache-2.0
"""lossd against its ceilings and against what one would write without it, in one interleaved run.

    python tests/bench/run.py [--quick] [--only PART ...] [--servers PART ...] [--out DIR]

Needs h2load (Debian: nghttp2-client) and lossd[server,dev]. All servers are started, then every round visits every workload
and every server in turn, so that a noisy moment meets them all; figures are medians of the rounds. Everything stays on the loopback
interface, and load and servers share the cores. The lone caller's latency is h2load's own log of one connection with one
stream, to the microsecond. The ratios that the project promises itself are printed with their targets.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import report
from load import Unserved, Wrong, measure, preflight
from processes import HERE, SERVERS, Server
from workloads import WORKLOADS, Workload


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds: noisy")
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="workloads whose names contain one of these")
    parser.add_argument("--servers", nargs="*", default=[], metavar="PART", help="servers whose names contain one of these")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("h2load is missing: apt-get install nghttp2-client")
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    seconds = arguments.seconds or (0.5 if arguments.quick else 1.0)
    workloads = [workload for workload in WORKLOADS if _chosen(workload.name, arguments.only)]
    servers = [name for name in SERVERS if _chosen(name, arguments.servers)]
    results, wrong = run(workloads, servers, rounds, seconds)

    found = report.ratios(results)
    print(report.table(results), report.ratio_table(found), sep="\n\n")
    if not arguments.only and not arguments.servers:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "bench.json").write_text(json.dumps(report.document(results, found, seconds), indent=1) + "\n")
        (arguments.out / "bench.svg").write_text(report.plot(results))
    if wrong:
        sys.exit("\n".join(["", "these runs are left out:", *wrong]))


def run(workloads: list[Workload], names: list[str], rounds: int, seconds: float) -> tuple[report.Rounds, list[str]]:
    """Every workload on every server, `rounds` times, in another order each time; and what went wrong."""
    runs = [(workload, name) for workload in workloads for name in names if name in workload.only]
    results: report.Rounds = {(workload.name, name): [] for workload, name in runs}
    unserved, wrong = set(), []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {name: stack.enter_context(Server(name)) for name in names}
        for server in servers.values():
            preflight(server, WORKLOADS[0])
        at_rest = {name: server.resident_bytes() for name, server in servers.items()}
        for number in range(rounds):
            order = random.Random(number)
            for workload in workloads:
                turn = [name for name in names if (workload.name, name) in results and (workload.name, name) not in unserved]
                order.shuffle(turn)
                for name in turn:
                    if sys.stderr.isatty():
                        print(f"\rround {number + 1} of {rounds}: {workload.name + ', ' + name:40s}", end="", file=sys.stderr, flush=True)
                    # Large messages are few: their runs are longer.
                    length = seconds * (2 if workload.name.startswith("large") else 1)
                    try:
                        sample = measure(servers[name], workload, length, folder, at_rest[name])
                    except Unserved:
                        unserved.add((workload.name, name))
                    except Wrong as error:
                        wrong.append(f"round {number + 1}: {error}")
                        print(wrong[-1], file=sys.stderr)
                    else:
                        results[workload.name, name].append(sample)
    return {run: samples for run, samples in results.items() if samples}, wrong


def _chosen(name: str, parts: list[str]) -> bool:
    return not parts or any(part in name for part in parts)


if __name__ == "__main__":
    main()
