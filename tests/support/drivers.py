# SPDX-License-Identifier: Apache-2.0
"""Clients of gRPC in other languages: one small program each, called a driver, in tests/conformance/clients.

A driver is called as `driver ADDRESS PLAN OUT` and makes the calls of the plan over one channel in its library's default settings;
only the limit of received messages is lifted, because it is 4 MiB in most libraries. Each line of the plan is one scenario:

    NAME KIND PATH COUNT PARALLEL PAUSE_SECONDS REQUESTS_FILE

KIND is unary, client_stream, bidi or load. COUNT calls are made, PARALLEL at a time. A stream sends all messages of REQUESTS_FILE, with
the pause between them; unary call i sends message i modulo their number. `load` makes unary calls until the file OUT/stop exists. A
file of messages is a sequence of messages, each after its length as 4 bytes, big-endian. Replies of call i go to OUT/NAME.i, except
those of `load`. The first failure ends the scenario, after which a line of JSON is printed: its name, the gRPC code of that failure, or 0,
and a detail. Calls have a deadline of 30 s plus their pauses. KEEPALIVE_SECONDS sets the channel's keepalive.
"""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import driver_builds


@dataclass(frozen=True)
class Scenario:
    """A line of a plan. `check` gets the replies of each call and asserts that they are right; `code` is the expected outcome."""

    name: str
    kind: str
    path: str
    requests: Sequence[bytes]
    check: Callable[[list[list[bytes]]], None] = lambda calls: None
    count: int = 1
    parallel: int = 1
    pause_seconds: int = 0
    code: int = 0

    def assert_right(self, results: "dict[str, Result]") -> None:
        """Asserts that the scenario came out as it should."""
        assert self.name in results, "the driver did not come so far"
        result = results[self.name]
        assert result.code == self.code, f"gRPC code {result.code}: {result.detail}"
        if self.code == 0 and self.kind != "load":
            self.check(result.replies())


@dataclass(frozen=True)
class Result:
    code: int
    detail: str
    replies: Callable[[], list[list[bytes]]]


class Driver:
    """A running driver."""

    def __init__(self, name: str, address: str, scenarios: Sequence[Scenario], folder: Path, keepalive_seconds: int | None = None) -> None:
        self._scenarios, self._folder = scenarios, folder
        lines = []
        for one in scenarios:
            requests = folder / f"{one.name}.requests"
            requests.write_bytes(b"".join(len(message).to_bytes(4, "big") + message for message in one.requests))
            lines.append(f"{one.name} {one.kind} {one.path} {one.count} {one.parallel} {one.pause_seconds} {requests}\n")
        (folder / "plan").write_text("".join(lines))
        variables = {} if keepalive_seconds is None else {"KEEPALIVE_SECONDS": str(keepalive_seconds)}
        self._log = folder / "stderr"
        start, home = driver_builds.command(name)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*start, address, str(folder / "plan"), str(folder)],
                cwd=home,
                env=os.environ | {"DESCRIPTORS": str(driver_builds.DESCRIPTORS)} | variables,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def stop(self) -> None:
        """Ends the scenarios of kind `load`."""
        (self._folder / "stop").touch()

    def end(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def results(self, timeout_seconds: float) -> dict[str, Result]:
        """Waits for the end. A scenario that the driver did not come to is missing."""
        try:
            printed, _ = self.process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            printed, _ = self.process.communicate()
        finally:
            self.end()
        results = {}
        for line in printed.splitlines():
            made = json.loads(line)
            scenario = next(one for one in self._scenarios if one.name == made["name"])
            results[scenario.name] = Result(made["code"], made["detail"], functools.partial(self._replies, scenario))
        if len(results) < len(self._scenarios):
            print(self._log.read_text()[-4000:])
        return results

    def _replies(self, scenario: Scenario) -> list[list[bytes]]:
        return [messages(self._folder / f"{scenario.name}.{index}") for index in range(scenario.count)]


def messages(path: Path) -> list[bytes]:
    data = path.read_bytes()
    found, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : end])
        at = end
    return found
