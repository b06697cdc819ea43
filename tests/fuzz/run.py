# SPDX-License-Identifier: Apache-2.0
"""`python tests/fuzz/run.py http2|messages|reader --seconds N`: fuzzes a target from its corpus, says what was done, fails on a finding.

`--record` writes the figures to results.json; `--seeds` writes the seeds into the corpus, beside what was added to it by hand.
"""

import argparse
import importlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TARGETS = ("http2", "messages", "reader")
# The packages whose branches guide the fuzzer.
INSTRUMENTED = {
    "http2": ("lossd_server.http2", "lossd_server.front.request_headers", "hpack"),
    "messages": ("lossd_server.requests",),
    "reader": ("lossd_server", "lossd.twins"),
}

INPUT_SECONDS = 10  # for one input; more is a hang
MEMORY_MIB = 2048
MAX_INPUT_BYTES = 4096

_STATISTICS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)


def run(target: str, seconds: int) -> dict[str, Any]:
    """Executions, coverage in edges and features, inputs found worth keeping, and the finding that ended it, if any."""
    from fuzz import corpora

    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs")
        inputs.mkdir()
        for index, data in enumerate(corpora.load(target).values()):
            (inputs / str(index)).write_bytes(data)
        limits = [f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={MAX_INPUT_BYTES}"]
        command = [sys.executable, __file__, target, "--child", f"-artifact_prefix={folder}/found-", *limits, str(inputs)]
        started_at = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 120)
        found = sorted(Path(folder).glob("found-*"))
        figures = [[int(figure) for figure in line] for line in _STATISTICS.findall(done.stderr)]
        if not figures:
            raise SystemExit(done.stderr[-3000:])
        return {
            "seconds": round(time.monotonic() - started_at),
            "executions": figures[-1][0],
            "edges": figures[-1][1],
            "features": figures[-1][2],
            "inputs": figures[-1][3],
            "findings": [path.read_bytes().hex() for path in found],
            "trace": "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-1000:],
        }


def child(target: str, arguments: list[str]) -> None:
    """Fuzzes in this process. Does not return."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED[target])):
        module = importlib.import_module(f"fuzz.{target}")
    atheris.Setup([sys.argv[0], *arguments], module.check)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--seeds", action="store_true")
    options = parser.parse_args()
    if options.seeds:
        from fuzz import corpora

        corpora.save(options.target, corpora.load(options.target) | importlib.import_module(f"fuzz.{options.target}").seeds())
        return
    result = run(options.target, options.seconds)
    trace = result.pop("trace")
    print(json.dumps(result, indent=2))
    if options.record:
        path = HERE / "results.json"
        results = json.loads(path.read_text()) if path.exists() else {}
        host = {"python": platform.python_version(), "atheris": version("atheris"), "protobuf": version("protobuf")}
        results[options.target] = {**result, **host, "date": time.strftime("%Y-%m-%d")}
        path.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    if trace or result["findings"]:
        sys.exit(trace or "a finding")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "server"), str(ROOT / "client" / "python")]
    if sys.argv[2:3] == ["--child"]:
        child(sys.argv[1], sys.argv[3:])
    main()
