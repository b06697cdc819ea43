# SPDX-License-Identifier: Apache-2.0
"""Load from outside, and what came of it. h2load (Debian: nghttp2-client) replays prebuilt bodies; clients.py is the SDK.

h2load knows the HTTP status only, which gRPC's errors leave at 200. So every server answers the same body correctly before
it is measured, the bytes of every run are compared with that answer (an error has none), and lossd's own counters must agree.
"""

import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np

from lossd.v1 import evaluation_service_pb2, response_pb2
from processes import HERE, Server
from workloads import BATCH, CROSS_ENTROPY, L1, MSE, STREAM, Workload, arrays

CONNECTIONS = 4
_REASON = "lossd_batches_total{"


class Wrong(Exception):  # noqa: N818
    """A server's answers are not what they must be."""


class Unserved(Exception):  # noqa: N818
    """The server has no such method."""


@dataclass
class Sample:
    """One server under one workload for a moment. Times in seconds; calls are losses, of which an RPC may hold many."""

    calls_per_second: float
    p50: float
    p99: float
    cpu_per_1000_calls: float
    peak_bytes: int
    peak_growth_bytes: int  # over what it held at rest, before the first load
    calls_per_batch: float | None  # lossd
    reasons: dict[str, float]  # lossd: why batches were started, as shares

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def expected(path: str) -> float:
    """The right answer to the calls of this path."""
    logits, labels = arrays(32, 10)
    wide = logits.astype(np.float64)
    entropy = np.log(np.exp(wide).sum(1)) - wide[np.arange(32), labels]
    prediction, target = arrays(2, 64)[0].astype(np.float64)
    return {MSE: ((prediction - target) ** 2).mean(), L1: abs(prediction - target).mean()}.get(path, entropy.mean())


def preflight(server: Server, workload: Workload) -> int:
    """Sends the body once and checks every answer. Returns the bytes of the answer's frames. Raises Wrong or Unserved."""
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    size = 0
    with grpc.insecure_channel(server.address, options) as channel:
        for path in dict.fromkeys(workload.paths):
            call = channel.stream_stream(path)
            try:
                messages = list(call(iter(workload.body()), timeout=60))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise Unserved from None
                raise Wrong(f"{server.name}, {workload.name}: {error.code()}: {error.details()}") from None
            size += sum(len(message) + 5 for message in messages)
            values = [value for message in messages for value in _values(path, message)]
            if len(values) != workload.calls:
                raise Wrong(f"{server.name}, {workload.name}: {len(values)} answers to {workload.calls} calls")
            if not server.name.startswith("echo") and not workload.name.startswith("large"):
                right = (expected(CROSS_ENTROPY), expected(MSE)) if path in (BATCH, STREAM) else (expected(path),)
                wrong = [value for value in values if not any(math.isclose(value, one, rel_tol=1e-5) for one in right)]
                if wrong:
                    raise Wrong(f"{server.name}, {workload.name}: {wrong[0]}")
    return size // len(set(workload.paths))


def measure(server: Server, workload: Workload, seconds: float, folder: Path, at_rest: int) -> Sample:
    """One run. `folder` is for files, `at_rest` what the server held before the first load. Raises Wrong or Unserved."""
    size = preflight(server, workload)
    before, cpu = server.metrics(), server.cpu_seconds()
    server.reset_peak()
    load = _h2load if workload.loaded_by == "h2load" else _client
    calls, per_second, latencies = load(server, workload, seconds, folder, size)
    cpu, peak, after = server.cpu_seconds() - cpu, server.peak_bytes(), server.metrics()
    gained = {name: value - before.get(name, 0.0) for name, value in after.items()}
    failed = {name: n for name, n in gained.items() if n and "handled_total{" in name and not name.endswith(("{OK}", "{CANCELLED}"))}
    if failed:
        raise Wrong(f"{server.name}, {workload.name}: {failed}")
    if server.metrics_port and gained["lossd_batch_calls_sum"] < calls:
        raise Wrong(f"{server.name}, {workload.name}: computed {gained['lossd_batch_calls_sum']} of {calls} calls")
    batches = gained.get("lossd_batch_calls_count", 0.0)
    served = gained.get("lossd_batch_calls_sum") or calls  # the SDK's warm-up calls cost time too
    started = sum(n for name, n in gained.items() if name.startswith(_REASON))
    return Sample(
        calls_per_second=per_second,
        p50=statistics.median(latencies),
        p99=float(np.percentile(latencies, 99)),
        cpu_per_1000_calls=1000 * cpu / served,
        peak_bytes=peak,
        peak_growth_bytes=peak - at_rest,
        calls_per_batch=gained["lossd_batch_calls_sum"] / batches if batches else None,
        reasons={name[len(_REASON) : -1]: n / started for name, n in gained.items() if n and name.startswith(_REASON)},
    )


# Implementation details follow.


def _values(path: str, message: bytes) -> list[float]:
    if path == BATCH:
        outcomes = evaluation_service_pb2.ScoreBatchResponse.FromString(message).outcomes
    elif path == STREAM:
        outcomes = [one.outcome for one in evaluation_service_pb2.ScoreStreamResponse.FromString(message).outcomes]
    else:
        return [response_pb2.LossResponse.FromString(message).value]
    return [outcome.response.value for outcome in outcomes if outcome.HasField("response")]


def _h2load(server: Server, workload: Workload, seconds: float, folder: Path, size: int) -> tuple[int, float, Sequence[float]]:
    body, uris, log = folder / f"{workload.name}.body", folder / f"{workload.name}.uris", folder / "h2load.log"
    if not body.exists():
        body.write_bytes(workload.framed())
    uris.write_text("".join(f"http://{server.address}{path}\n" for path in workload.paths))
    log.unlink(missing_ok=True)
    connections = min(CONNECTIONS, workload.in_flight)
    command = ["h2load", "-t1", f"-c{connections}", f"-m{workload.in_flight // connections}", f"-D{round(seconds * 1000)}ms"]
    command += ["-H", "te: trailers", "-H", "content-type: application/grpc", f"-d{body}", f"-i{uris}", f"--log-file={log}"]
    try:
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    except subprocess.TimeoutExpired:
        raise Wrong(f"{server.name}, {workload.name}: h2load waits for ever") from None
    done, failed, errored, timed_out = (int(_find(rf"(\d+) {word}", text)) for word in ("succeeded", "failed", "errored", "timeout"))
    data = int(_find(r"headers \(.*\), \S+ \((\d+)\) data", text))
    if not (done or failed or errored or timed_out) and seconds < 10:  # too slow for so short a look
        return _h2load(server, workload, 2 * seconds, folder, size)
    # Bytes of the answers that were on their way at the end come on top; execution times that are 0 take none.
    if failed or errored or timed_out or not done or not 0.7 * size <= data / done <= 1.3 * size * (1 + workload.in_flight / done):
        raise Wrong(
            f"{server.name}, {workload.name}: {data} bytes in {done} answers of about {size}, {failed + errored + timed_out} failed"
        )
    rate = float(_find(r"([\d.]+) req/s", text))
    latencies = [int(line.split("\t")[2]) / 1e6 for line in log.read_text().splitlines()]
    return done * workload.calls, rate * workload.calls, latencies


def _client(server: Server, workload: Workload, seconds: float, folder: Path, size: int) -> tuple[int, float, Sequence[float]]:
    command = [sys.executable, str(HERE / "clients.py"), server.address, workload.loaded_by, str(seconds)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout)
    return result["calls"], result["calls"] / result["seconds"], result["latencies"]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise Wrong(f"h2load says nothing of {pattern}: {text}")
    return found[1]
