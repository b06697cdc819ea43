# SPDX-License-Identifier: Apache-2.0
"""What tests/chaos.py found: recorded in results.json, and shown as tables in docs/hardening.md."""

import json
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).resolve().parent / "results.json"
PAGE = _RESULTS.parent.parent.parent / "docs/hardening.md"

# Runs of the attacks, by the name that they are recorded under, in the order of the page.
_RUNS = {
    "now": "Attacks on lossd's own HTTP/2",
    "grpcio": "The same floods against `--transport grpcio`",
    "before": "The attacks before the mends, at commit 643a085",
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
    """Puts the tables into docs/hardening.md, between the two comments that say so."""
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """The page with the tables of what is recorded."""
    recorded = _recorded()
    runs = recorded.get("runs", {})
    parts = [_attacks(title, runs[run]) for run, title in _RUNS.items() if run in runs]
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "\n" + "\n".join([*parts, _messages(recorded)]) + "\n" + _END + after


# Implementation details follow.

_BEGIN = "<!-- The tables are written by `python tests/chaos.py --table`. -->"
_END = "<!-- End of the tables. -->"


def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_RESULTS.read_text())
    return found


def _save(recorded: dict[str, Any]) -> None:
    _RESULTS.write_text(json.dumps(recorded, indent=1) + "\n")


_HEAD = ("Attack", "p50 at rest", "p99 at rest", "p50", "p99", "Worst", "Failed", "Lost", "Wrong", "Memory, MiB", "Ended", "Recovered")


def _attacks(title: str, run: dict[str, Any]) -> str:
    rows = [_row(_HEAD), _row(["---", *["---:"] * (len(_HEAD) - 1)])]
    rows += [_row(_cells(attack)) for attack in run["attacks"]]
    load = run.get("load")  # of other processes, before the first attack
    machine = f"{run['cores']} cores without a GPU" + ("" if load is not None and load < 0.5 else ", which did other work at the time")
    about = f"Recorded on {run['date']}, on {machine}, {run['seconds']:g} s for each attack."
    return f"\n## {title}\n\n{about}\n\n" + "\n".join(rows) + "\n"


def _cells(attack: dict[str, Any]) -> list[str]:
    rest, under = attack["rest"], attack["attack"]
    ended, recovered = attack["ended_seconds"], attack["recovered_seconds"]
    return [
        attack["name"].replace("flood: ", "Flood: "),
        *[f"{1000 * rest[name]:.1f}" for name in ("p50", "p99")],
        *[f"{1000 * under[name]:.1f}" for name in ("p50", "p99", "worst")],
        *[f"{under[name]} of {under['calls']}" for name in ("failures", "lost")],
        str(under["wrong"] + under["swapped"]),
        "the process ended" if attack["ended"] else f"{attack['peak']:,} of {attack['bound']:,}",
        "" if ended is None else f"{1000 * ended:.0f}",
        "never" if recovered is None else f"{recovered:.1f} s",
    ]


def _messages(recorded: dict[str, Any]) -> str:
    rows = [_row(("", "")), _row(("---", "---:")), *[_row((name, f"{recorded[name]:,}")) for name in _MESSAGES]]
    about = f"Recorded on {recorded['date']}, on {recorded['cores']} cores."
    return f"\n## Hostile messages\n\n{about}\n\n" + "\n".join(rows) + "\n"


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
