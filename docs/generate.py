# SPDX-License-Identifier: Apache-2.0
"""The parts of the documentation that are made from the code, so that they cannot go stale.

A page says `<!-- generated: NAME -->` on a line of its own; as a hook of mkdocs, this module puts SECTIONS[NAME]() there.
`python docs/generate.py NAME` prints one section.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "client" / "python"), str(ROOT / "server")]

import click
from proto_comments import Block, Part, blocks

from lossd import _errors
from lossd._cli import lossd as command_line
from lossd_server import errors
from lossd_server.config import ADVANCED, Settings
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Argument, Coalescing, Flag, Integer, LossSpec, Real
from lossd_server.metrics import Metrics
from lossd_server.workers.supervisor import Supervisor

BENCHMARK = ROOT / "tests" / "bench" / "results"
IMAGES = ("bench.svg", "simulation-latency.svg", "simulation-throughput.svg")
_PLACEHOLDER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
_SIDES: Final = ("client", "stubs")
_LANGUAGES: Final = {"cpp": "C++", "go": "Go", "java": "Java", "node": "Node", "python": "Python"}
_COMMON_FIELDS: Final = ("reduction", "precision", "reject_non_finite")
_COALESCING: Final = {
    Coalescing.ELEMENTS: "with calls of any shape",
    Coalescing.ROWS: "with calls whose shapes differ in the number of rows only, and whose per-class tensors are equal",
    Coalescing.PADDED: "with calls of similar size, padded to the largest",
    Coalescing.ALONE: "never",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs' hook: fills the placeholders of a page."""
    return _PLACEHOLDER.sub(lambda match: SECTIONS[match[1]](), markdown)


def on_files(files: Any, config: Any) -> Any:
    """mkdocs' hook: adds the recorded charts to the pages."""
    from mkdocs.structure.files import File

    for name in IMAGES:
        files.append(File.generated(config, f"images/{name}", abs_src_path=str(BENCHMARK / name)))
    return files


def settings() -> str:
    """Every setting of `lossd serve`."""
    return f"{_settings(advanced=False)}\n\nAdvanced settings, which few operators need:\n\n{_settings(advanced=True)}"


def _settings(*, advanced: bool) -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        if (name in ADVANCED) != advanced:
            continue
        default = "depends on the machine" if field.default_factory else f"`{_plain(field.default)}`" if field.default != "" else "empty"
        names = f"`--{name.replace('_', '-')}`<br>`LOSSD_{name.upper()}`"
        rows.append((names, _type(field), default, _escaped(field.description or "")))
    return _table(("Flag and variable", "Type", "Default", "Meaning"), rows)


def metrics() -> str:
    """Every metric of /metrics."""
    families = {
        family.name: (family, note)
        for registry, note in ((Supervisor(Settings(workers=2)).registry, "With `--workers` above 1. "), (Metrics().registry, ""))
        for family in registry.collect()
    }
    rows = []
    for name, (family, note) in families.items():
        labels = ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))
        full = f"{name}_total" if family.type == "counter" else name
        rows.append((f"`{full}`", family.type, labels, note + _escaped(family.documentation)))
    return _table(("Metric", "Type", "Labels", "Meaning"), sorted(rows))


def error_reasons() -> str:
    """Every reason of google.rpc.ErrorInfo."""
    rows = []
    for kind in _subclasses(errors.CallError):
        if "reason" not in vars(kind):
            continue
        raised = type(_errors.error_of(_errors.ErrorDetails(kind.code, "", reason=kind.reason))).__name__
        text = " ".join((kind.__doc__ or "").split())
        rows.append((f"`{kind.reason}`", f"`{kind.code}`", f"[`{raised}`](python.md#lossd.{raised})", _escaped(text)))
    return _table(("Reason", "Status", "In Python", "Meaning"), sorted(rows, key=lambda row: (row[1], row[0])))


def losses_table() -> str:
    """One row for each loss."""
    rows = []
    for rpc, spec in LOSSES.items():
        block = _message(f"{rpc}Request")
        method = f"[`{spec.name}`](python.md#lossd.Client.{spec.name})"
        rows.append((f"[`{rpc}`](#{rpc.lower()})", method, _mean(block), spec.coalescing.value))
    return _table(("RPC", "Python method", "Reduction MEAN", "Coalesces by"), rows)


def losses() -> str:
    """A section for each loss, by family: formula, fields, shapes, defaults and ranges."""
    sections = []
    family = ""
    for rpc, spec in LOSSES.items():
        block = _message(f"{rpc}Request")
        if block.file != family:
            family = block.file
            sections.append(f"## {family.capitalize()}")
        rows = []
        for part in _arguments(block):
            argument = spec.arguments[part.name]
            rows.append((_name(part), _kind(part), _default(argument), _escaped(_meaning(part, argument))))
        sections += [
            f"### {rpc}",
            _escaped(block.comment),
            f"Python: [`client.{spec.name}`](python.md#lossd.Client.{spec.name}). Calls coalesce {_COALESCING[spec.coalescing]}.",
            _table(("Field", "Type", "Default", "Meaning"), rows),
            *_groups(block, spec),
        ]
    return "\n\n".join(sections)


def schema() -> str:
    """Services, messages and enums that are not a loss's own."""
    own = {f"{rpc}Request" for rpc in LOSSES}
    sections = []
    for kind, heading in (("service", "Services"), ("message", "Messages"), ("enum", "Enums")):
        sections.append(f"## {heading}")
        for block in blocks():
            if block.kind != kind or block.name in own:
                continue
            sections += [f"### {block.name}", _escaped(block.comment)]
            if block.name == "LossService":
                shown = [part for part in block.parts if part.name not in LOSSES]
                sections.append("It has a method for each of [the losses](losses.md), and:")
            else:
                shown = block.parts
            rows = [(_name(part), f"`{part.type}`", _escaped(part.comment)) for part in shown]
            column = {"service": "Request → response", "message": "Type", "enum": "Number"}[kind]
            if rows:
                sections.append(_table(("Name", column, "Meaning"), rows))
    return "\n\n".join(sections)


def commands() -> str:
    """`--help` of every command but serve, whose flags are the settings."""
    sections = []
    for name, command in command_line.commands.items():
        context = click.Context(command, info_name=f"lossd {name}", terminal_width=110, max_content_width=110)
        if isinstance(command, click.Group):
            inner = command.get_command(context, "cross_entropy")
            assert inner is not None
            example = click.Context(inner, info_name=f"lossd {name} cross_entropy", terminal_width=110, max_content_width=110)
            help_text = f"{command.get_help(context).partition('Commands:')[0]}\n{inner.get_help(example)}"
        else:
            help_text = command.get_help(context)
        if name == "serve":
            help_text = help_text.partition("\n\nOptions:")[0]
        sections.append(f"## lossd {name}\n\n```text\n{help_text}\n```")
    return "\n\n".join(sections)


def ratios() -> str:
    """The benchmark's ratios as they were recorded."""
    recorded = json.loads((BENCHMARK / "bench.json").read_text())["ratios"]
    rows = [
        (r["ratio"], f"{r['median']:.2f}", r["target"].replace("<=", "≤").replace(">=", "≥"), "yes" if r["holds"] else "no")
        for r in recorded
    ]
    return _table(("Ratio", "Measured", "Wanted", "Holds"), rows)


def languages() -> str:
    """The clients' benchmark as it was recorded: each figure of the client, and in parentheses that of code written by hand."""
    recorded = json.loads((BENCHMARK / "languages.json").read_text())
    columns = {
        "A small call alone, us": ("lone_p50_seconds", 1e6),
        "64 in flight, calls/s": ("unary_calls_per_second", 1.0),
        "64 in flight, coalesced, calls/s": ("coalesced_calls_per_second", 1.0),
        "A 4 MB call, ms": ("large_call_seconds", 1e3),
        "CPU of the client for it, ms": ("large_call_cpu_seconds", 1e3),
    }
    rows = []
    for one in recorded["languages"]:
        cells = []
        for name, scale in columns.values():
            client, stubs = (f"{scale * one[side][name]['median']:,.{int(scale == 1e3)}f}" if name in one[side] else "" for side in _SIDES)
            cells.append(f"{client} ({stubs})" if stubs else client)
        rows.append((f"{_LANGUAGES.get(one['language'], one['language'])}<br>{one['versions']}", *cells))
    machine = recorded["machine"]
    note = f" {recorded['note']}" if recorded["note"] else ""
    return f"{_table(('Client', *columns), rows)}\n\nOn {machine['cpu']}, {machine['cores']} cores, {machine['date']}.{note}"


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "metrics": metrics,
    "errors": error_reasons,
    "losses-table": losses_table,
    "losses": losses,
    "schema": schema,
    "commands": commands,
    "ratios": ratios,
    "languages": languages,
}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Plain text as Markdown; what is between backticks is code already."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\*_\[\]<>])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(field: Any) -> str:
    """The setting's type and range, or its choices."""
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(field.annotation))
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    bounds = [f"{sign} {getattr(bound, name)}" for bound in field.metadata for name, sign in signs if hasattr(bound, name)]
    return ", ".join([getattr(field.annotation, "__name__", str(field.annotation)), *bounds])


def _subclasses(kind: type[errors.CallError]) -> list[type[errors.CallError]]:
    children = [child for child in kind.__subclasses__() if child.__module__.startswith("lossd_server.")]  # tests define others
    return [kind, *(found for child in children for found in _subclasses(child))]


def _message(name: str) -> Block:
    (found,) = [block for block in blocks() if block.name == name]
    return found


def _arguments(block: Block) -> list[Part]:
    return [part for part in block.parts if part.name not in _COMMON_FIELDS]


def _mean(block: Block) -> str:
    """What the message's comment says about its mean."""
    sentences = re.findall(r"MEAN ((?:divides by|is) .+?)(?:\.(?: |$)|;)", block.comment)
    return _escaped("; ".join(sentences)) or "see its formula"


def _name(part: Part) -> str:
    return f"`{part.name}`" + (f" (one of `{part.choice}`)" if part.choice else "")


def _kind(part: Part) -> str:
    return f"`{part.type.removeprefix('optional ')}`"


def _default(argument: Argument) -> str:
    if isinstance(argument, Real | Integer | Flag) and argument.default is not None:
        return f"`{_plain(argument.default) if not isinstance(argument.default, float) else format(argument.default, 'g')}`"
    return ""


def _meaning(part: Part, argument: Argument) -> str:
    """The field's comment without its default, which has a column, and the range if the comment is silent."""
    text = re.sub(r"^Default [^:\s]+\. ?", "", part.comment)
    if not text and isinstance(argument, Real) and (argument.minimum > -math.inf or argument.above is not None):
        return argument.describe()
    return text


def _groups(block: Block, spec: LossSpec) -> list[str]:
    """The messages that only this loss's request is made of."""
    found = []
    for part in _arguments(block):
        kind = part.type.removeprefix("repeated ")
        if kind in {"Tensor", "double", "bool"} or not any(other.name == kind for other in blocks()):
            continue
        group = _message(kind)
        rows = [(f"`{inner.name}`", f"`{inner.type.removeprefix('optional ')}`", _escaped(inner.comment)) for inner in group.parts]
        found.append(f"`{kind}`: {_escaped(group.comment)}" + ("\n\n" + _table(("Field", "Type", "Meaning"), rows) if rows else ""))
    return found


if __name__ == "__main__":
    print(SECTIONS[sys.argv[1]]())
