#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks servers in this process for the answers to all vectors, and writes the files of this folder."""

import json
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "server", "client/python")]

import grpc

import lossd.testing
from golden.answers import answer_to_loss, answer_to_message, to_base64
from golden.encoding import Json
from golden.messages import messages
from golden.vectors import LIMITED_LOSS, LIMITS, Vector, limited_vectors, vectors
from lossd_server.losses import LOSSES


def main() -> None:
    """See the module."""
    losses = {}
    with lossd.testing.server() as address, grpc.insecure_channel(address) as channel:
        for rpc, spec in LOSSES.items():
            made = [_recorded(channel, rpc, vector) for vector in vectors(spec.name)]
            losses[f"{spec.name}.json"] = {"loss": spec.name, "rpc": rpc, "vectors": made}
        many = [
            {"name": name, "method": method, "request": to_base64(encoded), "times": times}
            | answer_to_message(channel, method, times * encoded)
            for name, method, encoded, times in messages()
        ]
    with lossd.testing.server(**LIMITS) as address, grpc.insecure_channel(address) as channel:
        rpc = next(rpc for rpc, spec in LOSSES.items() if spec.name == LIMITED_LOSS)
        made = [_recorded(channel, rpc, vector) for vector in limited_vectors()]
        limited = {"settings": LIMITS, "loss": LIMITED_LOSS, "rpc": rpc, "vectors": made}
    for name, content in {**losses, "limits.json": limited, "messages.json": {"vectors": many}}.items():
        (HERE / name).write_text(_lines(content))
    index = {"version": 1, "files": list(losses), "limited_files": ["limits.json"], "message_files": ["messages.json"]}
    (HERE / "index.json").write_text(json.dumps(index, indent=2) + "\n")


# Implementation details follow.


def _recorded(channel: grpc.Channel, rpc: str, vector: Vector) -> Json:
    arguments = {"raw": True} if vector.arguments is None else {"arguments": vector.arguments}
    answer = answer_to_loss(channel, rpc, vector.request)
    if "response" in answer:
        answer["response"]["tolerance"] = vector.tolerance
    return {"name": vector.name, **arguments, "request": to_base64(vector.request), **answer}


def _lines(content: Json) -> str:
    """JSON with one vector a line, so that a change is seen as one."""
    head = json.dumps({name: value for name, value in content.items() if name != "vectors"} | {"vectors": []})
    vectors = ",\n".join(json.dumps(vector, allow_nan=False) for vector in content["vectors"])
    return f"{head[:-2]}\n{vectors}\n]}}\n"


if __name__ == "__main__":
    main()
