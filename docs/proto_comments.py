# SPDX-License-Identifier: Apache-2.0
"""The comments of proto/lossd/v1, which the generated code does not hold: messages, enums and services with what is said of each part."""

import re
from dataclasses import dataclass, field
from pathlib import Path

PROTO = Path(__file__).resolve().parents[1] / "proto" / "lossd" / "v1"

_BLOCK = re.compile(r"(message|enum|service) (\w+) \{(\}?)")
_RPC = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\)")
_FIELD = re.compile(r"((?:repeated |optional )?(?:map<.+>|[\w.]+)) (\w+) = (\d+)\b")
_VALUE = re.compile(r"(\w+) = (\d+)\b")


@dataclass(frozen=True)
class Part:
    """A field, an enum's value or an RPC. `type` is the field's type or the RPC's signature; `choice` the oneof that a field belongs to."""

    name: str
    type: str
    comment: str
    choice: str = ""


@dataclass
class Block:
    """A message, enum or service, in the file of this stem."""

    kind: str
    name: str
    file: str
    comment: str
    parts: list[Part] = field(default_factory=list)


def blocks() -> list[Block]:
    """All of them, in the order of the files' names and then of the file."""
    return [block for path in sorted(PROTO.glob("*.proto")) for block in _read(path)]


def _read(path: Path) -> list[Block]:
    found: list[Block] = []
    comment: list[str] = []
    choice = choice_comment = ""
    for line in map(str.strip, path.read_text().splitlines()):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        text = " ".join(comment)
        if match := _BLOCK.match(line):
            found.append(Block(match[1], match[2], path.stem, text))
        elif match := re.match(r"oneof (\w+) \{", line):
            choice, choice_comment = match[1], text
        elif choice and line == "}":
            choice = choice_comment = ""
        elif match := _RPC.match(line):
            signature = f"{match[2] or ''}{match[3]} → {match[4] or ''}{match[5]}"
            found[-1].parts.append(Part(match[1], signature, text))
        elif found and found[-1].kind == "message" and (match := _FIELD.match(line)):
            found[-1].parts.append(Part(match[2], match[1], " ".join(filter(None, (choice_comment, text))), choice))
        elif found and found[-1].kind == "enum" and (match := _VALUE.match(line)):
            found[-1].parts.append(Part(match[1], match[2], text))
        comment = []
    return found
