# SPDX-License-Identifier: Apache-2.0
"""Peers that keep to HTTP/2 and make the server send, or receive, a byte at a time."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from lossd.v1 import regression_pb2

from .attack import Attack, Outcome
from .costly import EVALUATION, LOSS, batch, huber_calls
from .raw import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Raw,
    frame,
    headers,
    prefixed,
)

_STREAMS = 100


def unreduced(count: int) -> bytes:
    """An MseLossRequest whose answer is about as long as the request's two tensors of uint8 times 2."""
    request = regression_pb2.MseLossRequest(reduction=1)
    for tensor in (request.input, request.target):
        tensor.shape.append(count)
        tensor.uint8_values = bytes(count)
    return request.SerializeToString()


async def _again(address: str, seconds: float, press: Callable[[Raw, Outcome, float], Awaitable[None]], **options: int | bool) -> Outcome:
    """One connection that does this until the time is over; a new one each time that the server ends it."""
    outcome, end = Outcome(), time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection = await Raw.open(address, **options)  # type: ignore[arg-type]
        except OSError:
            outcome.count("connection refused")
            await asyncio.sleep(0.05)
            continue
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + end - time.monotonic()):
                await press(connection, outcome, end)
        except TimeoutError:
            outcome.count("the attacker had enough, or waited in vain")
        except OSError as error:
            outcome.count(f"connection ended: {type(error).__name__}")
        if connection.ended_seconds is not None:
            outcome.count("ENHANCE_YOUR_CALM")
            outcome.ended_seconds = max(outcome.ended_seconds or 0.0, connection.ended_seconds)
        connection.close()
        await asyncio.sleep(0.01)
    return outcome


def _requests(streams: range, path: str, message: bytes) -> bytes:
    block, body = headers(path), prefixed(message)
    return b"".join([frame(HEADERS, END_HEADERS, id_, block) + frame(DATA, END_STREAM, id_, body) for id_ in streams])


async def one_byte_updates(address: str, seconds: float) -> Outcome:
    """A hundred answers of 60 KB, taken a byte at a time by WINDOW_UPDATE."""
    streams = range(1, 2 * _STREAMS, 2)
    updates = b"".join([frame(WINDOW_UPDATE, 0, id_, struct.pack(">I", 1)) for id_ in streams])

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        await connection.send(_requests(streams, LOSS + "MseLoss", unreduced(15_000)))
        while time.monotonic() < end:
            await connection.send(updates)
            outcome.sent += _STREAMS

    return await _again(address, seconds, press, window=0)


async def windows_of_one(address: str, seconds: float) -> Outcome:
    """A thousand streams with answers of 4 KB, and SETTINGS that open and close all their windows by a byte."""
    streams = range(1, 2000, 2)
    toggles = b"".join([frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, index % 3)) for index in range(100)])

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        await connection.send(_requests(streams, LOSS + "MseLoss", unreduced(1000)))
        while time.monotonic() < end:
            await connection.send(toggles)
            outcome.sent += 100

    return await _again(address, seconds, press, window=0)


async def trickling_reader(address: str, seconds: float) -> Outcome:
    """Large answers with windows wide open, on a connection from which nothing is read."""

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        stream = 1
        while time.monotonic() < end:
            for _ in range(10):
                await connection.send(_requests(range(stream, stream + 2, 2), LOSS + "MseLoss", unreduced(15_000)))
                stream, outcome.sent = stream + 2, outcome.sent + 1
            await asyncio.sleep(0.002)

    return await _again(address, seconds, press, window=(1 << 31) - 1, reads=False)


async def one_byte_data(address: str, seconds: float) -> Outcome:
    """Valid uploads of 200 KB in DATA frames of one byte."""
    body = prefixed(batch(huber_calls(5000, different=False)))

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        stream = 1
        while time.monotonic() < end:
            await connection.send(frame(HEADERS, END_HEADERS, stream, headers(EVALUATION + "ScoreBatch")))
            await connection.upload(stream, body, 1)
            await connection.send(frame(DATA, END_STREAM, stream))
            stream, outcome.sent = stream + 2, outcome.sent + len(body)

    return await _again(address, seconds, press)


async def padded_data(address: str, seconds: float) -> Outcome:
    """The same, each byte with 255 of padding."""
    body = prefixed(batch(huber_calls(5000, different=False)))

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        stream = 1
        while time.monotonic() < end:
            await connection.send(frame(HEADERS, END_HEADERS, stream, headers(EVALUATION + "ScoreBatch")))
            await connection.upload(stream, body, 1, padding=255)
            await connection.send(frame(DATA, END_STREAM, stream))
            stream, outcome.sent = stream + 2, outcome.sent + len(body)

    return await _again(address, seconds, press)


async def dripping_uploads(address: str, seconds: float) -> Outcome:
    """A thousand requests of 60 MB each, by their prefix, of which a byte comes now and then."""
    streams = range(1, 2000, 2)

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        block = headers(EVALUATION + "ScoreBatch")
        begin = b"\0" + (60_000_000).to_bytes(4, "big")
        await connection.send(b"".join([frame(HEADERS, END_HEADERS, id_, block) + frame(DATA, 0, id_, begin) for id_ in streams]))
        while time.monotonic() < end:
            await connection.send(b"".join([frame(DATA, 0, id_, b"\x0a") for id_ in streams]))
            outcome.sent += len(streams)
            await asyncio.sleep(0.2)

    return await _again(address, seconds, press)


async def abandoned_work(address: str, seconds: float) -> Outcome:
    """Messages of thousands of calls, each reset as soon as it was sent."""
    message = prefixed(batch(huber_calls(4000)))

    async def press(connection: Raw, outcome: Outcome, end: float) -> None:
        stream = 1
        while time.monotonic() < end:
            with suppress(TimeoutError):
                await connection.send(frame(HEADERS, END_HEADERS, stream, headers(EVALUATION + "ScoreBatch")))
                await connection.upload(stream, message, 1000)
                await connection.send(frame(DATA, END_STREAM, stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
            stream, outcome.sent = stream + 2, outcome.sent + 1

    return await _again(address, seconds, press)


ATTACKS = (
    Attack("answers taken by WINDOW_UPDATEs of one byte", "13", one_byte_updates),
    Attack("1,000 stalled answers and SETTINGS that move their windows", "13", windows_of_one),
    Attack("answers that are sent and never read", "4", trickling_reader),
    Attack("uploads in DATA frames of one byte", "new", one_byte_data),
    Attack("uploads in DATA frames of one byte and 255 of padding", "new", padded_data),
    Attack("1,000 uploads that never end, a byte now and then", "15", dripping_uploads),
    Attack("messages of 4,000 calls, reset as soon as they are sent", "new", abandoned_work),
)
