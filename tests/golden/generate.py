#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a server in this process for the answers to all vectors, and writes the files of this folder."""

import base64
import json
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "server", "client/python")]

import grpc

import lossd.testing
from golden.encoding import Json, to_json
from golden.vectors import Vector, vectors
from lossd import _codec, twins
from lossd._errors import error_of_rpc
from lossd.v1 import response_pb2
from lossd_server.losses import LOSSES


def recorded(vector: Vector, answer: Json) -> Json:
    """A vector as it is written."""
    arguments = {"raw": True} if vector.arguments is None else {"arguments": vector.arguments}
    return {"name": vector.name, **arguments, "request": _base64(vector.request), **answer}


def answer(channel: grpc.Channel, rpc: str, request: bytes) -> Json:
    """What the server answers to a request of LossService, without how it was computed."""
    method: Any = channel.unary_unary(f"/lossd.v1.LossService/{rpc}")
    try:
        encoded = method(request, timeout=30)
    except grpc.RpcError as raised:
        details = error_of_rpc(raised).details
        violations = [{"field": violation.field, "description": violation.description} for violation in details.field_violations]
        error = {"code": details.code, "reason": details.reason, "message": details.message, "field_violations": violations}
        return {"error": error | {"metadata": details.metadata}}
    return {"response": _response(encoded)}


def main() -> None:
    """See the module."""
    files = {}
    with lossd.testing.server() as address, grpc.insecure_channel(address) as channel:
        for rpc, spec in LOSSES.items():
            made = []
            for vector in vectors(spec.name):
                answered = answer(channel, rpc, vector.request)
                if "response" in answered:
                    answered["response"]["tolerance"] = vector.tolerance
                made.append(recorded(vector, answered))
            files[f"{spec.name}.json"] = {"loss": spec.name, "rpc": rpc, "vectors": made}
    for name, content in files.items():
        (HERE / name).write_text(_lines(content))
    (HERE / "index.json").write_text(json.dumps({"version": 1, "files": list(files)}, indent=2) + "\n")


# Implementation details follow.


def _response(encoded: bytes) -> Json:
    response = response_pb2.LossResponse.FromString(encoded)
    response.ClearField("execution")
    statistics = {field.name: to_json(getattr(response.statistics, field.name)) for field in response_pb2.LossStatistics.DESCRIPTOR.fields}
    if response.HasField("value"):
        output: Json = {"value": to_json(response.value)}
    else:
        values = _codec.value(twins.twin("LossResponse").FromString(encoded))
        output = {"values": {"dtype": values.dtype.name, "shape": list(values.shape), "data": _base64(values.tobytes())}}
    return {**output, "statistics": statistics, "encoded": _base64(response.SerializeToString())}


def _lines(content: Json) -> str:
    """JSON with one vector a line, so that a change is seen as one."""
    head = {name: value for name, value in content.items() if name != "vectors"}
    vectors = ",\n".join(json.dumps(vector, allow_nan=False) for vector in content["vectors"])
    return f'{json.dumps(head)[:-1]}, "vectors": [\n{vectors}\n]}}\n'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
