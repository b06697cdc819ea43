# SPDX-License-Identifier: Apache-2.0
"""The device's part alone, without a server: merged calls against one launch for each, and large losses against its bandwidth.

    python tests/bench/gpu.py [--device cuda:0] [--rows 8192] [--classes 50257] [--out FILE]

Bandwidth is that of a copy on the device, measured in the same run. A loss that reads its input once, and no more, would reach
it; the fraction says how far from that the kernel is, computing in float32 as the server does. Times are medians.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lossd_server.compute.batch import compute
from lossd_server.compute.device import resolve
from lossd_server.compute.memory import memory_of
from lossd_server.losses import LOSSES
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from workloads import cross_entropy, mse

CALLS = 256  # in a batch
ROUNDS = 15


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--classes", type=int, default=50257)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = resolve(arguments.device)
    torch.set_grad_enabled(False)
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "merged": [merged(device, "CrossEntropyLoss", cross_entropy(32, 10)), merged(device, "MseLoss", mse(64))],
        "large": large(device, arguments.rows, arguments.classes),
    }
    for row in found["merged"]:
        print(f"{row['loss']:24s} {row['merged']:12,.0f} calls/s merged {row['alone']:12,.0f} alone {row['ratio']:8.1f} x")
    for row in found["large"]:
        print(f"{row['loss']:24s} {row['seconds'] * 1e3:12.3f} ms {row['fraction']:8.2f} of {row['bandwidth'] / 1e9:,.0f} GB/s")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def merged(device: torch.device, rpc: str, request: Any) -> dict[str, Any]:
    """CALLS requests from bytes on the host to sums on the host: in one batch, and one by one."""
    memory, reader, message = memory_of(device), Reader(RequestLimits()), request.SerializeToString()
    calls = [reader.read(LOSSES[rpc], message) for _ in range(CALLS)]
    together = seconds(device, lambda: compute(calls, memory))
    alone = seconds(device, lambda: [compute([call], memory) for call in calls])
    return {"loss": rpc, "merged": CALLS / together, "alone": CALLS / alone, "ratio": alone / together}


def large(device: torch.device, rows: int, classes: int) -> list[dict[str, Any]]:
    """Cross entropy of logits that are on the device already."""
    bandwidth = copy_bandwidth(device)
    labels = torch.randint(classes, (rows,), device=device)
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        logits = torch.randn(rows, classes, dtype=dtype, device=device)
        kernel = LOSSES["CrossEntropyLoss"].kernel
        taken = seconds(device, lambda: kernel(logits.float(), ignore_index=-100, label_smoothing=0.0, class_indices=labels))  # noqa: B023
        name = f"CE {rows}x{classes} {str(dtype).removeprefix('torch.')}"
        results.append({"loss": name, "seconds": taken, "bandwidth": bandwidth, "fraction": logits.nbytes / taken / bandwidth})
    return results


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second."""
    source = torch.empty(1 << (28 if device.type == "cuda" else 24), dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(device, lambda: target.copy_(source))


def seconds(device: torch.device, work: Callable[[], Any]) -> float:
    """Of one run, with everything done on the device."""
    times = []
    for _ in range(ROUNDS + 3):
        started_at = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started_at)
    return statistics.median(times[3:])


if __name__ == "__main__":
    main()
