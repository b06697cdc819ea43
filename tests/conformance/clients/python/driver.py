# SPDX-License-Identifier: Apache-2.0
"""The driver for grpcio: tests/support/drivers.py says what a driver does."""

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

ADDRESS, PLAN, OUT = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])


def main() -> None:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if keepalive := os.environ.get("KEEPALIVE_SECONDS"):
        options.append(("grpc.keepalive_time_ms", 1000 * int(keepalive)))
    with grpc.insecure_channel(ADDRESS, options=options) as channel:
        for line in PLAN.read_text().splitlines():
            name, kind, path, count, parallel, pause, file = line.split()
            result = run(channel, name, kind, path, int(count), int(parallel), int(pause), read(Path(file)))
            print(json.dumps({"name": name} | result), flush=True)


def run(
    channel: grpc.Channel, name: str, kind: str, path: str, count: int, parallel: int, pause: int, requests: list[bytes]
) -> dict[str, object]:
    counter = itertools.count()
    failures: list[Exception] = []

    def worker() -> None:
        while not failures and not (kind == "load" and (OUT / "stop").exists()):
            index = next(counter)
            if kind != "load" and index >= count:
                return
            try:
                replies = call(channel, kind, path, index, pause, requests)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                failures.append(error)
            else:
                if kind != "load":
                    (OUT / f"{name}.{index}").write_bytes(b"".join(len(reply).to_bytes(4, "big") + reply for reply in replies))

    threads = [threading.Thread(target=worker) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures:
        return {"code": 0, "detail": f"{next(counter)} calls"}
    error = failures[0]
    if isinstance(error, grpc.RpcError):
        return {"code": error.code().value[0], "detail": error.details()}
    return {"code": -1, "detail": repr(error)}


def call(channel: grpc.Channel, kind: str, path: str, index: int, pause: int, requests: list[bytes]) -> list[bytes]:
    timeout = 30 + pause * len(requests)
    if kind in ("unary", "load"):
        return [channel.unary_unary(path)(requests[index % len(requests)], timeout=timeout)]
    if kind == "client_stream":
        return [channel.stream_unary(path)(paced(requests, pause), timeout=timeout)]
    return list(channel.stream_stream(path)(paced(requests, pause), timeout=timeout))


def paced(requests: list[bytes], pause: int) -> Iterator[bytes]:
    for index, request in enumerate(requests):
        if index:
            time.sleep(pause)
        yield request


def read(path: Path) -> list[bytes]:
    data = path.read_bytes()
    messages, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        messages.append(data[at + 4 : end])
        at = end
    return messages


main()
