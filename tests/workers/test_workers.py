# SPDX-License-Identifier: Apache-2.0
"""`lossd serve --workers 2` from outside: which worker answers, what the metrics count, and what happens if processes end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from prometheus_client.parser import text_string_to_metric_families

from lossd.v1 import loss_service_pb2_grpc, regression_pb2, tensor_pb2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")]

PROGRAM = [sys.executable, "-W", "error", "-m", "lossd.cli", "serve", "--device=cpu"]
LISTEN = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LOSSD_")}


@dataclass
class Serving:
    """A `lossd serve` that serves."""

    process: "subprocess.Popen[str]"
    address: str
    log: Path

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    def worker_pids(self) -> dict[int, int]:
        """By worker, the process that was ready last."""
        return {event["worker"]: event["pid"] for event in self.events("worker_ready")}

    def metrics(self) -> dict[tuple[str, str], float]:
        """By name and gRPC method."""
        admin_address = next(event["admin_address"] for event in self.events("serving") if event["admin_address"])
        page = urllib.request.urlopen(f"http://{admin_address}/metrics").read().decode()
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        found: dict[tuple[str, str], float] = {}
        for sample in samples:
            key = sample.name, sample.labels.get("grpc_method", "")
            found[key] = found.get(key, 0.0) + sample.value
        return found

    def connected_pids(self) -> set[int]:
        """The workers that hold an open connection of a client."""
        port = f"{int(self.address.rpartition(':')[2]):04X}"
        # gRPC listens on an IPv4 address by an IPv6 socket where it can.
        rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        established = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(":" + port) and row[3] == "01"}
        return {pid for pid in self.worker_pids().values() if established & _open_files(pid)}


@contextmanager
def serving(folder: Path, workers: int = 2, *arguments: str) -> Iterator[Serving]:
    log = folder / "log"
    with log.open("w") as stderr:
        command = [*PROGRAM, *LISTEN, f"--workers={workers}", *arguments]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert re.fullmatch(r"lossd listens on 127\.0\.0\.1:\d+\n", line), (line, log.read_text())
        yield Serving(process, line.split()[-1], log)
    finally:
        process.kill()
        process.communicate()  # until the workers are gone, too


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("workers")) as started:
        yield started


def test_the_connections_of_callers_are_spread_over_the_workers(server: Serving) -> None:
    with ExitStack() as stack:
        for _ in range(64):  # each lands on either worker by chance
            assert call(stack.enter_context(channel(server.address))) == "OK"
            if len(server.connected_pids()) == 2:
                break
        assert server.connected_pids() == set(server.worker_pids().values())


def test_metrics_count_the_calls_of_all_workers(server: Serving) -> None:
    before = server.metrics().get(("grpc_server_handled_total", "MseLoss"), 0.0)
    with ExitStack() as stack:
        channels = [stack.enter_context(channel(server.address)) for _ in range(16)]
        assert [call(one) for one in channels * 4] == ["OK"] * 64
    wait_until(lambda: server.metrics()["grpc_server_handled_total", "MseLoss"] == before + 64)
    metrics = server.metrics()
    assert metrics["grpc_server_handling_seconds_count", "MseLoss"] == metrics["grpc_server_handled_total", "MseLoss"]
    assert metrics["lossd_workers", ""] == 2


def test_a_killed_worker_is_replaced_and_its_calls_stay_counted(server: Serving) -> None:
    with channel(server.address) as one:
        assert call(one) == "OK"
    before = server.metrics()
    killed = server.worker_pids()[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: server.metrics()["lossd_worker_restarts_total", ""] == 1 and server.metrics()["lossd_workers", ""] == 2)
    assert server.worker_pids()[0] != killed
    (ended,) = server.events("worker_ended")
    assert (ended["worker"], ended["pid"], ended["exit_status"]) == (0, killed, -signal.SIGKILL)
    after = server.metrics()
    for name, method in before:
        if name.endswith(("_total", "_count", "_sum", "_bucket")):
            assert after[name, method] >= before[name, method], name
    assert after["grpc_server_handled_total", "MseLoss"] == before["grpc_server_handled_total", "MseLoss"]
    with channel(server.address) as one:
        assert call(one) == "OK"


def test_log_lines_of_workers_name_the_worker(server: Serving) -> None:
    of_workers = [event["worker"] for event in server.events("serving") if "workers" not in event]
    assert set(of_workers) == {0, 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_completes_or_refuses_every_call(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers) as server, ExitStack() as stack:
        channels = [stack.enter_context(channel(server.address)) for _ in range(8)]
        assert [call(one) for one in channels] == ["OK"] * 8

        def load(one: grpc.Channel) -> tuple[int, str]:
            """How many calls were answered, and how the first that was not was refused."""
            answered = 0
            while (outcome := call(one, 1 << 16)) == "OK":
                answered += 1
            return answered, outcome

        with ThreadPoolExecutor(len(channels)) as pool:
            loads = [pool.submit(load, one) for one in channels]
            wait_until(lambda: server.metrics().get(("grpc_server_handled_total", "MseLoss"), 0.0) > 200)
            server.process.send_signal(signal.SIGTERM)
            outcomes = [one.result() for one in loads]
        assert server.process.wait(60) == 0
    assert sum(answered for answered, _ in outcomes) > 200 - 8
    assert {refusal for _, refusal in outcomes} <= {"SHUTTING_DOWN", "not connected"}
    assert len(server.events("stopped")) == {1: 1, 2: 3}[workers]


def test_when_the_supervisor_is_killed_the_workers_drain(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.kill()
        server.process.communicate(timeout=60)  # its standard output is the workers', too: it ends with the last of them
        assert [event["worker"] for event in sorted(server.events("stopped"), key=lambda event: event["worker"])] == [0, 1]


def test_a_worker_that_hangs_does_not_keep_metrics_from_being_read_and_is_killed_at_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path, 2, "--drain-seconds=0") as server:
        hung = server.worker_pids()[1]
        os.kill(hung, signal.SIGSTOP)
        assert server.metrics()["lossd_workers", ""] == 2
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
        assert [event["pid"] for event in server.events("worker_killed")] == [hung]


def test_a_worker_that_hangs_is_replaced_and_the_others_serve_on(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        hung = server.worker_pids()[1]
        os.kill(hung, signal.SIGSTOP)
        wait_until(lambda: server.worker_pids()[1] != hung and server.metrics()["lossd_workers", ""] == 2, 300)
        assert [event["pid"] for event in server.events("worker_hangs")] == [hung]
        assert [event["pid"] for event in server.events("worker_ended")] == [hung]
        with channel(server.address) as one:
            assert call(one) == "OK"


def test_the_supervisor_gives_up_if_no_worker_can_be_replaced(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    tokens.write_text(f"somebody {'0' * 64}\n")
    with serving(tmp_path, 2, f"--tokens-file={tokens}") as server:
        tokens.unlink()
        for pid in server.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
        assert server.process.wait(60) == 1
        assert server.log.read_text().count("Error: ") == 1
        assert "Traceback" not in server.log.read_text()


def test_a_port_in_use_is_reported_in_one_line_with_exit_code_1(server: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for address in (server.address, f"127.0.0.1:{taken.getsockname()[1]}"):
            for workers in (1, 2):
                done = refused(f"--listen={address}", "--admin-listen=127.0.0.1:0", f"--workers={workers}")
                assert done.returncode == 1
                assert f"Error: cannot listen on {address}: Address already in use; --listen" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--device=abacus"], 1, "Error: device 'abacus' is not auto, cpu or cuda:N\n"),
        (["--listen=unix:lossd.sock"], 2, "Error: --workers: must be 1 if the server listens on a unix: address"),
        (["--listen=no.such.host.invalid:1", "--insecure"], 1, "Error: cannot listen on no.such.host.invalid:1: "),
        (
            ["--admin-listen=192.0.2.1:1", "--admin-insecure"],
            1,
            "Error: cannot listen on 192.0.2.1:1: Cannot assign requested address; --admin-listen",
        ),
    ],
)
def test_an_error_of_the_settings_is_reported_once(arguments: list[str], status: int, message: str) -> None:
    done = refused(*LISTEN, "--workers=3", "--log-level=error", *arguments)
    assert done.returncode == status
    assert done.stderr.count("Error") == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def channel(address: str) -> grpc.Channel:
    """One with a connection of its own."""
    return grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])


def call(one: grpc.Channel, elements: int = 4) -> str:
    """OK, or the reason for which the server refused the call, or how gRPC failed it."""
    values = tensor_pb2.Tensor(shape=[elements], float32_values=tensor_pb2.Float32Values(values=[0.5] * elements))
    try:
        loss_service_pb2_grpc.LossServiceStub(one).MseLoss(regression_pb2.MseLossRequest(input=values, target=values), timeout=60)
    except grpc.RpcError as error:
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                info = error_details_pb2.ErrorInfo()
                status_pb2.Status.FromString(value).details[0].Unpack(info)
                return info.reason
        if error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect" in (error.details() or ""):
            return "not connected"
        return f"{error.code()}: {error.details()}"
    return "OK"


def refused(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PROGRAM, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it has not come true"
        time.sleep(0.02)


def _open_files(pid: int) -> set[str]:
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
