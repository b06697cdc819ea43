# SPDX-License-Identifier: Apache-2.0
"""Client: the losses of a lossd server, as blocking calls."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from lossd import _calls
from lossd._batch import Batch
from lossd._calls import Encoded
from lossd._codec import UNSET, LossResult, Request, Unset
from lossd._core import Core, Job, run
from lossd._errors import closed_error, error_of_rpc
from lossd._evaluation import Evaluation
from lossd._foundation import T
from lossd._outbox import CONCURRENT_MESSAGES
from lossd._thread_stream import ThreadStream
from lossd.v1 import loss_service_pb2


class Client(Core[float, NDArray[np.floating[Any]], LossResult]):
    """A connection to a lossd server. Safe to share between threads; not across a fork. Close it, or use it in a `with`.

    Methods raise LossdError and its kinds (lossd.InvalidArgumentError, ...), and TypeError or ValueError for arguments that
    cannot be sent at all.

    Args:
        target: "host:port" or any gRPC target; "a:1,b:2" or a list for several servers, which take turns and stand in for each other.
            By default LOSSD_ADDRESS.
        timeout: Seconds that a call may take, retries included; None waits for ever. Methods have a `timeout` of the same meaning;
            without it this one holds.
        retry: Make calls again that found no server, or a full one, until they succeed or their timeout would pass. The pauses grow from
            50 ms to 1 s, are random by half, and longer if the server asks for it. So the restart of a server costs no call. False
            raises the first error.
        coalesce: Calls that threads make at the same time share a stream, which costs both sides less; each keeps its own
            timeout, error and answer. A lone call leaves at once.
        split: Calls above the message limit are sent in parts along their batch dimension and merged exactly; False raises
            TooLargeError in place of that.
        tls: TLS with the authorities that gRPC trusts. Without it and `credentials` the connection is plaintext.
        credentials: For TLS with an authority of your own: grpc.ssl_channel_credentials(...), for mutual TLS with the client's key and
            certificate chain.
        token: Sent as a bearer token with every call; by default LOSSD_TOKEN. In plaintext whoever can read the network can use it.
        metadata: Sent with every RPC, as [("x-tenant", "a")].
        connections: To each server. A server with several workers gives each connection to one of them, so one client can keep as many
            workers busy as it has connections.
        interceptors: gRPC's client interceptors, for traces and logs; of grpc.aio for AsyncClient.
        max_message_bytes: The largest message either way; the server's limit holds too.
        options: Further gRPC channel options, in place of ours of the same name.
    """

    def batch(self, *, timeout: float | Unset | None = UNSET) -> Batch:
        """Collects calls, and sends them many at a time:

        with client.batch() as batch:
            a = batch.cross_entropy(logits, labels)
            b = batch.mse_loss(predictions, targets)
        a.result(), b.result()

        The answers are there after the `with`. Calls fail alone, each at its `result()`. Arrays above 1 MiB must not change before
        the end of the `with`.

        Args:
            timeout: Seconds that all calls together may take; None waits for ever. By default the client's.
        """
        return Batch(self, timeout)

    def evaluation(self) -> Evaluation:
        """The loss over many mini-batches, exact, overall and by named series. See Evaluation."""
        return Evaluation(self)

    def server_info(self, *, timeout: float | Unset | None = UNSET) -> loss_service_pb2.GetServerInfoResponse:
        """Versions, devices, losses and limits of the server."""
        return run(self._server_info(self._deadline(timeout)))

    def wait_until_ready(self, timeout: float | Unset | None = UNSET) -> None:
        """Returns when the server answers. Raises ConnectionFailedError, which says why it does not, at the end of the timeout."""
        run(self._until_ready(timeout))

    def close(self) -> None:
        """Ends the connection; calls in flight raise CallCancelledError."""
        self._closed = True
        self._closing.set()
        for stream in self._streams:
            stream.close()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # Implementation details follow: the primitives of Core, which block.

    def _set_up(self) -> None:
        self._channels = [self._channel_to(target) for target in self._targets]
        self._methods: dict[tuple[int, str], Any] = {}
        self._closing = threading.Event()
        self._streams = [self._stream_on(channel) for channel in self._channels] if self._coalesce else []

    def _channel_to(self, target: str) -> grpc.Channel:
        secure, options = self._credentials, self._options
        channel = grpc.insecure_channel(target, options) if secure is None else grpc.secure_channel(target, secure, options)
        return grpc.intercept_channel(channel, *self._interceptors)

    def _stream_on(self, channel: grpc.Channel) -> ThreadStream:
        method: Any = channel.stream_stream(f"/{_calls.SERVICE}/ScoreStream")
        return ThreadStream(lambda messages: method(messages, metadata=self._metadata))

    def _call(self, request: Request, return_statistics: bool) -> Any:
        return run(self._score(request, return_statistics))

    async def _unary(self, method: str, message: bytes, timeout: float | None) -> bytes:
        turn = self._rotation.next()
        send = self._methods.get((turn, method))
        if send is None:
            send = self._methods[turn, method] = self._channels[turn].unary_unary(method)
        try:
            response: bytes = send(message, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self._rotation.leave_out(turn)
            raise error_of_rpc(error) from error
        except ValueError as error:  # the channel was closed meanwhile
            raise closed_error() from error
        return response

    async def _post(self, call: Encoded, deadline: float | None) -> Any:
        return self._streams[self._rotation.next()].score(call, deadline)

    async def _sleep(self, seconds: float) -> None:
        self._closing.wait(min(seconds, threading.TIMEOUT_MAX))

    async def _all(self, jobs: Sequence[Job[T]]) -> list[T]:
        if len(jobs) == 1:
            return [await jobs[0]()]
        with ThreadPoolExecutor(CONCURRENT_MESSAGES, "lossd") as pool:
            futures = [pool.submit(_run_job, job) for job in jobs]
            try:
                return [future.result() for future in futures]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, job: Job[T]) -> "Future[T]":
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(run(job()))
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
                future.set_exception(error)

        threading.Thread(target=work, name="lossd", daemon=True).start()
        return future

    async def _finish(self, started: "Future[T]") -> T:
        return started.result()


def _run_job(job: Job[T]) -> T:
    return run(job())
