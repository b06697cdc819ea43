# SPDX-License-Identifier: Apache-2.0
"""What `pip install` brings, and what importing it costs."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lossd
from lossd_server.config import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (path,) = folder.glob("lossd-*.whl")
    return zipfile.Path(path)


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_the_demos_data(wheel: zipfile.Path) -> None:
    names = {name for name in wheel.root.namelist() if not name.endswith("/")}
    for package in ("client/python/lossd", "server/lossd_server"):
        folder = ROOT / package
        expected = {
            str(path.relative_to(folder.parent)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }
        assert expected <= names
    assert {"lossd/py.typed", "lossd_server/py.typed", "lossd/v1/loss_service_pb2.pyi", "lossd/demo_data/digits_logits.npy"} <= names


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(wheel: zipfile.Path) -> None:
    assert {path.name for path in wheel.iterdir()} - {"lossd", "lossd_server"} == {f"lossd-{version('lossd')}.dist-info"}


@pytest.mark.parametrize("module", ["lossd", "lossd.cli", "lossd._cli"])
def test_importing_the_client_does_not_import_torch_or_the_server(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'lossd_server', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_client_imports_with_the_base_dependencies_alone() -> None:
    blocked = [
        "torch",
        "click",
        "rich",
        "pydantic",
        "pydantic_settings",
        "structlog",
        "prometheus_client",
        "grpc_health",
        "grpc_reflection",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import lossd; print(lossd.Client.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Client\n", "")


def test_the_version_is_that_of_the_package() -> None:
    assert lossd.__version__ == version("lossd")


def needed(requirements: Iterable[str], extras: Iterable[str] = ("",), seen: set[str] | None = None) -> Iterator[Requirement]:
    """These requirements and all that follow from them here, without those that PyTorch pins."""
    seen = set() if seen is None else seen
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if requirement.name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        yield requirement
        name = f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if name not in seen:
            seen.add(name)
            try:
                yield from needed(requires(requirement.name) or (), requirement.extras or ("",), seen)
            except PackageNotFoundError:  # what the tests do not need
                continue


def test_constraints_pin_every_dependency_within_its_declared_range() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (itself,) = [line for line in project["optional-dependencies"]["dev"] if line.startswith("lossd[")]
    extras = {"dev", *Requirement(itself).extras}
    declared = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    declared.remove(itself)
    found = list(needed(declared))
    assert len(found) > len(declared)
    for requirement in found:
        name = canonicalize_name(requirement.name)
        assert name in pins, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement} is not met by {pins[name]}"


def test_the_image_has_the_torch_that_the_package_asks_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (torch,) = [requirement for requirement in extras["server"] if requirement.startswith("torch")]
    assert f'"{torch}"' in (ROOT / "deploy" / "Dockerfile").read_text()


def test_compose_bounds_its_containers_and_sets_what_is_a_setting() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    services = re.split(r"^  (?=\w+:$)", text.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0], flags=re.MULTILINE)[1:]
    assert len(services) == 2
    for service in services:
        assert {"mem_limit", "pids_limit", "cpus"} <= set(re.findall(r"^    (\w+):", service, re.MULTILINE))
    environment = dict(re.findall(r"^      LOSSD_(\w+): \"?([^\"\n]+)\"?$", text, re.MULTILINE))
    assert len(environment) > 4
    Settings(listen="0.0.0.0:50051", **{name.lower(): value for name, value in environment.items()})
