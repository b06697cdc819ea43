# SPDX-License-Identifier: Apache-2.0
"""README.md and docs/ are true: the site builds without a warning, the parts made from the code are complete, every snippet runs."""

import contextlib
import functools
import importlib.util
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

import lossd
from lossd import _demo
from lossd._cli import lossd as command_line
from lossd.v1 import evaluation_service_pb2, loss_service_pb2
from lossd_server.config import Settings
from lossd_server.errors import CallError
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.workers.supervisor import Supervisor
from support.snippets import ADDRESS, PAGES, ROOT, Shell, blocks, commands

DOCS = ROOT / "docs"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.path[:]
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


generate = load_generator()
losses_table, losses = functools.cache(generate.losses_table), functools.cache(generate.losses)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_every_link_within_it_leads_somewhere(site: Path) -> None:
    texts = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    for path, text in texts.items():
        for link in re.findall(r'<a [^>]*href="([^"]*)"', text):
            if re.match(r"https?:|mailto:", link):
                continue
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            found = found / "index.html" if found.is_dir() else found
            assert found.exists(), f"{path.name}: {link}"
            if anchor and found in texts:
                assert f'id="{anchor}"' in texts[found], f"{path.name}: {link}"


@pytest.mark.slow
def test_the_python_reference_has_everything_public(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text()
    for name in [*(f"lossd.{name}" for name in lossd.__all__ if name[0].isupper()), "lossd.testing.server", "lossd.testing.client"]:
        assert f'id="{name}"' in text, name
    for spec in LOSSES.values():
        assert f'id="lossd.Client.{spec.name}"' in text


def test_every_section_is_on_a_page() -> None:
    used = {name for page in PAGES for name in re.findall(r"^<!-- generated: ([a-z-]+) -->$", page.read_text(), re.MULTILINE)}
    assert used == set(generate.SECTIONS)


def test_settings_are_complete() -> None:
    text = generate.settings()
    for name, field in Settings.model_fields.items():
        assert f"| `--{name.replace('_', '-')}`<br>`LOSSD_{name.upper()}` |" in text
        if field.default_factory is None and field.default not in ("", False, True):
            assert f"| `{field.default}` |" in text


def test_metrics_are_complete() -> None:
    registries = (Metrics().registry, Supervisor(Settings(workers=2)).registry)
    listed = set(re.findall(r"^\| `(\w+)` \|", generate.metrics(), re.MULTILINE))
    assert {name.removesuffix("_total") for name in listed} == {metric.name for registry in registries for metric in registry.collect()}


def reasons(kind: type[CallError]) -> Iterator[str]:
    if "reason" in vars(kind):
        yield kind.reason
    for child in kind.__subclasses__():
        if child.__module__.startswith("lossd_server."):  # tests define others
            yield from reasons(child)


def test_error_reasons_are_complete() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", generate.error_reasons(), re.MULTILINE)
    assert sorted(listed) == sorted(set(reasons(CallError)))
    assert len(listed) > 20


@pytest.mark.parametrize("rpc", LOSSES)
def test_a_loss_has_its_row_and_a_section_with_all_its_fields_and_defaults(rpc: str) -> None:
    spec = LOSSES[rpc]
    assert f"[`{rpc}`](#{rpc.lower()}) | [`{spec.name}`](" in losses_table()
    section = losses().split(f"\n### {rpc}\n")[1].split("\n### ")[0].split("\n## ")[0]
    for name, argument in spec.arguments.items():
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{name}`")][:1]
        default = getattr(argument, "default", None)
        assert default is None or f"| `{str(default).lower() if isinstance(default, bool) else format(default, 'g')}` |" in row


def test_the_tables_mean_is_what_the_schema_says() -> None:
    rows = dict(re.findall(r"^\| \[`(\w+)`\][^|]*\|[^|]*\| ([^|]+) \|", losses_table(), re.MULTILINE))
    assert rows["HuberLoss"].startswith("divides by the number of elements")
    assert rows["CrossEntropyLoss"].count("divides by") == 2
    assert rows["CtcLoss"].startswith("is the mean over N")


def test_the_schema_is_complete() -> None:
    text = generate.schema()
    for file in (loss_service_pb2, evaluation_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert method.name in LOSSES or f"| `{method.name}` |" in text, method.full_name
        for message in file.DESCRIPTOR.message_types_by_name.values():
            for field in message.fields:
                assert f"| `{field.name}`" in text.split(f"\n### {message.name}\n")[1].split("\n### ")[0], field.full_name


@pages
def test_blocks_are_not_indented(page: Path) -> None:
    """An indented block would escape the tests below."""
    assert re.findall(r"^[ \t]+```\w+", page.read_text(), re.MULTILINE) == []


def pages_with(language: str) -> pytest.MarkDecorator:
    found = [page for page in PAGES if any(block.language == language and not block.not_run for block in blocks(page))]
    return pytest.mark.parametrize("page", found, ids=lambda page: str(page.relative_to(ROOT)))


@pages_with("python")
def test_python_prints_what_it_says(page: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = [block for block in blocks(page) if block.language == "python" and block.runs_here and not block.title]
    monkeypatch.chdir(tmp_path)
    for name, data in _demo.files():
        Path(name).write_bytes(data)
    names: dict[str, object] = {"__name__": "snippet"}
    for block in snippets:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text.replace(ADDRESS, address), block.page, "exec"), names)
        assert printed.getvalue().splitlines() == re.findall(r"print\(.*\)  # (.*)", block.text), block.text


@pytest.mark.slow
@pages_with("sh")
def test_shell_commands_succeed(page: Path, address: str, tmp_path: Path) -> None:
    snippets = [block for block in blocks(page) if (block.language == "sh" and block.runs_here) or block.title]
    if not any(block.language == "sh" for block in snippets):
        pytest.skip("its commands need programs that are not installed")
    for name, data in _demo.files():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    shell = Shell(tmp_path, address, os.environ)
    for block in snippets:
        if block.title:
            (tmp_path / block.title).write_text(block.text.replace(ADDRESS, address))
        else:
            shell.run(block)


def flags(command: click.Command) -> set[str]:
    found = {flag for parameter in command.get_params(click.Context(command)) for flag in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found |= flags(inner)
    return found


FLAGS = {name: flags(command) for name, command in command_line.commands.items()}


@pages
def test_commands_of_lossd_exist_with_their_flags_also_in_blocks_that_are_not_run(page: Path) -> None:
    for block in blocks(page):
        if block.language != "sh":
            continue
        for line in commands(block.text):
            for name, rest in re.findall(r"(?:^|[\s/])lossd ([a-z]+)\b([^|&;]*)", line):
                if "docker" in line or "pip" in line.split():
                    continue
                assert name in FLAGS, line
                for flag in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest):
                    assert flag in FLAGS[name], line


@pages
def test_variables_and_flags_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    source = "\n".join(path.read_text() for path in (ROOT / "client" / "python" / "lossd").rglob("*.py"))
    for variable in set(re.findall(r"`(LOSSD_[A-Z_]+)", text)):
        assert variable.removeprefix("LOSSD_").lower() in {*Settings.model_fields, "config"} or f'"{variable}"' in source, variable
    known = set().union(*FLAGS.values())
    others = set(re.findall(r"<!-- other flags: ([^>]+) -->", text)[0].split()) if "<!-- other flags:" in text else set()
    for flag in set(re.findall(r"`(--[a-z][a-z-]+)", text)):
        assert flag in known | others, flag


@pages
def test_paths_in_the_text_exist(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir()}
    for path in set(re.findall(r"`([\w.-]+/[\w./-]*)`", page.read_text())):
        if path.split("/")[0] in tops - {"lossd"}:
            assert (ROOT / path).exists(), path
    if page.name == "README.md":
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert re.match(r"https?:", link) or (ROOT / link).exists(), link
