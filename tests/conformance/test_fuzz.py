# SPDX-License-Identifier: Apache-2.0
"""A short run of each fuzz target. A long one, by hand: `python tests/fuzz/run.py TARGET --seconds 300 --record`."""

import importlib.util
import os

import pytest

from fuzz.run import TARGETS, run

SECONDS = 20


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_no_crash(target: str) -> None:
    if importlib.util.find_spec("atheris") is None and os.environ.get("LOSSD_REQUIRE_TOOLS") != "1":
        pytest.skip("atheris is not installed: pip install 'lossd[fuzz]'")
    result = run(target, SECONDS)
    assert not result["findings"], result["trace"]
    assert result["executions"] > 200
