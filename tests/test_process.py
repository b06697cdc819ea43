# SPDX-License-Identifier: Apache-2.0
"""How `lossd serve` ends: in time even if the device is stuck, and at once at the second signal."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from support.encoded_requests import encoded

pytestmark = pytest.mark.slow

# Whatever a server does in a time that depends on this machine; the settings below would have it take far longer.
PATIENCE = 60.0


MAIN = "from lossd.cli import main; main()"


@contextmanager
def serving(log: Path, *arguments: str, program: str = MAIN) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}
    command = [sys.executable, "-W", "error", "-c", program, "serve", "--device=cpu", "--listen=127.0.0.1:0", "--admin-listen=", *arguments]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("lossd listens on "), log.read_text()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


def until_logged(log: Path, event: str) -> None:
    ends_at = time.monotonic() + PATIENCE
    while f'"{event}"' not in log.read_text():
        assert time.monotonic() < ends_at, log.read_text()
        time.sleep(0.02)


@pytest.mark.parametrize(("workers", "signum"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_second_signal_ends_at_once(tmp_path: Path, workers: int, signum: signal.Signals) -> None:
    log = tmp_path / "log"
    with serving(log, f"--workers={workers}", "--drain-delay-seconds=600") as (process, address):
        process.send_signal(signum)
        until_logged(log, "draining")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signum)
        assert process.wait(PATIENCE) == 128 + signum
        ends_at = time.monotonic() + PATIENCE
        while True:  # no worker is left
            try:
                socket.create_connection(address.split(":")).close()
            except ConnectionRefusedError:
                break
            assert time.monotonic() < ends_at
            time.sleep(0.02)


# A server whose every batch takes for ever, on the device's thread and in code that does not let go of it.
STUCK = (
    """
import threading
from lossd_server.compute import batch
from lossd_server.queue import dispatcher
dispatcher.INLINE_BELOW_SECONDS = 0.0
compute = batch.compute
def stuck(calls, memory):
    if calls[0].spec.name == "mse_loss":
        print("computing", flush=True)
        threading.Event().wait()
    return compute(calls, memory)
batch.compute = stuck
"""
    + MAIN
)


def test_a_batch_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--drain-seconds=0.5", program=STUCK) as (process, address), grpc.insecure_channel(address) as channel:
        rpc = channel.unary_unary("/lossd.v1.LossService/MseLoss").future(encoded("mse_loss", input=[3.0], target=[1.0])[1])
        assert process.stdout is not None
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGTERM)
        assert rpc.code() == grpc.StatusCode.UNAVAILABLE
        assert process.wait(PATIENCE) == 0
        assert '"stopped"' in (tmp_path / "log").read_text()
