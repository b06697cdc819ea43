# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that delays and limits traffic, as a network with latency and limited bandwidth does."""

import asyncio
import threading
from collections import deque
from typing import Self

_CHUNK = 64 << 10


class SlowLink:
    """Use in a `with`. Bytes arrive `delay_seconds` after they were sent, in both directions, at `bytes_per_second` for each connection
    and direction. The link holds what fits into its length; beyond that a sender waits, as it does on a network.

    `target` may be changed: further connections go there.
    """

    def __init__(self, target: str, *, delay_seconds: float = 0.02, bytes_per_second: float = 200e6) -> None:
        self.target = target
        self.bytes_to_client = self.bytes_to_server = 0
        self.pieces_to_server = 0  # reads of what the client sent, so pings count when nothing else is sent
        self._delay, self._rate = delay_seconds, bytes_per_second
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="slow-link")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_CHUNK)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            host, port = self.target.rsplit(":", 1)
            there, back = await asyncio.open_connection(host, int(port), limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, back, to_client=False))
                group.create_task(self._pass_on(there, writer, to_client=True))
        except* (OSError, EOFError):
            pass  # one side has gone: so goes the other
        except* asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            back.transport.abort()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool) -> None:
        """Returns when the sender has half-closed."""
        on_the_way: deque[tuple[float, bytes]] = deque()  # when each piece arrives
        room = max(self._delay * self._rate, 4 * _CHUNK)
        held = 0
        changed = asyncio.Event()

        async def deliver() -> None:
            nonlocal held
            while True:
                while not on_the_way:
                    changed.clear()
                    await changed.wait()
                arrives, data = on_the_way[0]
                await asyncio.sleep(max(0.0, arrives - self._loop.time()))
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
                if to_client:
                    self.bytes_to_client += len(data)
                else:
                    self.bytes_to_server += len(data)
                    self.pieces_to_server += 1
                on_the_way.popleft()
                held -= len(data)
                changed.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            sent_at = self._loop.time()
            while True:
                while held >= room:
                    changed.clear()
                    await changed.wait()
                data = await reader.read(_CHUNK)
                sent_at = max(sent_at, self._loop.time()) + len(data) / self._rate
                on_the_way.append((sent_at + self._delay, data))
                held += len(data)
                changed.set()
                if not data:
                    break
