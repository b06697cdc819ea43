# SPDX-License-Identifier: Apache-2.0
"""One version covers the schema, the server and every client: each place that states it says the same."""

import re
from pathlib import Path

import pytest

import lossd

CLIENTS = Path(__file__).resolve().parents[2] / "client"
# A Go module has no version but its tag.
STATED = {
    "cpp/CMakeLists.txt": r"^project\(lossd VERSION (\S+)",
    "java/pom.xml": r"<artifactId>lossd-\w+</artifactId>\s*<version>([^<]+)</version>",
    "java/client/pom.xml": r"<parent>.*?<version>([^<]+)</version>",
    "java/protocol/pom.xml": r"<parent>.*?<version>([^<]+)</version>",
    "java/example/pom.xml": r"<parent>.*?<version>([^<]+)</version>",
    "java/README.md": r"<artifactId>lossd-client</artifactId>\s*<version>([^<]+)</version>",
    "node/package.json": r'^  "version": "([^"]+)"',
    "node/package-lock.json": r'^  "version": "([^"]+)"',
    "node/src/version.ts": r'VERSION = "([^"]+)"',
}


@pytest.mark.parametrize("path", STATED)
def test_a_client_has_the_version_of_the_python_package(path: str) -> None:
    found = re.search(STATED[path], (CLIENTS / path).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"client/{path} states no version"
    assert found[1] == lossd.__version__
