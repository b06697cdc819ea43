# SPDX-License-Identifier: Apache-2.0
"""The driver for curl and nghttp: tests/support/drivers.py says what a driver does. Its first argument is curl, curl-pipe or nghttp.

curl-pipe reads requests from a pipe: only after the last byte does curl learn that it was the last, and ends the stream with a DATA
frame of its own.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLIENT, ADDRESS, PLAN, OUT = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


def main() -> None:
    for line in PLAN.read_text().splitlines():
        name, kind, path, count, parallel, _, file = line.split()
        requests = read(Path(file))

        def call(index: int, name: str = name, kind: str = kind, path: str = path, requests: list[bytes] = requests) -> tuple[int, str]:
            sent = [requests[index % len(requests)]] if kind == "unary" else requests
            body, reply = OUT / f"{name}.{index}.body", OUT / f"{name}.{index}"
            body.write_bytes(b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in sent))
            request = nghttp if CLIENT == "nghttp" else curl
            code, detail = request(f"http://{ADDRESS}{path}", body, reply)
            if code == 0:
                reply.write_bytes(without_flags(reply.read_bytes()))
            body.unlink()
            return code, detail

        code, detail = 0, f"{count} calls"
        with ThreadPoolExecutor(int(parallel)) as pool:
            for outcome in pool.map(call, range(int(count))):
                if outcome[0] != 0:
                    code, detail = outcome
                    pool.shutdown(cancel_futures=True)
                    break
        print(json.dumps({"name": name, "code": code, "detail": detail}), flush=True)


def curl(url: str, body: Path, reply: Path) -> tuple[int, str]:
    head = reply.with_name(reply.name + ".head")
    upload = ["-X", "POST", "-T", "-"] if CLIENT == "curl-pipe" else ["--data-binary", f"@{body}"]
    command = ["curl", "-sS", "-m", "30", "--http2-prior-knowledge", *HEADERS, *upload, "-D", str(head), "-o", str(reply), url]
    with body.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as pipe:
        done = subprocess.run(command, stdin=pipe.stdout, stderr=subprocess.PIPE, text=True, check=False)
        pipe.kill()
    return (-1, done.stderr) if done.returncode else status(head.read_text())


def nghttp(url: str, body: Path, reply: Path) -> tuple[int, str]:
    # It prints either the answer's body or its headers. A body is enough: an error has none.
    command = ["nghttp", "-t", "30", "-H", ":method: POST", *HEADERS, "-d", str(body), url]
    with reply.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return -1, done.stderr
    if reply.stat().st_size:
        return 0, ""
    return status(subprocess.run([*command, "-v", "-n"], capture_output=True, text=True, check=False).stdout)


def status(head: str) -> tuple[int, str]:
    found = re.search(r"grpc-status: (\d+)", head)
    return (int(found[1]), head) if found else (-1, f"no grpc-status: {head}")


def without_flags(data: bytes) -> bytes:
    """gRPC's framing without the flag that stands before each length."""
    parts, at = [], 0
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        parts.append(data[at + 1 : end])
        at = end
    return b"".join(parts)


def read(path: Path) -> list[bytes]:
    data = path.read_bytes()
    messages, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        messages.append(data[at + 4 : end])
        at = end
    return messages


main()
