# SPDX-License-Identifier: Apache-2.0
"""Many attacks, one after the other, on one server until an attack breaks a promise: the next finds a new one."""

import datetime
import itertools
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .attack import Attack
from .attacks import ATTACKS
from .trial import Bench, Row


def matching(pattern: str) -> list[Attack]:
    """The attacks written for this item, or with this in their names; all of them for an empty pattern."""
    return [attack for attack in ATTACKS.values() if attack.items == pattern or (pattern in attack.name and not pattern.isdigit())]


def run(
    attacks: Iterable[Attack], *, seconds: float, rest_seconds: float, settings: Mapping[str, str] = {}, tree: Path | None = None
) -> dict[str, Any]:
    """What is recorded of them. `settings` are laid over each attack's; `tree` is a checkout whose server is attacked."""
    rows: list[dict[str, Any]] = []
    load = os.getloadavg()[0]
    for own, group in itertools.groupby(attacks, key=lambda attack: attack.settings):
        left = list(group)
        while left:
            with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), {**own, **settings}, tree) as bench:
                while left:
                    row = bench.attack(left.pop(0), rest_seconds=rest_seconds, seconds=seconds)
                    print(line(row), flush=True)
                    rows.append(asdict(row))
                    if row.broken:
                        break
    return {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "load": load, "seconds": seconds, "attacks": rows}


def line(row: Row) -> str:
    """One attack, for a terminal: p50, p99 and worst in milliseconds, at rest and under attack."""
    rest, attack = [f"{1000 * a.p50:6.1f} {1000 * a.p99:8.1f} {1000 * a.worst:8.1f}" for a in (row.rest, row.attack)]
    failed = row.attack.calls - row.attack.what.get("right", 0)
    summary = f"{rest} |{attack} | {failed:4d} of {row.attack.calls:4d} | {row.peak:5d} of {row.bound:5d} MiB | {row.recovered_seconds} s"
    broken = "".join([f"\n        {what}" for what in row.broken])
    return f"{row.name}\n    {summary} | {row.sent} sent {row.came}{broken}"
