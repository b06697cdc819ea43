# SPDX-License-Identifier: Apache-2.0
"""The corpora: a file for each target, lines of NAME TAB HEX. What a run finds is added under a name that says what it was."""

from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def load(target: str) -> dict[str, bytes]:
    """The inputs by name."""
    lines = [line.split("\t") for line in (FOLDER / f"{target}.txt").read_text().splitlines()]
    return {name: bytes.fromhex(digits) for name, digits in lines}


def save(target: str, inputs: dict[str, bytes]) -> None:
    """Replaces the file."""
    (FOLDER / f"{target}.txt").write_text("".join([f"{name}\t{data.hex()}\n" for name, data in inputs.items()]))
