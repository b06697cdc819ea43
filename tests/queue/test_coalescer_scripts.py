# SPDX-License-Identifier: Apache-2.0
"""The queue in scripts with expected output, with a clock that the scripts move.

The scripts in testdata/coalescer hold commands, a line of dashes, what the commands print, and an empty line. To write the
outputs anew after a deliberate change, run with REWRITE=1 and read the difference.
"""

import os
from pathlib import Path

import pytest

from lossd_server.queue.coalescer import Coalescer, Full, Ticket

SCRIPTS = sorted((Path(__file__).parents[1] / "testdata" / "coalescer").glob("*.txt"))


class Interpreter:
    """One queue and its clock, driven by lines of text."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: Coalescer[str] = Coalescer()
        self.tickets: dict[str, Ticket[str]] = {}

    def run(self, line: str) -> str:
        command, *words = line.split()
        names = [word for word in words if "=" not in word]
        options = {name: value for name, _, value in (word.partition("=") for word in words if "=" in word)}
        return str(getattr(self, command)(*names, **options))

    def limits(self, **limits: str) -> str:
        self.queue = Coalescer(**{f"max_{name}": int(value) for name, value in limits.items()})
        return ""

    def add(self, *names: str, key: str, bytes: str = "1", elements: str = "1", cost: str = "1", ttl: str = "", caller: str = "") -> str:
        full = []
        for name in names:
            try:
                self.tickets[name] = self.queue.add(
                    name,
                    key=key,
                    nbytes=int(bytes),
                    elements=int(elements),
                    cost_seconds=float(cost),
                    deadline=self.now + float(ttl) if ttl else None,
                    caller=caller,
                )
            except Full:
                full.append(name)
        return f"full: {' '.join(full)}" if full else ""

    def cancel(self, *names: str) -> str:
        gone = [name for name in names if not self.queue.cancel(self.tickets[name])]
        return f"not queued: {' '.join(gone)}" if gone else ""

    def advance(self, seconds: str) -> str:
        self.now += float(seconds)
        return ""

    def poll(self, times: str = "1") -> str:
        lines = []
        for _ in range(int(times)):
            poll = self.queue.poll(self.now)
            parts = [f"batch: {' '.join(poll.batch) or '-'}"]
            parts += [f"expired: {' '.join(poll.expired)}"] if poll.expired else []
            parts += [f"wake at: {poll.wake_at:g}"] if poll.wake_at is not None else []
            lines.append("; ".join(parts))
        return "\n".join(lines)

    def expire(self) -> str:
        return f"expired: {' '.join(self.queue.expire(self.now)) or '-'}"

    def show(self) -> str:
        return f"{self.queue.queued_calls} calls, {self.queue.queued_bytes} bytes"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    replayed = []
    for block in path.read_text().strip().split("\n\n"):
        if all(line.startswith("#") for line in block.splitlines()):
            replayed.append(block)
            continue
        commands = block.partition("\n----")[0]
        if "\nlimits" in f"\n{commands}":
            interpreter = Interpreter()
        output = [interpreter.run(line) for line in commands.splitlines() if not line.startswith("#")]
        replayed.append("\n".join([commands, "----", *filter(None, output)]))
    text = "\n\n".join(replayed) + "\n"
    if os.environ.get("REWRITE"):
        path.write_text(text)
    assert text == path.read_text()
