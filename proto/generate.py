#!/usr/bin/env python3
"""Writes the Python stubs of proto/ into a folder (default: client/python), with the oldest supported generator.

Needs `pip install -r proto/requirements.txt` in an environment of its own: code from a newer generator would refuse
to import under an older protobuf runtime.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main(out: pathlib.Path) -> int:
    from importlib.resources import files

    from grpc_tools import protoc  # type: ignore[import-untyped]

    protos = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto" / "lossd").rglob("*.proto"))
    services = [p for p in protos if p.endswith("_service.proto")]
    common = ["protoc", f"-I{ROOT / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    code = protoc.main([*common, f"--python_out={out}", f"--pyi_out={out}", *protos])
    code = code or protoc.main([*common, f"--grpc_python_out={out}", *services])
    package = out / "lossd" / "v1"
    (package / "__init__.py").write_text('"""Generated from proto/lossd/v1: never edited."""\n')
    return int(code)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "client" / "python"))
