# SPDX-License-Identifier: Apache-2.0
"""The server under attack: a process of its own with small budgets, and what can be seen of it from outside."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

MIB = 1 << 20
MAX_IN_FLIGHT_BYTES = 64 * MIB
MAX_WORKSPACE_BYTES = 64 * MIB
SETTINGS = {
    "LISTEN": "127.0.0.1:0",
    "DEVICE": "cpu",
    "LOG_LEVEL": "warning",
    "MAX_REQUEST_BYTES": str(MIB),
    "MAX_RESPONSE_BYTES": str(MIB),
    "MAX_WORKSPACE_BYTES": str(MAX_WORKSPACE_BYTES),
    "MAX_OPERATIONS": str(10**8),
    "MAX_QUEUE_BYTES": str(16 * MIB),
    "MAX_IN_FLIGHT_BYTES": str(MAX_IN_FLIGHT_BYTES),
    "PROBE_INTERVAL_SECONDS": "1",
    "DRAIN_SECONDS": "30",
}
_FAULTS = re.compile(r"unexpected_exception|kernel_failure|device_thread_failed|device_lost|probe_failed|Traceback")


class Victim:
    """Use in a `with`; the process is ended at its end. `tree` is a checkout of lossd, for a server of another version."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = SETTINGS, tree: Path | None = None) -> None:
        self._log = folder / "server.log"
        self._settings = settings
        self._tree = tree

    def __enter__(self) -> Self:
        # The admin port is chosen here, because nothing says which one the server would choose; another process may be faster.
        for _ in range(5):
            if self._start():
                return self
        raise RuntimeError(f"the server did not start: {self._log.read_text()}")

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, timeout_seconds: float) -> int | None:
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def resident_bytes(self, *, peak: bool = False) -> int:
        return 1024 * self._status("VmHWM" if peak else "VmRSS")

    def reset_peak(self) -> None:
        """The peak is from now on that of what follows."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def threads(self) -> int:
        return self._status("Threads")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def gauge(self, name: str) -> float:
        """The value of a metric without labels."""
        with urllib.request.urlopen(f"http://{self._admin}/metrics", timeout=10) as response:
            return float(re.search(rf"^{name} (\S+)$", response.read().decode(), re.MULTILINE)[1])  # type: ignore[index]

    def settled(self, threads: int, descriptors: int, timeout_seconds: float = 30.0) -> tuple[int, int]:
        """Threads and descriptors when they are down to these, or after a while."""
        end = time.monotonic() + timeout_seconds
        while (self.threads() > threads or self.descriptors() > descriptors or self.gauge("lossd_in_flight_bytes")) and (
            time.monotonic() < end
        ):
            time.sleep(0.1)
        return self.threads(), self.descriptors()

    def released(self, timeout_seconds: float) -> bool:
        """Waits until no bytes are in flight. Whether that came in time."""
        end = time.monotonic() + timeout_seconds
        while held := self.gauge("lossd_in_flight_bytes"):
            if time.monotonic() >= end:
                break
            time.sleep(0.1)
        return not held

    def faults(self) -> list[str]:
        """The log's lines that say that the server was at fault."""
        return [line for line in self._log.read_text().splitlines() if _FAULTS.search(line)]

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]

    def _start(self) -> bool:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._admin = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}
        environment |= {f"LOSSD_{name}": value for name, value in {**self._settings, "ADMIN_LISTEN": self._admin}.items()}
        if self._tree is not None:
            environment["PYTHONPATH"] = f"{self._tree / 'client/python'}:{self._tree / 'server'}"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lossd_server"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("1000")  # where memory ends, it ends before anything else
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            return False
        self.address = line.split()[-1]
        return True
