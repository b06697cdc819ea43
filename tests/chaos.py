# SPDX-License-Identifier: Apache-2.0
"""lossd under attack, and the verdict.

    python tests/chaos.py [--messages 1000000] [--over-grpc 50000] [--processes 2] [--seed 1] [--out FILE]

Most messages go to the server's own reading and computing in these processes, where a thousand a second are tried; the others
over gRPC to a server process, with honest callers among them. Exits 1 where anything is wrong. tests/test_chaos.py is the short form.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from attack.in_process import InProcess
from attack.over_grpc import attack
from attack.verdict import Tally


def in_process(messages: int, seed: int) -> Tally:
    """One process's share."""
    run = InProcess(seed)
    run.run(messages)
    return run.tally


def verdict(tally: Tally, measured: dict[str, Any]) -> dict[str, Any]:
    """What the README says."""
    counts = tally.counts
    return {
        "hostile messages": counts["messages read"] + counts["messages through services"] + counts["messages over gRPC"],
        "of these over gRPC": counts["messages over gRPC"],
        "refused with a field and a reason": counts["error INVALID_ARGUMENT"] + counts["error RESOURCE_EXHAUSTED"],
        "valid after all, computed alone and among others": counts["computed"],
        "honest answers among them": counts["honest answers"] + counts["honest answers among hostile ones"],
        "wrong answers": counts["wrong answers"],
        "lost answers": counts["lost answers"],
        "calls computed after expiry": counts["computed after expiry"],
        **measured,
        "findings": tally.findings,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--over-grpc", type=int, help="of these; a twentieth")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    over_grpc = arguments.messages // 20 if arguments.over_grpc is None else arguments.over_grpc
    share = (arguments.messages - over_grpc) // arguments.processes
    seeds = range(arguments.seed, arguments.seed + arguments.processes)
    # Not forked: PyTorch's threads do not survive that.
    with ProcessPoolExecutor(arguments.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        tallies = list(pool.map(in_process, [share] * arguments.processes, seeds))
    tally, measured = attack(over_grpc, arguments.seed)
    for other in tallies:
        tally.add(other)
    found = {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), **verdict(tally, measured)}
    for name, value in found.items():
        print(f"{name:52s} {value}")
    for name, count in sorted(tally.counts.items()):
        print(f"    {name:48s} {count:12,}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({**found, "counts": dict(sorted(tally.counts.items()))}, indent=1) + "\n")
    sys.exit(1 if tally.findings else 0)


if __name__ == "__main__":
    main()
