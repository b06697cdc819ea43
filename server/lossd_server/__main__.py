# SPDX-License-Identifier: Apache-2.0
"""`python -m lossd_server`: the server with settings from the environment. `lossd serve` adds flags."""

from lossd_server import log, process
from lossd_server.config import Settings


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; a second signal ends the process at once. Raises OSError or ValueError if the server cannot start.

    Exits the process with process.EXIT_DEVICE_GONE if the device was lost for good.
    """
    log.configure(settings.log_level)
    if settings.workers > 1:
        from lossd_server.workers import supervisor

        supervisor.run(settings)
    else:
        process.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from lossd_server.server import Server  # imported here: a supervisor needs no torch

    server = Server(settings)
    await server.start()
    process.exempt_from_collection()
    process.on_stop(server.request_stop)
    print(f"lossd listens on {server.address}", flush=True)
    await server.serve()


if __name__ == "__main__":
    run(Settings())
