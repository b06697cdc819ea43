# SPDX-License-Identifier: Apache-2.0
"""The clients of all languages against one server, each beside what one would write by hand on generated code, in one interleaved run.

    python tests/bench/languages.py [--rounds N] [--seconds S] [--only LANGUAGE ...] [--note TEXT] [--out FILE]

Runs the program `bench` of each client (rule 44 of docs/design/clients.md) and Python's, in another order in each round; figures are
medians of the rounds. A client whose program does not run is named and left out. Server and clients share the machine, so a client
that needs less CPU leaves more to the server. `--note` goes into the record, for example what else ran on the machine.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import report
from processes import HERE, Server

CLIENTS: Final = HERE.parents[1] / "client"
PROGRAMS: Final = {
    "python": [sys.executable, str(HERE / "python_client.py")],
    **{path.parent.name: [str(path)] for path in sorted(CLIENTS.glob("*/bench")) if os.access(path, os.X_OK)},
}
FIGURES: Final = (
    "lone_p50_seconds",
    "unary_calls_per_second",
    "coalesced_calls_per_second",
    "large_call_seconds",
    "large_call_cpu_seconds",
)
# The longest that a program may take: it may have to build itself first.
_TIMEOUT_SECONDS: Final = 900.0

Round = dict[str, Any]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure")
    parser.add_argument("--only", nargs="*", default=list(PROGRAMS), choices=list(PROGRAMS), metavar="LANGUAGE")
    parser.add_argument("--note", default="", help="what a reader of the figures must know")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "languages.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    rounds, left_out = run(arguments.only, arguments.rounds, arguments.seconds)
    found = document(rounds, arguments.seconds, load, arguments.note)
    print(table(found))
    for language, reason in left_out.items():
        print(f"left out: {language}: {reason}")
    if set(rounds) == set(PROGRAMS) or arguments.out != parser.get_default("out"):
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def run(languages: Sequence[str], rounds: int, seconds: float) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """Every language's rounds, and why languages were left out. A round before the first builds what must be built."""
    results: dict[str, list[Round]] = {language: [] for language in languages}
    left_out: dict[str, str] = {}
    with Server("lossd") as server:
        for number in range(-1, rounds):
            order = [language for language in languages if language not in left_out]
            random.Random(number).shuffle(order)
            for language in order:
                if sys.stderr.isatty():
                    print(f"\rround {number + 1} of {rounds}: {language:20s}", end="", file=sys.stderr, flush=True)
                command = [*PROGRAMS[language], server.address, str(0.1 if number < 0 else seconds)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
                if done.returncode:
                    left_out[language] = [f"exit status {done.returncode}", *done.stdout.splitlines(), *done.stderr.splitlines()][-1]
                elif number >= 0:
                    results[language].append(json.loads(done.stdout.splitlines()[-1]))
    return {language: found for language, found in results.items() if found and language not in left_out}, left_out


def document(rounds: dict[str, list[Round]], seconds: float, load: float, note: str) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "machine": report.machine(),
        "load_average_before": round(load, 2),
        "note": note,
        "seconds_per_figure": seconds,
        "languages": [
            {
                "language": language,
                "versions": found[-1]["versions"],
                **{side: {name: _figure(found, side, name) for name in FIGURES if name in found[-1][side]} for side in ("client", "stubs")},
            }
            for language, found in rounds.items()
        ],
    }


def _figure(rounds: list[Round], side: str, name: str) -> dict[str, float]:
    values = [found[side][name] for found in rounds]
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def table(found: dict[str, Any]) -> str:
    """One line for each language's client and stubs."""
    rows = [f"{'':20s}{'alone, us':>12s}{'unary/s':>12s}{'shared/s':>12s}{'4 MB, ms':>12s}{'its CPU, ms':>12s}"]
    scales = (1e6, 1.0, 1.0, 1e3, 1e3)
    for one in found["languages"]:
        for side in ("client", "stubs"):
            cells = []
            for name, scale in zip(FIGURES, scales, strict=True):
                cells.append(f"{scale * one[side][name]['median']:12,.1f}" if name in one[side] else f"{'':12s}")
            rows.append(f"{one['language']} {side}".ljust(20) + "".join(cells).rstrip())
    return "\n".join(rows)


if __name__ == "__main__":
    main()
