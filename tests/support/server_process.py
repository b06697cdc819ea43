# SPDX-License-Identifier: Apache-2.0
"""A server in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class ServerProcess:
    address: str
    process: "subprocess.Popen[str]"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def server_process(**settings: str) -> Iterator[ServerProcess]:
    """Listens on a free port of the loopback until the end of the block. Settings are by name, as `drain_seconds="30"`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}
    settings = {"listen": "127.0.0.1:0", "admin_listen": "", "device": "cpu", "log_level": "warning"} | settings
    environment |= {f"LOSSD_{name.upper()}": value for name, value in settings.items()}
    with subprocess.Popen([sys.executable, "-m", "lossd_server"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "the server did not start"
            yield ServerProcess(line.split()[-1], process)
        finally:
            process.kill()


@contextmanager
def serving(address: str = "127.0.0.1:0") -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """A server that `lossd serve` runs, which must not warn, and its address."""
    command = [sys.executable, "-W", "error", "-m", "lossd.cli", "serve", f"--listen={address}", "--admin-listen=", "--device=cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()
