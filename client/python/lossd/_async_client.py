# SPDX-License-Identifier: Apache-2.0
"""AsyncClient: the losses of a lossd server, as coroutines."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from lossd import _calls
from lossd._batch import AsyncBatch
from lossd._calls import Encoded
from lossd._codec import UNSET, LossResult, Request, Unset
from lossd._core import Core, Job
from lossd._errors import closed_error, error_of_rpc
from lossd._evaluation import AsyncEvaluation
from lossd._foundation import T
from lossd._outbox import CONCURRENT_MESSAGES
from lossd._task_stream import TaskStream
from lossd.v1 import loss_service_pb2


class AsyncClient(Core[Awaitable[float], Awaitable[NDArray[np.floating[Any]]], Awaitable[LossResult]]):
    """Client for asyncio: the same methods, arguments and errors, and every call is awaited.

        async with lossd.AsyncClient("localhost:50051") as client:
            loss = await client.cross_entropy(logits, labels)

    It belongs to the event loop on which it is first used. With `coalesce`, concurrent calls share a stream, which
    multiplies the throughput. The arguments are those of Client.
    """

    def batch(self, *, timeout: float | Unset | None = UNSET) -> AsyncBatch:
        """Collects calls, and sends them together when its `async with` ends. See Client.batch."""
        return AsyncBatch(self, timeout)

    def evaluation(self) -> AsyncEvaluation:
        """The loss over many mini-batches, exact, overall and by named series. See Evaluation; here updates are awaited."""
        return AsyncEvaluation(self)

    async def server_info(self, *, timeout: float | Unset | None = UNSET) -> loss_service_pb2.GetServerInfoResponse:
        """Versions, devices, losses and limits of the server."""
        return await self._server_info(self._deadline(timeout))

    async def wait_until_ready(self, timeout: float | Unset | None = UNSET) -> None:
        """Returns when the server answers. Raises ConnectionFailedError, with the cause, if no server answers within the timeout."""
        await self._until_ready(timeout)

    async def close(self) -> None:
        """Closes the connection; calls in flight raise CallCancelledError."""
        self._closed = True
        for stream in self._streams:
            await stream.close()
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close()

    # Implementation details follow: the primitives of Core.

    def _call(self, request: Request, return_statistics: bool) -> Any:
        return self._score(request, return_statistics)

    def _set_up(self) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._methods: dict[tuple[int, str], Any] = {}
        # One tensor is copied at a time: gRPC copies each again, on the loop, which has time for others in between.
        self._copying = asyncio.Lock()
        self._streams = [TaskStream(partial(self._open_stream, turn)) for turn in range(len(self._targets))]

    def _open(self) -> list[grpc.aio.Channel]:
        """The channels, opened on the running event loop."""
        loop = asyncio.get_running_loop()
        if not self._channels:
            self._loop = loop
            self._channels = [self._channel_to(target) for target in self._targets]
        if loop is not self._loop:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one for each loop")
        return self._channels

    def _channel_to(self, target: str) -> grpc.aio.Channel:
        secure, options, interceptors = self._credentials, self._options, list(self._interceptors)
        if secure is None:
            return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
        return grpc.aio.secure_channel(target, secure, options, interceptors=interceptors)

    def _open_stream(self, turn: int) -> Any:
        method: Any = self._open()[turn].stream_stream(f"/{_calls.SERVICE}/ScoreStream")
        return method(metadata=self._metadata)

    async def _unary(self, method: str, message: bytes, timeout: float | None) -> bytes:
        channels = self._open()
        turn = self._rotation.next()
        send = self._methods.get((turn, method))
        if send is None:
            send = self._methods[turn, method] = channels[turn].unary_unary(method)
        try:
            response: bytes = await send(message, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self._rotation.leave_out(turn)
            raise error_of_rpc(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._closed and not (task is not None and task.cancelling()):  # what grpc.aio raises for a closed channel
                raise closed_error() from error
            raise
        return response

    async def _post(self, call: Encoded, deadline: float | None) -> Any:
        self._open()
        return await self._streams[self._rotation.next()].score(call, deadline)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _all(self, jobs: Sequence[Job[T]]) -> list[T]:
        if len(jobs) == 1:
            return [await jobs[0]()]
        slots = asyncio.Semaphore(CONCURRENT_MESSAGES)

        async def work(job: Job[T]) -> T:
            async with slots:
                return await job()

        tasks = [asyncio.ensure_future(work(job)) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _large(self, work: Callable[[], T]) -> T:
        async with self._copying:
            return await asyncio.to_thread(work)

    def _start(self, job: Job[T]) -> "asyncio.Task[T]":
        return asyncio.ensure_future(job())

    async def _finish(self, started: "asyncio.Task[T]") -> T:
        return await asyncio.shield(started)
