# SPDX-License-Identifier: Apache-2.0
"""Attacks by connections rather than by what is sent on them. They come from addresses of 127.0.0.0/8 other than the honest caller's,
and a connection that the server ends is opened again.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from .attack import Attack, Outcome
from .raw import DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, headers

_MSE: Final = "/lossd.v1.LossService/MseLoss"
_PAUSE_SECONDS: Final = 0.1
_CONNECTIONS: Final = 1100  # of an attack: more than the server takes

Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def _with(speak: Speak, address: str, seconds: float, *, hosts: int = 1, count: int = _CONNECTIONS) -> Outcome:
    """So many connections at a time, from so many hosts, on each of which `speak` says its part."""
    outcome = Outcome()
    host, _, port = address.rpartition(":")
    ends_at = time.monotonic() + seconds

    async def keep(number: int) -> None:
        while time.monotonic() < ends_at:
            begun_at = time.monotonic()
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port), local_addr=(f"127.0.0.{2 + number % hosts}", 0))
                outcome.sent += 1
                speaking = asyncio.ensure_future(speak(writer))
                try:
                    while await reader.read(1 << 16):
                        pass
                finally:
                    speaking.cancel()
                    writer.transport.abort()
                    await asyncio.wait([speaking])
            outcome.count("closed by the server")
            outcome.ended_seconds = max(outcome.ended_seconds or 0.0, time.monotonic() - begun_at)
            await asyncio.sleep(_PAUSE_SECONDS)

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*[keep(number) for number in range(count)])
    return outcome


async def _nothing(_: asyncio.StreamWriter) -> None:
    pass


async def _a_byte_now_and_then(writer: asyncio.StreamWriter) -> None:
    for byte in PREFACE[:-1]:
        writer.write(bytes([byte]))
        await asyncio.sleep(1)


async def _the_preface(writer: asyncio.StreamWriter) -> None:
    writer.write(PREFACE + frame(SETTINGS, 0, 0))


async def _half_a_request(writer: asyncio.StreamWriter) -> None:
    """A thousand requests that announce 60 KiB each and stop before their end."""
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    block = headers(_MSE)
    for stream in range(1, 2001, 2):
        writer.write(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, struct.pack(">?I", False, 60 << 10) + bytes(100)))
        with suppress(OSError):
            await writer.drain()


async def silent_connections(address: str, seconds: float) -> Outcome:
    """1,100 connections of one host that say nothing, before TLS if there is TLS."""
    return await _with(_nothing, address, seconds)


async def idle_connections(address: str, seconds: float) -> Outcome:
    """1,100 connections of one host that say what every connection begins with, and nothing more."""
    return await _with(_the_preface, address, seconds)


async def slow_handshakes(address: str, seconds: float) -> Outcome:
    """1,100 connections of one host that begin with a byte a second."""
    return await _with(_a_byte_now_and_then, address, seconds)


async def connections_of_many_hosts(address: str, seconds: float) -> Outcome:
    """1,100 idle connections of thirty hosts."""
    return await _with(_the_preface, address, seconds, hosts=30)


async def hanging_uploads(address: str, seconds: float) -> Outcome:
    """Requests that never end, a thousand on each of four connections of one host: a stop must not wait for them."""
    return await _with(_half_a_request, address, seconds, count=4)


async def uploads_of_many_hosts(address: str, seconds: float) -> Outcome:
    """Requests that never end, of thirty hosts, each taking as much memory as it is given."""
    return await _with(_half_a_request, address, seconds, hosts=30, count=60)


ATTACKS: Final = [
    Attack((run.__doc__ or "").rstrip("."), items, run)
    for run, items in (
        (silent_connections, "6"),
        (idle_connections, "6"),
        (slow_handshakes, "6"),
        (connections_of_many_hosts, "6"),
        (hanging_uploads, "15"),
        (uploads_of_many_hosts, "6"),
    )
]
