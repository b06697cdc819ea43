# SPDX-License-Identifier: Apache-2.0
"""One attack against one server, beside an honest caller: what the caller met at rest, under attack and afterwards.

Three processes: the server, the attacker, and the caller, whose priority is the highest.
"""

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .attack import MIB, SETTINGS, Attack, Outcome
from .corpus import corpus
from .steady import PATIENCE_SECONDS
from .victim import Victim

_TESTS = Path(__file__).resolve().parent.parent
_CALLS, _MOST_BYTES = 50, 2048  # of the honest caller

# The bound on p99 under attack, and what it is at least and at most: a machine that others use has pauses of its own.
RATIO = 20
_SMALLEST_BOUND_SECONDS, _LARGEST_BOUND_SECONDS = 0.1, 0.5
ENDED_SECONDS = 1.0
RECOVERY_SECONDS = 60.0


@dataclass
class Latency:
    """What an honest caller met for some seconds. Times in seconds."""

    calls: int
    p50: float
    p99: float
    worst: float
    failures: int
    lost: int
    wrong: int
    swapped: int
    what: dict[str, int]


@dataclass
class Row:
    """What is reported of an attack. Memory in MiB, times in seconds."""

    name: str
    items: str
    rest: Latency
    attack: Latency
    after: Latency
    resident: int
    peak: int
    bound: int
    resident_after: int
    recovered_seconds: float | None  # from the attack's end; None: not within RECOVERY_SECONDS
    ended: bool  # whether the server process died
    sent: int
    came: dict[str, int]
    ended_seconds: float | None
    faults: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # promises


class Process:
    """A Python module of this folder that says when it is ready, and then answers questions. Its error output is ours."""

    def __init__(self, module: str, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])}
        command = [sys.executable, "-m", f"attack.{module}", *arguments]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ready = False

    def ask(self, question: Any, timeout_seconds: float) -> Any:
        """Its answer. Raises RuntimeError if the process ended, and TimeoutError if it was ready and did not answer in time; then it is
        ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.ready()
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), json.dumps(question).encode() + b"\n")
        if not select.select([self._process.stdout], [], [], timeout_seconds)[0]:
            self.close()
            raise TimeoutError(f"no answer to {question}")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"failed while asked {question}")
        return json.loads(line)

    def ready(self) -> None:
        """Waits for it. Raises RuntimeError if it ended."""
        assert self._process.stdout is not None
        if not self._ready and self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the process beside the server ended early")
        self._ready = True

    def close(self) -> None:
        with self._process:
            self._process.kill()


class Bench:
    """A server, an attacker and an honest caller, for one attack after the other. Use in a `with`."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = {}, tree: Path | None = None) -> None:
        """`settings` are laid over SETTINGS; {folder} in them is the folder."""
        settings = {**SETTINGS, **{name: value.format(folder=folder) for name, value in settings.items()}}
        self.victim = Victim(folder, settings, tree)
        self._calls = folder / "calls"
        self._bound_over_rest = (3 * int(settings["MAX_IN_FLIGHT_BYTES"]) + int(settings["MAX_WORKSPACE_BYTES"])) // MIB

    def __enter__(self) -> Self:
        calls = corpus(_MOST_BYTES)
        chosen = calls[:: max(1, len(calls) // _CALLS)]
        self._calls.write_text("".join([f"/lossd.v1.LossService/{call.rpc} {call.message.hex()}\n" for call in chosen]))
        self.victim.__enter__()
        self._attacker = Process("attacks")
        self._caller = Process("steady", self.victim.address, str(self._calls))
        return self

    def __exit__(self, *error: object) -> None:
        self._attacker.close()
        self._caller.close()
        self.victim.__exit__(*error)

    def attack(self, attack: Attack, *, rest_seconds: float, seconds: float) -> Row:
        """Rest, attack, recovery. Raises RuntimeError if the server does not serve the caller before the attack."""
        victim = self.victim
        self._attacker.ready()
        self._caller.ask("begin", 60.0)
        time.sleep(rest_seconds)
        victim.reset_peak()
        resident = victim.resident_bytes()
        started = time.monotonic()
        try:
            outcome = Outcome(**self._attacker.ask([attack.name, victim.address, seconds], seconds + 20.0))
        except TimeoutError:
            outcome = Outcome(came={"the attacker had to be stopped": 1})
            self._attacker = Process("attacks")
        ended = time.monotonic()
        recovered = self._recovered(ended)
        after = time.monotonic()
        time.sleep(rest_seconds)
        record = self._caller.ask("end", 2 * PATIENCE_SECONDS)
        alive = victim.alive
        row = Row(
            attack.name,
            attack.items,
            _latency([call for call in record if call[0] < started]),
            _latency([call for call in record if started <= call[0] < ended]),
            _latency([call for call in record if call[0] >= after]),
            resident // MIB,
            victim.resident_bytes(peak=True) // MIB if alive else 0,
            resident // MIB + self._bound_over_rest,
            victim.resident_bytes() // MIB if alive else 0,
            None if recovered is None else round(recovered, 1),
            not alive,
            outcome.sent,
            dict(outcome.came),
            outcome.ended_seconds,
            victim.faults(),
        )
        row.broken = _broken(attack, row)
        return row

    # Implementation details follow.

    def _recovered(self, ended: float) -> float | None:
        """How long it took until nothing was held or queued any more."""
        while time.monotonic() < ended + RECOVERY_SECONDS:
            try:
                held = self.victim.gauge("lossd_in_flight_bytes") + self.victim.gauge("lossd_queue_calls")
            except (OSError, TypeError):
                held = 1.0
            # An honest call may be under way at any time.
            if held < MIB:
                return time.monotonic() - ended
            time.sleep(0.1)
        return None


def _latency(calls: list[list[Any]]) -> Latency:
    times = sorted([seconds for _, seconds, _ in calls])
    came = Counter([what for *_, what in calls])

    def of(kind: str) -> int:
        return sum([count for what, count in came.items() if what.startswith(kind)])

    def quantile(part: float) -> float:
        return times[min(len(times) - 1, math.ceil(part * len(times)) - 1)] if times else math.nan

    return Latency(
        len(times), quantile(0.5), quantile(0.99), quantile(1.0), of("failed"), of("lost"), of("wrong"), of("swapped"), dict(came)
    )


def _broken(attack: Attack, row: Row) -> list[str]:
    """The promises that the attack broke."""
    broken = list(row.faults)
    if row.ended:
        broken.append("the server process ended")
    if row.peak > row.bound:
        broken.append(f"memory reached {row.peak} MiB; the bound is {row.bound}")
    for when in ("attack", "after"):
        latency: Latency = getattr(row, when)
        counts = [(kind, getattr(latency, kind)) for kind in ("failures", "lost", "wrong", "swapped")]
        broken += [f"{kind}: {count} of {latency.calls} calls ({when})" for kind, count in counts if count]
        limit = min(max(_SMALLEST_BOUND_SECONDS, RATIO * row.rest.p99), _LARGEST_BOUND_SECONDS)
        if latency.p99 > limit:
            broken.append(f"p99 {latency.p99:.3f} s; the bound is {limit:.3f} ({when})")
    if row.recovered_seconds is None:
        broken.append(f"something was held for nobody {RECOVERY_SECONDS:.0f} s later")
    if attack.flood and (row.ended_seconds is None or row.ended_seconds > ENDED_SECONDS):
        broken.append(f"the flooding connection was not ended within {ENDED_SECONDS} s")
    return broken
