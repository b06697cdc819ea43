# SPDX-License-Identifier: Apache-2.0
"""A data set that is larger than memory should be, and a server that dies in the middle of it."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.server_process import serving


@contextmanager
def relay(address: str, limit: int, then: Callable[[], Any]) -> Iterator[str]:
    """Passes on one connection to the address, and after so many bytes does something and listens no more."""
    host, port = address.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection((host, int(port)))

    def upwards() -> None:
        here, _ = listener.accept()
        threading.Thread(target=downwards, args=(here,)).start()
        passed = 0
        while data := here.recv(1 << 16):
            passed += len(data)
            if passed > limit:
                listener.close()
                then()
                here.close()
                return
            there.sendall(data)

    def downwards(here: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(1 << 16):
                here.sendall(data)

    thread = threading.Thread(target=upwards)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        there.close()


def peak_mib(status: str) -> float:
    """The most memory that a process has held, in MiB, from its /proc/PID/status."""
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_million_rows_with_flat_memory_and_after_the_death_of_a_server(tmp_path: Path) -> None:
    rows, classes = 10_000_000, 4
    generator = np.random.default_rng(2)
    logits = np.lib.format.open_memmap(tmp_path / "logits.npy", mode="w+", dtype="f4", shape=(rows, classes))
    for start in range(0, rows, 1_000_000):
        logits[start : start + 1_000_000] = generator.standard_normal((1_000_000, classes), dtype="f4")
    labels, slices = generator.integers(0, classes, rows, dtype="u1"), generator.integers(0, 3, rows, dtype="u1")
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "slices.npy", slices)
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels.astype("i8")), reduction="none").numpy()
    del logits

    def run(address: str, timeout_seconds: float) -> tuple[int, str, str, float]:
        """Exit status, output, errors, and peak memory in MiB, of an evaluation."""
        files = {"--input": "logits.npy", "--target": "labels.npy", "--by": "slices.npy"}
        options = [part for flag, name in files.items() for part in (flag, str(tmp_path / name))]
        code = (
            "import atexit, pathlib, sys; from lossd.cli import main; "
            "atexit.register(lambda: print(pathlib.Path('/proc/self/status').read_text(), file=sys.stderr)); main()"
        )
        command = [sys.executable, "-W", "error", "-c", code, "evaluate", "cross_entropy", *options, "--json", "--address", address]
        command += ["--timeout", str(timeout_seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        error, _, status = done.stderr.partition("Name:")
        return done.returncode, done.stdout, error, peak_mib(status)

    with serving() as (server, address), relay(address, limit=40 << 20, then=server.kill) as relayed:
        status, out, error, _ = run(relayed, 5.0)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"Error: no lossd server answers at [^\n]+\n", error)

    with serving() as (server, address):
        before = peak_mib(Path(f"/proc/{server.pid}/status").read_text())
        status, out, error, client_mib = run(address, 30.0)
        server_mib = peak_mib(Path(f"/proc/{server.pid}/status").read_text()) - before
    assert (status, error) == (0, "")
    document = json.loads(out)
    assert document["element_count"] == rows
    assert document["value"] == pytest.approx(losses.mean(dtype="f8"), rel=1e-7)
    for name, result in document["slices"].items():
        assert result["value"] == pytest.approx(losses[slices == int(name)].mean(dtype="f8"), rel=1e-7)
    # The files have 170 MiB and the interpreter 60. Neither side holds more than a few pieces of 1 MiB and what computing them takes.
    assert client_mib < 130, client_mib
    assert server_mib < 100, server_mib
