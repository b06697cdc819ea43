# SPDX-License-Identifier: Apache-2.0
"""`lossd demo`: the main job, on real predictions, as a user runs it; and that it would notice a wrong answer."""

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from lossd import _demo

PROGRAM = [sys.executable, "-W", "error", "-m", "lossd.cli", "demo"]


@pytest.mark.slow
def test_the_demo_scores_real_predictions_in_coalesced_batches() -> None:
    done = subprocess.run([*PROGRAM, "--device=cpu"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok") == len(_demo.CASES) + 1
    assert " off" not in done.stdout
    for case in _demo.CASES:
        assert case.label in done.stdout


@pytest.mark.slow
def test_a_wrong_answer_is_reported_and_fails_the_demo() -> None:
    """A wrong expectation is to the demo what a wrong answer is."""
    code = (
        "import sys, torch; from lossd import _demo; from lossd.cli import main\n"
        "true = _demo._torch_value\n"
        "_demo._torch_value = lambda torch, case, *data: true(torch, case, *data) * (1 + 1e-4 * (case.loss == 'mse_loss'))\n"
        "main()"
    )
    arguments = [sys.executable, "-c", code, "demo", "--device=cpu", "--callers=2"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stdout.count(" off") == 1
    assert "Error: " in done.stderr
    assert "the first: mse_loss: " in done.stderr


@pytest.mark.slow
def test_the_demo_says_why_its_server_did_not_start() -> None:
    done = subprocess.run([*PROGRAM, "--device=abacus"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: device 'abacus' is not auto, cpu or cuda:N\n"


@pytest.mark.slow
def test_calls_coalesce_and_answers_do_not_depend_on_it() -> None:
    with _demo.server("cpu") as address:
        report = _demo.run(address, callers=16)
    assert report.failures == []
    assert max(row.largest_batch for row in report.rows) > 1
    batches = -(-899 // _demo.ROWS_A_CALL)
    assert report.rows[0].calls == 16 * batches


@pytest.mark.parametrize("case", _demo.CASES, ids=lambda case: case.label)
def test_the_recorded_values_are_torchs_in_float64(case: _demo.Case) -> None:
    recorded = json.loads((resources.files("lossd") / "demo_data" / "expected.json").read_text())
    predictions, targets = (torch.from_numpy(array) for array in _demo.arrays(case))
    targets = targets.double() if targets.is_floating_point() else targets
    expected = getattr(torch.nn.functional, case.loss)(predictions.double(), targets, **case.arguments)
    torch.testing.assert_close(torch.tensor(recorded[case.label], dtype=torch.float64), expected)


def test_save_writes_the_files_of_the_demonstration(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "samples"
    done = subprocess.run([*PROGRAM, "--save", str(folder)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == sorted(str(path) for path in folder.iterdir())
    for case in _demo.CASES:
        for name, array in zip((case.input, case.target), _demo.arrays(case), strict=True):
            np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), array)


def test_save_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run([*PROGRAM, "--save", str(tmp_path / "file" / "below")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot write to {tmp_path / 'file' / 'below'}: Not a directory\n"


@pytest.mark.slow
def test_the_demos_server_ignores_settings_meant_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSD_MAX_REQUEST_BYTES", "1")
    with _demo.server("cpu") as address:
        assert address.startswith("127.0.0.1:")
    assert os.environ["LOSSD_MAX_REQUEST_BYTES"] == "1"
