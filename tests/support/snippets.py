# SPDX-License-Identifier: Apache-2.0
"""The fenced blocks of README.md and docs/, and how tests run them.

A block may be preceded by one of these comments:

    <!-- not run: REASON -->      it is not run; commands and flags of lossd in it are checked all the same
    <!-- needs: TOOL TOOL -->     it is run if these programs are on PATH

A block with a title="FILE" is that file for the blocks after it. A `text` block right after a `sh` block is what that prints, in
which a line of `...` stands for any lines.
"""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
ADDRESS = "127.0.0.1:50051"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|needs): (?P<words>.+?) -->\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$(?P<gap>\n*)",
    re.MULTILINE | re.DOTALL,
)
_START_SECONDS = 120


@dataclass
class Block:
    """One fenced block. `needs` are the programs that it needs; `not_run` says why it cannot run here."""

    page: str
    language: str
    title: str
    text: str
    not_run: str = ""
    needs: tuple[str, ...] = ()
    prints: str | None = None

    @property
    def runs_here(self) -> bool:
        """Whether the test may run it."""
        return not self.not_run and all(shutil.which(tool) for tool in self.needs)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found: list[Block] = []
    follows_shell = False
    for match in _BLOCK.finditer(page.read_text()):
        if match["language"] == "text" and follows_shell:
            found[-1].prints = match["text"]
            follows_shell = False
            continue
        words = match["words"] or ""
        found.append(
            Block(
                str(page.relative_to(ROOT)),
                match["language"],
                match["title"] or "",
                match["text"],
                not_run=words if match["mark"] == "not run" else "",
                needs=tuple(words.split()) if match["mark"] == "needs" else (),
            )
        )
        follows_shell = match["language"] == "sh" and match["gap"] in ("\n", "\n\n")
    return found


def commands(text: str) -> Iterator[str]:
    """The lines of a shell script without comments, continued lines joined."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield command


class Shell:
    """Runs shell blocks in a folder, against the server at an address."""

    def __init__(self, folder: Path, address: str, environment: Mapping[str, str]) -> None:
        self.folder, self.address = folder, address
        program = folder / ".bin" / "lossd"
        program.parent.mkdir()
        python = shlex.quote(sys.executable)
        program.write_text(
            f'#!/bin/sh\ncase "$1" in score|evaluate) exec {python} -m lossd.cli "$@" --address {address};; esac\n'
            f'exec {python} -m lossd.cli "$@"\n'
        )
        program.chmod(0o755)
        own = {name: value for name, value in environment.items() if not name.startswith("LOSSD_")}
        self.environment = {**own, "PATH": f"{program.parent}:{Path(sys.executable).parent}:{environment['PATH']}", "COLUMNS": "110"}

    def run(self, block: Block) -> None:
        """Runs a block; raises AssertionError if a command fails or prints something else."""
        text = block.text.replace(ADDRESS, self.address)
        if not any(self._is_server(command) for command in commands(text)):
            self._run(text, block.prints)
            return
        assert block.prints is None, "a block that starts a server has no recorded output"
        for command in commands(text):
            if self._is_server(command):
                self._serve(command)
            else:
                self._run(command, None)

    @staticmethod
    def _is_server(command: str) -> bool:
        return re.match(r"(\w+=\S+ )*(\.venv/bin/)?lossd serve\b", command) is not None

    def _run(self, text: str, prints: str | None) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        if prints is not None:
            pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + r" *\n" for line in prints.splitlines())
            assert re.fullmatch(pattern, done.stdout), f"{text}\nprinted\n{done.stdout}"

    def _serve(self, command: str) -> None:
        """The server starts with these flags, on free ports, and stops at SIGTERM."""
        command = re.sub(r"(?<=:)(50051|9464)\b", "0", command.replace(self.address, ADDRESS)).removeprefix(".venv/bin/")
        environment = {"LOSSD_LISTEN": "127.0.0.1:0", "LOSSD_ADMIN_LISTEN": "", "LOSSD_DEVICE": "cpu", **self.environment}
        process = subprocess.Popen(
            ["bash", "-c", re.sub(r"\blossd serve", "exec lossd serve", command, count=1)],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=_START_SECONDS)
            assert " listens on " in line, f"{command}\n{line}{errors}"
            assert process.returncode == 0, f"{command}\n{errors}"
        finally:
            process.kill()
            process.wait()
