# SPDX-License-Identifier: Apache-2.0
"""Builds the drivers of support/drivers.py, once for each version of their sources."""

import fcntl
import functools
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import tools

_SOURCES = Path(__file__).resolve().parent.parent / "conformance" / "clients"
_HOME = tools.cache() / "drivers"
DESCRIPTORS = _HOME / "descriptors"  # the schema as a FileDescriptorSet, for a client that needs one at run time


@dataclass(frozen=True)
class _Language:
    """How a driver is built in a copy of its folder, and started there. {cache} is a folder that is kept when the sources change."""

    folder: str
    start: list[str]
    build: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    oldest: tuple[int, int] = (0, 0)  # version of the first that is needed, where Debian's may be too old


_NPM = ("npm install --no-audit --no-fund --silent",)
_LANGUAGES = {
    "go": _Language("go", ["./driver"], ("go build -o driver .",), ("go",), (1, 21)),
    "java": _Language(
        "java",
        ["java", "-XX:TieredStopAtLevel=1", "-cp", "target/classes:target/dependency/*", "Driver"],
        ("mvn -q -B package dependency:copy-dependencies",),
        ("java", "mvn"),
    ),
    "grpc-js": _Language("node", ["node", "grpc_js.mjs"], _NPM, ("node", "npm")),
    "connect-node": _Language("node", ["node", "connect.mjs"], _NPM, ("node", "npm")),
    "cpp": _Language(
        "cpp",
        ["./driver"],
        ("g++ -std=c++17 -O1 driver.cc -o driver $(pkg-config --cflags --libs grpc++)",),
        ("g++", "pkg-config"),
    ),
    "tonic": _Language(
        "rust",
        ["./driver"],
        ("CARGO_TARGET_DIR={cache} cargo build --locked --quiet", "cp {cache}/debug/driver driver"),
        ("cargo",),
        (1, 88),
    ),
    "grpcio": _Language("python", [sys.executable, "driver.py"]),
    "curl": _Language("command_line", [sys.executable, "driver.py", "curl"], needs=("curl",)),
    "curl-pipe": _Language("command_line", [sys.executable, "driver.py", "curl-pipe"], needs=("curl",)),
    "nghttp": _Language("command_line", [sys.executable, "driver.py", "nghttp"], needs=("nghttp",)),
}
LIBRARIES = ["go", "java", "grpc-js", "connect-node", "cpp", "tonic", "grpcio"]
NAMES = list(_LANGUAGES)


def command(name: str) -> tuple[list[str], Path]:
    """How to start a driver, and in which folder. Builds it if necessary; skips the test if this machine lacks the tools."""
    language = _LANGUAGES[name]
    for program in language.needs:
        tools.tool(program)
    if language.oldest > (0, 0) and _version(language.needs[0]) < language.oldest:
        tools.missing(f"{language.needs[0]} {'.'.join(map(str, language.oldest))}")
    if name == "cpp" and subprocess.run(["pkg-config", "--exists", "grpc++"], check=False).returncode:
        tools.missing("libgrpc++-dev")
    folder, failure = _built(language.folder, language.build)
    if failure:
        pytest.fail(f"the driver {name} was not built: {failure}", pytrace=False)
    return language.start, folder


def _version(program: str) -> tuple[int, int]:
    printed = subprocess.run(
        [tools.tool(program), "version" if program == "go" else "--version"], capture_output=True, text=True, check=True
    )
    major, minor = re.findall(r"\d+", printed.stdout)[:2]
    return int(major), int(minor)


@functools.cache
def _built(name: str, build: tuple[str, ...]) -> tuple[Path, str]:
    """The folder in which the driver was built, and what went wrong."""
    source = _SOURCES / name
    files = sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    _HOME.mkdir(parents=True, exist_ok=True)
    folder = _HOME / f"{name}-{digest}"
    with (_HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _write_descriptors(DESCRIPTORS)
        if (folder / "built").exists():
            return folder, ""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        for line in build:
            filled = line.format(cache=_HOME / f"cache-of-{name}")
            done = subprocess.run(filled, shell=True, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                return folder, f"{filled}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        (folder / "built").touch()
    return folder, ""


def _write_descriptors(path: Path) -> None:
    from google.protobuf import descriptor_pb2

    from lossd.v1 import evaluation_service_pb2, loss_service_pb2

    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: "object") -> None:
        for dependency in file.dependencies:  # type: ignore[attr-defined]
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)  # type: ignore[attr-defined]
        files.setdefault(proto.name, proto)

    add(loss_service_pb2.DESCRIPTOR)
    add(evaluation_service_pb2.DESCRIPTOR)
    data = descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString()
    if not path.exists() or path.read_bytes() != data:
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)
