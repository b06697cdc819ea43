# SPDX-License-Identifier: Apache-2.0
"""A module has one reason to exist, and no more than 300 lines."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 300


@pytest.mark.parametrize("folder", ["client/python/lossd", "server/lossd_server", "tests"])
def test_no_module_has_more_than_300_lines(folder: str) -> None:
    modules = [path for path in (ROOT / folder).rglob("*.py") if path.parent.name != "v1"]  # v1 is generated
    assert modules
    assert [str(path) for path in modules if len(path.read_text().splitlines()) > MAX_LINES] == []
