# SPDX-License-Identifier: Apache-2.0
"""The committed stubs are what the pinned generator makes of proto/."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "client" / "python" / "lossd" / "v1"


@pytest.mark.slow
def test_the_stubs_are_fresh(tmp_path: Path) -> None:
    """After a change to proto/: run proto/generate.py in an environment with proto/requirements.txt."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", ROOT / "proto" / "requirements.txt"], check=True, timeout=600)
    out = tmp_path / "stubs"
    (out / "lossd" / "v1").mkdir(parents=True)
    subprocess.run([python, ROOT / "proto" / "generate.py", out], check=True, timeout=120)

    fresh = {path.name: path.read_text() for path in (out / "lossd" / "v1").iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.iterdir() if path.is_file()}
    assert sorted(committed) == sorted(fresh)
    stale = [name for name in fresh if committed[name] != fresh[name]]
    assert not stale, f"stale: {', '.join(sorted(stale))}; run proto/generate.py with proto/requirements.txt installed"
