# SPDX-License-Identifier: Apache-2.0
"""Tools that tests run and that are no Python packages."""

import os
import shutil
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """The path of an executable. Without it the test is skipped, or fails when LOSSD_REQUIRE_TOOLS=1."""
    found = shutil.which(name) or shutil.which(name, path=Path.home() / "go" / "bin")
    if found is None:
        reason = f"the tool {name} is not installed"
        if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
