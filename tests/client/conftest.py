# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

from support.fake_server import Fake, fake_server


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fake_server() as made:
        yield made
