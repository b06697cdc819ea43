# SPDX-License-Identifier: Apache-2.0
"""Each template of proto/templates generates code, from the schema and from proto/raw, which differ in the file of tensors alone."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from support import tools

PROTO = Path(__file__).resolve().parents[2] / "proto"
TEMPLATES = sorted((PROTO / "templates").iterdir())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.suffixes[-2].removeprefix("."))
def test_a_template_generates_the_schema_and_its_raw_twin(template: Path, tmp_path: Path) -> None:
    text = template.read_text()
    programs = ["buf", *re.findall(r"- local: (\S+)$", text, re.MULTILINE)]
    if "npx" in text:
        programs.append("npm")
    if "protoc_builtin" in text:
        programs.append("protoc")
    folders = {str(Path(tools.tool(program)).parent) for program in programs}
    environment = {**os.environ, "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}

    def run(*command: str | Path) -> None:
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)

    for packages in re.findall(r"^# npm install (.*)$", text, re.MULTILINE):
        run("npm", "install", "--no-audit", "--no-fund", "--silent", *packages.split())
    (tmp_path / "proto").symlink_to(PROTO)
    generate = ("--template", template, "-o")
    run("buf", "generate", "proto", *generate, "plain")
    run("buf", "generate", "proto", "--exclude-path", "proto/lossd/v1/tensor.proto", *generate, "raw")
    run("buf", "generate", "proto/raw", *generate, "raw")

    plain, raw = (
        {path.relative_to(tmp_path / folder): path.read_text() for path in (tmp_path / folder).rglob("*") if path.is_file()}
        for folder in ("plain", "raw")
    )
    assert plain
    assert set(plain) == set(raw)
    differing = {path.stem for path in plain if plain[path] != raw[path]}
    assert differing
    assert all(re.match(r"(?i)tensor|\w+values(orbuilder)?$", name) for name in differing), differing
