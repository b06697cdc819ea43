# SPDX-License-Identifier: Apache-2.0
"""Tests that need others' tools: suites and clients that are no Python packages. They run with --conformance only."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--conformance"):
        return
    skip = pytest.mark.skip(reason="runs with --conformance only")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(skip)
