# SPDX-License-Identifier: Apache-2.0
"""Short ticks, files of bearer tokens, and servers of both transports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lossd_server.front import tokens
from lossd_server.http2 import asyncio_protocol
from support.tokens import ALICES_LINE, BOBS_LINE
from support.transports import MAX_REQUEST_BYTES, Pair, both


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections look at their deadlines often, so that tests of deadlines are short."""
    monkeypatch.setattr(asyncio_protocol, "TICK_SECONDS", 0.1)


@pytest.fixture
def tokens_path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.txt"
    path.write_text(f"# who may call\n\n{ALICES_LINE}\n{BOBS_LINE}\n")
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the file takes effect with the next call."""
    monkeypatch.setattr(tokens, "RELOAD_SECONDS", 0.0)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Servers of both transports, with default settings but for the size of a request."""
    yield from both(max_request_bytes=MAX_REQUEST_BYTES)
