# SPDX-License-Identifier: Apache-2.0
"""How far a warm request travels through the source: files entered, and moves between files and between folders.

    python tests/bench/trace.py

A move is a call into another file or folder of lossd_server, from the bytes on the socket to the bytes of the answer; the modules
at the top of the package are in no folder. With -v the moves between folders are listed.
"""

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import lossd
import lossd_server
from lossd_server.config import Settings
from lossd_server.server import Server

_ROOT = str(Path(lossd_server.__file__).parent)


class Trace:
    """The calls within lossd_server that this thread makes, as pairs of files."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See sys.setprofile."""
        callee = _path(frame)
        if event != "call" or callee is None:
            return
        self.files.add(callee)
        caller = frame.f_back
        while caller is not None and _path(caller) is None:
            caller = caller.f_back
        if caller is not None:
            self.calls.append((_path(caller) or "", callee))

    def summary(self) -> tuple[int, int, int]:
        """Files entered, calls into another file, calls into another folder."""
        return len(self.files), sum(one != other for one, other in self.calls), len(self.between_folders())

    def between_folders(self) -> list[tuple[str, str]]:
        """The calls into another folder. The modules at the top of the package are in none."""
        folders = [(one, other) for one, other in self.calls if "/" in one and "/" in other]
        return [(one, other) for one, other in folders if one.rpartition("/")[0] != other.rpartition("/")[0]]


def _path(frame: FrameType) -> str | None:
    name = frame.f_code.co_filename
    return name[len(_ROOT) + 1 :] if name.startswith(_ROOT) else None


async def main() -> None:
    """Prints the table."""
    server = Server(Settings(listen="127.0.0.1:0", admin_listen="", device="cpu", log_level="error"))
    await server.start()
    logits, labels = [[1.0, 2.0, 0.5]], [1]

    async def unary() -> None:
        async with lossd.AsyncClient(server.address) as client:
            await measured("a unary call", lambda: client.cross_entropy(logits, labels))

    async def streamed() -> None:
        async with lossd.AsyncClient(server.address, coalesce=True) as client:
            await measured("a ScoreStream message", lambda: client.cross_entropy(logits, labels))

    async def batched() -> None:
        async with lossd.AsyncClient(server.address) as client:

            async def batch() -> None:
                async with client.batch() as calls:
                    for _ in range(10):
                        calls.cross_entropy(logits, labels)

            await measured("a ScoreBatch of 10", batch)

    print(f"{'':24}{'files':>8}{'moves between files':>22}{'between folders':>18}")
    for one in (unary, batched, streamed):
        await one()
    await server.stop()


async def measured(name: str, call: Any) -> None:
    """Prints the trace of a call that was made before."""
    for _ in range(5):
        await call()
    trace = Trace()
    sys.setprofile(trace)
    await call()
    sys.setprofile(None)
    files, moves, folders = trace.summary()
    print(f"{name:24}{files:>8}{moves:>22}{folders:>18}")
    if "-v" in sys.argv:
        print("\n".join(f"  {one} -> {other}" for one, other in trace.between_folders()))


if __name__ == "__main__":
    asyncio.run(main())
