# SPDX-License-Identifier: Apache-2.0
"""lossd under attack, and the verdict.

    python tests/chaos.py [--messages 1000000] [--over-grpc 50000] [--processes 2] [--seed 1]
    python tests/chaos.py --attacks [PATTERN] [--seconds 10] [--transport grpcio] [--tree DIR --run NAME]
    python tests/chaos.py --table

The first sends hostile messages: most to the server's own reading and computing in these processes, where a thousand a second
are tried, and the others over gRPC to a server process, with honest callers among them. The second attacks a server process by
whatever it can be reached by, beside an honest caller whose latencies are measured at rest and under each attack; --tree is
another checkout whose server is attacked. With --record both write what they found to tests/attack/results.json, from which
the third makes docs/hardening.md. Exits 1 if a promise was broken. tests/attack holds the short form, as tests.
"""

import argparse
import datetime
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from attack import campaign, report
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


def messages(arguments: argparse.Namespace) -> bool:
    """Whether nothing was found."""
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
    if arguments.record:
        report.record({**found, "counts": dict(sorted(tally.counts.items()))})
    return not tally.findings


def attacks(arguments: argparse.Namespace) -> bool:
    """Whether every promise was kept."""
    chosen = campaign.matching(arguments.attacks)
    settings = {} if arguments.transport is None else {"TRANSPORT": arguments.transport}
    found = campaign.run(chosen, seconds=arguments.seconds, rest_seconds=arguments.seconds / 2, settings=settings, tree=arguments.tree)
    if arguments.record:
        report.record_attacks(arguments.run or arguments.transport or "now", found)
    return not any(row["broken"] for row in found["attacks"])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--over-grpc", type=int, help="of these; a twentieth")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attacks", nargs="?", const="", metavar="PATTERN", help="attacks instead of messages: all, or those of a name")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack")
    parser.add_argument("--transport", help="the server's; its default")
    parser.add_argument("--tree", type=Path, help="a checkout of lossd whose server is attacked; this one")
    parser.add_argument("--run", help="what the attacks are recorded as; the transport, or now")
    parser.add_argument("--record", action="store_true", help="write what was found")
    parser.add_argument("--table", action="store_true", help="write docs/hardening.md from what was recorded, and do nothing else")
    arguments = parser.parse_args()
    kept = True
    if not arguments.table:
        kept = messages(arguments) if arguments.attacks is None else attacks(arguments)
    if arguments.table or arguments.record:
        report.write()
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
