# SPDX-License-Identifier: Apache-2.0
"""Servers as processes of their own, on free ports of the loopback interface, ended by their process id."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent

_BASELINES = {
    "echo_aio": ("echo", "aio"),
    "echo_threaded": ("echo", "threaded"),
    "echo_aio_uvloop": ("echo", "aio", "--uvloop"),
    "echo_aio_bytes": ("bytes", "aio"),
    "echo_threaded_bytes": ("bytes", "threaded"),
    "naive_aio": ("naive", "aio"),
    "naive_threaded": ("naive", "threaded"),
}
SERVERS = ("lossd", *_BASELINES)

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A running server. Use in a `with`."""

    name: str
    process: "subprocess.Popen[str]" = field(init=False)
    address: str = field(init=False)
    metrics_port: int = 0
    workers: int = 1  # of lossd

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}
        if self.name == "lossd":
            self.metrics_port = _free_port()
            command = [sys.executable, "-m", "lossd_server"]
            environment |= {
                "LOSSD_LISTEN": "127.0.0.1:0",
                "LOSSD_ADMIN_LISTEN": f"127.0.0.1:{self.metrics_port}",
                "LOSSD_DEVICE": "cpu",
                "LOSSD_WORKERS": str(self.workers),
                "LOSSD_LOG_LEVEL": "warning",
            }
        else:
            command = [sys.executable, str(HERE / "baselines.py"), *_BASELINES[self.name]]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} did not start; it ended with {self.process.wait()}")
        self.address = line.split()[-1]
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, and of its workers'."""
        return sum(map(_cpu_seconds, [self.process.pid, *self._children()]))

    def cpu_seconds_by_worker(self) -> list[float]:
        """Of each worker alone, if there are several."""
        return [_cpu_seconds(pid) for pid in self._children()]

    def resident_bytes(self) -> int:
        """What it holds now."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """The most it has held since `reset_peak`."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Begins to measure the peak anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def metrics(self) -> dict[str, float]:
        """lossd's counters, summed over their labels except for status codes and reasons: name{code} -> value."""
        if not self.metrics_port:
            return {}
        time.sleep(0.02)  # an RPC is counted after its answer was sent
        sums: dict[str, float] = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as response:  # a server of our own
            for line in response.read().decode().splitlines():
                if line.startswith("#"):
                    continue
                name, _, value = line.rpartition(" ")
                base, _, labels = name.partition("{")
                for label in ("grpc_code", "reason"):
                    if f'{label}="' in labels:
                        base += "{" + labels.split(f'{label}="')[1].split('"')[0] + "}"
                sums[base] = sums.get(base, 0.0) + float(value)
        return sums

    def _children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
        raise KeyError(name)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
