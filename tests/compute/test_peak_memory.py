# SPDX-License-Identifier: Apache-2.0
"""Promise 6 for one call: its memory stays below the estimate by which it was admitted, for every loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossd_server.losses import LOSSES

# A message is held twice while it is read: as it was parsed, and its tensors.
_READING = 2
# Code and tables that torch loads for its first kernels, and pages that the heap cannot give back.
_ONCE_BYTES = 16 << 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel keeps the peak in /proc")
def test_no_call_takes_more_memory_than_its_estimate() -> None:
    script = Path(__file__).parent.parent / "support" / "peak_memory.py"
    paths = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert {case["loss"] for case in cases} == {spec.name for spec in LOSSES.values()}
    over = [case for case in cases if case["peak"] > _READING * case["message"] + case["estimate"] + _ONCE_BYTES]
    assert not over
