# SPDX-License-Identifier: Apache-2.0
"""`python -m lossd_server`: the server with settings from the environment. `lossd serve` adds flags."""

import asyncio

from lossd_server import log, process
from lossd_server.config import Settings


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError or ValueError where it cannot start.

    Ends the process with process.EXIT_DEVICE_GONE where the device was lost for good.
    """
    log.configure(settings.log_level)
    if settings.workers > 1:
        from lossd_server.workers import supervisor

        supervisor.run(settings)
    else:
        process.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from lossd_server.server import Server  # here: a supervisor does without torch

    server = Server(settings)
    await server.start()
    process.exempt_from_collection()
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0)  # serve() handles signals from its first step on: who reads the line may send one at once
    print(f"lossd listens on {server.address}", flush=True)
    await serving


if __name__ == "__main__":
    run(Settings())
