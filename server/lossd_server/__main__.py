# SPDX-License-Identifier: Apache-2.0
"""`python -m lossd_server`: the server with settings from the environment. `lossd serve` adds flags."""

import asyncio

from lossd_server import log
from lossd_server.config import Settings
from lossd_server.server import Server


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError or ValueError where it cannot start."""
    log.configure(settings.log_level)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    server = Server(settings)
    await server.start()
    print(f"lossd listens on {server.address}", flush=True)
    await server.serve()


if __name__ == "__main__":
    run(Settings())
