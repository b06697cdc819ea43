# SPDX-License-Identifier: Apache-2.0
"""What tests/chaos.py found: recorded in results.json, and shown as docs/hardening.md."""

import json
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).resolve().parent / "results.json"
_PAGE = _RESULTS.parent.parent.parent / "docs/hardening.md"

# Runs of the attacks, by the name that they are recorded under, in the order of the page.
_RUNS = {
    "now": "lossd's own HTTP/2",
    "grpcio": "the same service over `--transport grpcio`",
    "before": "before the mends, at commit 643a085",
}
_MESSAGES = (
    "hostile messages",
    "of these over gRPC",
    "refused with a field and a reason",
    "valid after all, computed alone and among others",
    "honest answers among them",
    "wrong answers",
    "lost answers",
    "calls computed after expiry",
    "process restarts",
    "peak resident MiB",
    "bound on it, MiB",
    "calls lost in drain",
)


def record(messages: dict[str, Any]) -> None:
    """Replaces what is recorded of the hostile messages."""
    _save({**messages, "runs": _recorded().get("runs", {})})


def record_attacks(run: str, found: dict[str, Any]) -> None:
    """Replaces the run's attacks of the same names, and keeps its others."""
    recorded = _recorded()
    runs = recorded.setdefault("runs", {})
    kept = {row["name"]: row for row in runs.get(run, {}).get("attacks", [])}
    kept.update({row["name"]: row for row in found["attacks"]})
    runs[run] = {**found, "attacks": list(kept.values())}
    _save(recorded)


def write() -> None:
    """Writes docs/hardening.md."""
    _PAGE.parent.mkdir(exist_ok=True)
    _PAGE.write_text(page(_recorded()))


def page(recorded: dict[str, Any]) -> str:
    """The Markdown page."""
    parts = [_INTRODUCTION]
    runs = recorded.get("runs", {})
    for run, title in _RUNS.items():
        if run in runs:
            parts.append(_attacks(title, runs[run]))
    parts.append(_messages(recorded))
    return "\n".join(parts)


# Implementation details follow.

_INTRODUCTION = """# Hardening

<!-- Written by `python tests/chaos.py --table` from tests/attack/results.json. -->

What an honest caller notices of attacks on the server that it uses, measured on a machine with two cores and no GPU, on
loopback, by `python tests/chaos.py --attacks --record`. Server, attacker and honest caller are processes of their own, and
the attacker needs no token. The honest caller makes 25 unary calls a second, of every loss, on one connection, whatever became of
its earlier calls. It compares each answer, bit by bit, with what the same call was answered alone. *Memory* is the server
process's largest resident size during the attack and the bound that its settings imply: its size at rest + 3 x
`max_in_flight_bytes` + `max_workspace_bytes`. *Ended* is how long the server let a
flooding connection be; the attacker opens a new one at once. Times are in milliseconds unless a unit stands beside them.
"""


def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_RESULTS.read_text())
    return found


def _save(recorded: dict[str, Any]) -> None:
    _RESULTS.write_text(json.dumps(recorded, indent=1) + "\n")


def _attacks(title: str, run: dict[str, Any]) -> str:
    head = (
        "Attack",
        "p50 at rest",
        "p99 at rest",
        "p50",
        "p99",
        "worst",
        "calls",
        "failed",
        "lost",
        "wrong or swapped",
        "Memory, MiB",
        "Ended",
        "Recovered after",
    )
    rows = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    rows += [_row(_cells(attack)) for attack in run["attacks"]]
    about = f"{run['date']}, {run['cores']} cores, {run['seconds']:g} s for each attack."
    return f"\n## Attacks on {title}\n\n{about}\n\n" + "\n".join(rows) + "\n"


def _cells(attack: dict[str, Any]) -> list[str]:
    rest, under = attack["rest"], attack["attack"]
    ended, recovered = attack["ended_seconds"], attack["recovered_seconds"]
    return [
        attack["name"],
        *[f"{1000 * rest[name]:.1f}" for name in ("p50", "p99")],
        *[f"{1000 * under[name]:.1f}" for name in ("p50", "p99", "worst")],
        str(under["calls"]),
        str(under["failures"]),
        str(under["lost"]),
        str(under["wrong"] + under["swapped"]),
        "the process ended" if attack["ended"] else f"{attack['peak']:,} of {attack['bound']:,}",
        "" if ended is None else f"{1000 * ended:.0f}",
        "never" if recovered is None else f"{recovered:.1f} s",
    ]


def _messages(recorded: dict[str, Any]) -> str:
    rows = [_row(("", "")), _row(("---", "---:")), *[_row((name, f"{recorded[name]:,}")) for name in _MESSAGES]]
    return (
        f"\n## Hostile messages\n\n{recorded['date']}, {recorded['cores']} cores, by "
        "`python tests/chaos.py --messages 1000000 --over-grpc 20000 --record`: valid requests of every loss, changed through their\n"
        "descriptors and byte by byte, read and computed in the server's own code and sent to a server process.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
