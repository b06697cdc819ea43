# SPDX-License-Identifier: Apache-2.0
"""The server's folders import downwards only: http2 and front -> service -> requests and queue -> compute -> losses."""

import ast
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server" / "lossd_server"

# What each folder may import besides itself; None is the top of the package.
COMMON = {"call", "errors", "log", "admission", "shares"}
ALLOWED = {
    "http2": set(),
    "front": {"http2", "service", "losses", "config", "metrics", "sockets", *COMMON},
    "service": {"requests", "queue", "compute", "losses", *COMMON},
    "requests": {"losses", *COMMON},
    "queue": {"compute", "losses", *COMMON},
    "compute": {"losses", *COMMON},
    "losses": {"errors"},
    "workers": {"admin", "config", "log", "process", "server", "sockets"},
}


def imported(path: Path) -> set[str]:
    """The modules and folders at the top of lossd_server that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lossd_server":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lossd_server."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lossd_server."))
    return names


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_downwards_only(folder: str) -> None:
    for path in sorted((SERVER / folder).rglob("*.py")):
        assert imported(path) <= {folder, *ALLOWED[folder]}, path.name


def test_every_folder_has_its_place() -> None:
    assert {path.parent.name for path in SERVER.glob("*/__init__.py")} == set(ALLOWED)


def test_the_coalescer_imports_nothing_of_lossd() -> None:
    assert imported(SERVER / "queue" / "coalescer.py") == set()
