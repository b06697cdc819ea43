# SPDX-License-Identifier: Apache-2.0
"""Attacks on what is neither a message's cost nor a frame's: the order of the queue, its deadlines, ids and cancellations."""

import asyncio
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import grpc

from lossd_server.requests.messages import MAX_CALLS
from support.wire_format import varint, within

from .attack import Attack, Outcome
from .costly import EVALUATION, LOSS, OPTIONS, batch, evaluate, huber_calls, linear_cross_entropy, unary

_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def heavy_batch() -> bytes:
    """300 calls of 0.1 s of the device each, none of which may share a batch with another."""
    return batch([within(23, linear_cross_entropy(9_000, 9_000))] * 300)


def expiring_calls() -> bytes:
    """A ScoreStream message whose calls have deadlines of their own, all within a tenth of a second."""
    calls = huber_calls(MAX_CALLS)
    timeouts = [b"\x19" + struct.pack("<d", 1e-4 + index % 1000 / 1e4) for index in range(len(calls))]
    return b"".join(
        [
            within(1, b"\x08" + varint(index + 1) + within(2, call) + timeout)
            for index, (call, timeout) in enumerate(zip(calls, timeouts, strict=True))
        ]
    )


def many_series() -> bytes:
    """10,000 series with names of 256 bytes."""
    return b"".join([within(1, within(1, f"{index:0256}".encode()) + within(2, call)) for index, call in enumerate(huber_calls(10_000))])


async def stream_messages(make: Callable[[], bytes], address: str, seconds: float, *, path: str = EVALUATION + "ScoreStream") -> Outcome:
    """The message again and again over one stream whose answers are read and thrown away, without waiting for any. A stream that the
    server ends is opened again.
    """
    message, outcome = make(), Outcome()
    end = time.monotonic() + seconds

    async def read(stream: Any) -> None:
        try:
            while await stream.read() is not grpc.aio.EOF:
                outcome.count("answer messages")
        except grpc.aio.AioRpcError as error:
            outcome.count(f"{error.code().name}: {(error.details() or '')[:80]}")

    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        while time.monotonic() < end:
            stream = channel.stream_stream(path)()
            reading = asyncio.create_task(read(stream))
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                while time.monotonic() < end:
                    await asyncio.wait_for(stream.write(message), max(0.01, end - time.monotonic()))
                    outcome.sent += 1
            if time.monotonic() >= end:
                reading.cancel()
            await asyncio.wait([reading])
            stream.cancel()
    return outcome


def cancelling() -> bytes:
    """A ScoreStream message of 8,000 calls, all of which the same message's successor cancels."""
    ids = b"".join([varint(index + 1) for index in range(8_000)])
    calls = b"".join([within(1, b"\x08" + varint(index + 1) + within(2, call)) for index, call in enumerate(huber_calls(8_000))])
    return within(2, ids) + calls


async def tiny_timeouts(address: str, seconds: float) -> Outcome:
    """Unary calls with deadlines of a nanosecond."""
    message, outcome = huber_calls(1)[0][2:], Outcome()
    end = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        call = channel.unary_unary(LOSS + "HuberLoss")

        async def again() -> None:
            while time.monotonic() < end:
                outcome.sent += 1
                try:
                    await call(message, timeout=1e-4)
                    outcome.count("answered")
                except grpc.aio.AioRpcError as error:
                    outcome.count(error.code().name)

        await asyncio.gather(*[again() for _ in range(50)])
    return outcome


def schemas() -> bytes:
    """A reflection request for the schema that depends on most others."""
    return within(4, b"lossd.v1.EvaluationService")


def echo() -> bytes:
    """A reflection request whose answer repeats its host of 60 MB."""
    return within(1, bytes(60_000_000)) + within(4, b"lossd.v1.LossService")


ATTACKS = (
    Attack("reflection of the largest schema, again and again", "new", partial(stream_messages, schemas, path=_REFLECTION)),
    Attack("reflection requests of 60 MB, which the answers repeat", "new", partial(stream_messages, echo, path=_REFLECTION)),
    Attack("ScoreBatch of 300 calls of 0.1 s each", "new", partial(unary, EVALUATION + "ScoreBatch", heavy_batch)),
    Attack("ScoreStream messages of 16,384 calls that expire one by one", "new", partial(stream_messages, expiring_calls)),
    Attack("ScoreStream messages of 8,000 calls that the next one cancels", "new", partial(stream_messages, cancelling)),
    Attack("Evaluate of 10,000 series with names of 256 bytes", "new", partial(evaluate, many_series, streams=2, messages=2)),
    Attack("unary calls that have expired on arrival", "new", tiny_timeouts),
)
