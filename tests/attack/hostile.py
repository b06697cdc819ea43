# SPDX-License-Identifier: Apache-2.0
"""Callers that mean harm, over gRPC and beside it, a few dozen at a time on one event loop."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd_server.front.status import ERROR_DOMAIN

from .mutations import Mutator
from .verdict import Tally
from .victim import MAX_IN_FLIGHT_BYTES

_CONCURRENT = 48
_BATCHES = ("ScoreBatchRequest", "ScoreStreamRequest", "EvaluateRequest")
_EVALUATION = "/lossd.v1.EvaluationService/"
_LOSS = "/lossd.v1.LossService/"
# Of RPCs that we cancel, end without a deadline to spare, or send what gRPC itself refuses.
_OF_GRPC = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})

# What gRPC's client for asyncio says where an RPC was answered before its next message was written.
_WRITE_AFTER_THE_END = "Internal error from Core"

# A flood of ten times what the server admits; one at a time.
_LARGE_BYTES = 900_000
_LARGE = 10 * MAX_IN_FLIGHT_BYTES // _LARGE_BYTES

Attack = Callable[[grpc.aio.Channel], Awaitable[int]]  # how many messages it sent


class Hostile:
    """Sends about so many messages. Deterministic but for what the network decides."""

    def __init__(self, address: str, mutator: Mutator, tally: Tally) -> None:
        self._address = address
        self._mutator = mutator
        self._random: random.Random = mutator.random
        self._tally = tally
        self._flooding = asyncio.Lock()
        self._attacks: list[tuple[Attack, int]] = [
            (self._unary, 40),
            (self._many_calls, 30),
            (self._disappear, 5),
            (self._read_nothing, 1),
            (self._half_close, 4),
            (self._flood, 1),
            (self._garbage, 2),
            (self._metadata, 2),
        ]

    def run(self, messages: int) -> None:
        asyncio.run(self._run(messages))

    def flood(self) -> None:
        """More bytes at once than the server admits, once."""
        asyncio.run(self._flood_alone())

    async def _flood_alone(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            await self._pour(channel)

    async def _run(self, messages: int) -> None:
        left = messages

        async def attacker() -> None:
            nonlocal left
            attacks, weights = zip(*self._attacks, strict=True)
            while left > 0:
                async with grpc.aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                    for _ in range(200):
                        if left <= 0:
                            break
                        (attack,) = self._random.choices(attacks, weights)
                        sent = await attack(channel)
                        left -= sent
                        self._tally.count("messages over gRPC", sent)

        await asyncio.gather(*[attacker() for _ in range(min(_CONCURRENT, 1 + messages // 50))])

    # Implementation details follow.

    async def _call(self, method: Callable[..., Any], message: Any, where: str, rpc: str, **options: Any) -> None:
        try:
            await method(message, timeout=self._random.choice((60, 60, 60, 0.05, 0.001)), **options)
            self._tally.count("answered")
        except grpc.aio.AioRpcError as error:
            self._error(where, rpc, error)
        except asyncio.CancelledError:  # of gRPC's client: an RPC that was answered before its second message was written
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._tally.count("gRPC's own CANCELLED")

    def _error(self, where: str, rpc: str, error: grpc.aio.AioRpcError) -> None:
        code = error.code().name
        info = next((str(value) for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), "")
        if ERROR_DOMAIN in info:
            reason, fields = _details(error)
            self._tally.error(where, rpc, code, reason, error.details() or "", fields, load=True)
        else:
            self._tally.count(f"gRPC's own {code}")
            if code not in _OF_GRPC and error.details() != _WRITE_AFTER_THE_END:
                self._tally.find(f"{where} {rpc}: {code} {error.details()!r}")

    async def _unary(self, channel: grpc.aio.Channel) -> int:
        rpc, message = self._mutator.request()
        await self._call(channel.unary_unary(_LOSS + rpc), message, "unary", rpc)
        return 1

    async def _many_calls(self, channel: grpc.aio.Channel) -> int:
        kind = self._random.choice(_BATCHES)
        sent, message = self._mutator.calls(kind)
        name = _EVALUATION + kind.removesuffix("Request")
        if kind == "ScoreBatchRequest":
            await self._call(channel.unary_unary(name), message, "batch", kind)
        elif kind == "EvaluateRequest":
            await self._call(channel.stream_unary(name), iter([message, message]), "evaluate", kind)
        else:
            call = channel.stream_stream(name)(iter([message]), timeout=60)
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError as error:
                self._error("stream", kind, error)
        return max(1, len(sent))

    async def _disappear(self, channel: grpc.aio.Channel) -> int:
        """Cancelled somewhere on its way."""
        rpc, message = self._mutator.request()
        call = channel.unary_unary(_LOSS + rpc)(message)
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        call.cancel()
        return 1

    async def _read_nothing(self, channel: grpc.aio.Channel) -> int:
        """A stream whose answers nobody takes, until it is broken off."""
        call = channel.stream_stream(_EVALUATION + "ScoreStream")()
        sent = 0
        try:
            for _ in range(50):
                _, message = self._mutator.calls("ScoreStreamRequest")
                await asyncio.wait_for(call.write(message), 0.2)
                sent += 1
        except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            pass
        call.cancel()
        return max(1, sent)

    async def _half_close(self, channel: grpc.aio.Channel) -> int:
        """Streams that end before they began, or after a piece of a message."""
        kind = self._random.choice(("ScoreStream", "Evaluate"))
        method = channel.stream_stream if kind == "ScoreStream" else channel.stream_unary
        call: Any = method(_EVALUATION + kind)()
        try:
            if self._random.random() < 0.5:
                await call.write(self._random.randbytes(30))
            await call.done_writing()
            await call.code()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        return 1

    async def _flood(self, channel: grpc.aio.Channel) -> int:
        """More bytes at once than the server admits."""
        async with self._flooding:
            await self._pour(channel)
        return _LARGE + 50

    async def _pour(self, channel: grpc.aio.Channel) -> None:
        zeros = bytes(_LARGE_BYTES)
        call = evaluation_pb2.LossCall().SerializeToString()
        batch = b"".join([b"\x0a" + bytes([len(call)]) + call] * 5000)
        flood = [channel.unary_unary(_LOSS + "MseLoss")(zeros, timeout=30) for _ in range(_LARGE)]
        flood += [channel.unary_unary(_EVALUATION + "ScoreBatch")(batch, timeout=30) for _ in range(50)]
        for outcome in await asyncio.gather(*flood, return_exceptions=True):
            if isinstance(outcome, grpc.aio.AioRpcError):
                self._error("flood", "", outcome)

    async def _garbage(self, channel: grpc.aio.Channel) -> int:
        """No HTTP/2 at all, or its beginning only."""
        host, _, port = self._address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if self._random.random() < 0.5 else b""
        try:
            writer.write(preface + self._random.randbytes(self._random.choice((1, 100, 5000))))
            await writer.drain()
        except OSError:
            pass
        writer.close()
        return 1

    async def _metadata(self, channel: grpc.aio.Channel) -> int:
        rpc, message = self._mutator.request()
        large = "x" * self._random.choice((100, 10_000, 60_000))
        await self._call(channel.unary_unary(_LOSS + rpc), message, "unary", rpc, metadata=(("x-attack", large),))
        return 1


def _details(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The reason, and the fields, of a status with our details."""
    from google.rpc import error_details_pb2, status_pb2

    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    return info.reason, [violation.field for violation in bad.field_violations if violation.field]
