# SPDX-License-Identifier: Apache-2.0
"""`python -m lossd_server.workers.worker`: one worker. Its stdin is the channel to the supervisor that starts it.

The worker drains at SIGTERM, and as soon as the supervisor is gone.
"""

import asyncio
import contextlib
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING

from lossd_server import log, process
from lossd_server.config import Settings
from lossd_server.workers import channel, scrape
from lossd_server.workers.channel import Channel

if TYPE_CHECKING:
    from lossd_server.server import Server


async def _main() -> None:
    end = await Channel.over(socket.socket(fileno=sys.stdin.fileno()))
    try:
        frame = await end.receive()
        if frame is not None:
            await _serve(end, *channel.started(frame))
    finally:
        await end.close()


async def _serve(end: Channel, index: int, settings: Settings) -> None:
    log.configure(settings.log_level, worker=index)
    try:
        server = await _started(settings)
    except Exception as error:  # noqa: BLE001 - the supervisor reports it, once for all workers
        kind = next((kind.__name__ for kind in (OSError, ValueError) if isinstance(error, kind)), "")
        await _tell(end, kind, list(error.args) if kind else [f"a worker could not start\n{traceback.format_exc()}"])
        sys.exit(1)
    serving = asyncio.create_task(server.serve())
    obeying = asyncio.create_task(_obey(end, server))
    try:
        await _tell(end, "ready", None)
        await serving
    finally:
        obeying.cancel()
        await _tell(end, "page", scrape.page(server.metrics_registry))


async def _started(settings: Settings) -> "Server":
    from lossd_server.server import Server  # imported here, so that the supervisor gets import errors too

    server = Server(settings)
    # Before the server listens: from then on there may be calls to complete.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.request_stop)
    await server.start()
    process.exempt_from_collection()
    return server


async def _obey(end: Channel, server: "Server") -> None:
    """Answers the supervisor until it is gone, and then drains the server."""
    while (frame := await end.receive()) is not None:
        if frame == channel.QUESTION:
            await _tell(end, "answer", None)
        else:
            await _tell(end, "page", scrape.page(server.metrics_registry))
    server.request_stop()


async def _tell(end: Channel, kind: str, value: object) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone, which `_obey` notices
        await end.send(channel.message(kind, value))


if __name__ == "__main__":
    process.run(_main())
