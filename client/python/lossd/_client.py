# SPDX-License-Identifier: Apache-2.0
"""Client: the losses of a lossd server, as blocking calls."""

import threading
from collections.abc import Callable, Sequence
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
    """A connection to a lossd server. Threads may share it; a forked process must make its own. Close it, or use it in a `with`.

    Methods raise a subclass of LossdError (lossd.InvalidArgumentError, ...), or TypeError or ValueError for arguments that
    cannot be sent.

    Args:
        target: "host:port" or any gRPC target; "a:1,b:2" or a list for several servers. Calls go to the servers in turn, and to the
            others while one cannot be reached. By default the variable LOSSD_ADDRESS.
        timeout: Maximum seconds for a call, including retries; None means no limit. The `timeout` argument of a method overrides it
            for that call.
        retry: Retry calls that reach no server, or an overloaded one, until they succeed or the next attempt would come after their
            timeout. The pauses double from 50 ms up to 1 s, minus a random part of up to half, plus the time that the server asks for.
            So no call fails if a server restarts within the timeout. False raises the first error.
        coalesce: Concurrent calls share a stream, which costs the client and the server less. Each call keeps its own timeout,
            error and answer. A lone call is sent at once.
        split: Calls above the message limit are split along their batch dimension, and the answers are merged exactly. False raises
            TooLargeError instead.
        tls: Use TLS, and trust the certificate authorities that gRPC trusts. Without `tls` and `credentials` the connection is plaintext.
        credentials: For TLS with your own certificate authority: grpc.ssl_channel_credentials(...); for mutual TLS, pass the client's key
            and certificate chain to it.
        token: Bearer token to send with every call; by default the variable LOSSD_TOKEN. Without TLS, anyone who can read the network
            traffic can use the token. A pickled client holds the token.
        metadata: Sent with every RPC, for example [("x-tenant", "a")].
        connections: Number of connections to each server. A server with `--workers` assigns each connection to one worker, so one client
            can keep at most as many workers busy as it has connections.
        interceptors: gRPC client interceptors, for example for traces and logs; for AsyncClient, those of grpc.aio.
        max_message_bytes: Maximum size of a request or response message; the server's limit applies too.
        options: Further gRPC channel options; they override the client's options of the same name.
    """

    def batch(self, *, timeout: float | Unset | None = UNSET) -> Batch:
        """Collects calls, and sends many of them in one message:

        with client.batch() as batch:
            a = batch.cross_entropy(logits, labels)
            b = batch.mse_loss(predictions, targets)
        a.result(), b.result()

        The answers are available after the `with`. If a call fails, its `result()` raises the error, and the other calls are
        unaffected. Arrays above 1 MiB must not change before the end of the `with`.

        Args:
            timeout: Maximum seconds for all calls together; None means no limit. By default the client's timeout.
        """
        return Batch(self, timeout)

    def evaluation(self) -> Evaluation:
        """The loss over many mini-batches, exact, overall and by named series. See Evaluation."""
        return Evaluation(self)

    def server_info(self, *, timeout: float | Unset | None = UNSET) -> loss_service_pb2.GetServerInfoResponse:
        """Versions, devices, losses and limits of the server."""
        return run(self._server_info(self._deadline(timeout)))

    def wait_until_ready(self, timeout: float | Unset | None = UNSET) -> None:
        """Returns when the server answers. Raises ConnectionFailedError, with the cause, if no server answers within the timeout."""
        run(self._until_ready(timeout))

    def close(self) -> None:
        """Closes the connection; calls in flight raise CallCancelledError."""
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
        except ValueError as error:
            if not self._closed:
                raise
            raise closed_error() from error  # meanwhile
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

    async def _large(self, work: Callable[[], T]) -> T:
        return work()

    def _start(self, job: Job[T]) -> "Future[T]":
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(run(job()))
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the future
                future.set_exception(error)

        threading.Thread(target=work, name="lossd", daemon=True).start()
        return future

    async def _finish(self, started: "Future[T]") -> T:
        return started.result()


def _run_job(job: Job[T]) -> T:
    return run(job())
