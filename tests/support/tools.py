# SPDX-License-Identifier: Apache-2.0
"""Tools that tests run and that are no Python packages. tests/conformance/install.sh installs them."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def cache() -> Path:
    """The folder of what is downloaded or built for tests and kept between runs: $LOSSD_TOOLS, else ~/.cache/lossd-tools."""
    return Path(os.environ.get("LOSSD_TOOLS") or Path.home() / ".cache" / "lossd-tools")


def tool(name: str) -> str:
    """The path of an executable. Without it the test is skipped, or fails when LOSSD_REQUIRE_TOOLS=1."""
    folders = [os.environ.get("PATH", os.defpath), str(cache() / "bin"), str(Path.home() / "go" / "bin"), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        missing(name)
    return found


def missing(name: str) -> NoReturn:
    """Skips the test, or fails it when LOSSD_REQUIRE_TOOLS=1, because the tool is not there."""
    reason = f"the tool {name} is not installed"
    if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
