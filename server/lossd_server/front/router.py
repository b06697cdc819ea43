# SPDX-License-Identifier: Apache-2.0
"""The methods of a server. Routes each request to its method.

Unary loss calls that arrive in one turn of the event loop, on any connections, go to the service together, and their answers are sent
together. That is cheaper than one after the other, and no call waits for a call that has not arrived.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from lossd_server.admission import Admission, Hold
from lossd_server.errors import CallError, MetadataTooLarge, Unimplemented
from lossd_server.front import status
from lossd_server.front.callers import Callers
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import MAX_METADATA_BYTES, RequestHeaders
from lossd_server.front.rpc import Method, ServeStream, ServeUnary
from lossd_server.front.streaming import Streaming
from lossd_server.front.unary import Unary
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.streams import Receiver, Stream
from lossd_server.log import unexpected
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import LossSpec
from lossd_server.metrics import Metrics
from lossd_server.service.score_batch import EvaluationService
from lossd_server.service.scoring import Service
from lossd_server.service.streams import Read

# Maximum bytes held by all RPCs of methods that are open to all callers; one host may hold at most half. These methods have a separate
# budget, so that health checks are answered however full the server is, and take nothing from callers that have tokens.
OPEN_TO_ALL_BYTES: Final = 64 << 20

# Maximum bytes of a request that names a service or a symbol, as in health checks and reflection.
MAX_NAME_MESSAGE_BYTES: Final = 4 << 10


class Front:
    """See the module. Use on one event loop."""

    def __init__(self, service: Service, metrics: Metrics, who: Callers) -> None:
        self._service = service
        self._metrics = metrics
        self._who = who
        self._unpacker = Unpacker()
        self._open_to_all = Admission(OPEN_TO_ALL_BYTES)
        self._methods: dict[str, Method] = {}
        self._arrived: list[Unary] = []
        self._unsent: dict[ServerProtocol, Hold] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush: Callable[[], None] = _nothing

    def flush_with(self, flush: Callable[[], None]) -> None:
        """Sets the function that sends the answers of a turn of the event loop."""
        self._flush = flush

    # Methods.

    @property
    def methods(self) -> Mapping[str, Method]:
        """The methods by path."""
        return self._methods

    def add_losses(self, service_name: str) -> None:
        """Adds LossService."""
        for rpc, spec in LOSSES.items():
            self._add(service_name, rpc, "unary", spec=spec)
        self._add(service_name, "GetServerInfo", "unary", unary=self._service.get_server_info)

    def add_evaluation(self, service_name: str, evaluation: EvaluationService) -> None:
        """Adds EvaluationService."""

        async def evaluate(read: Read, output: object, *, deadline: float | None, caller: str) -> bytes:
            return await evaluation.evaluate(read, deadline=deadline, caller=caller)

        self._add(service_name, "ScoreBatch", "unary", unary=evaluation.score_batch)
        self._add(service_name, "ScoreStream", "bidi_stream", stream=evaluation.score_stream, has_calls=True)
        self._add(service_name, "Evaluate", "client_stream", stream=evaluate, has_calls=True)

    def add(
        self,
        service_name: str,
        methods: Mapping[str, tuple[str, Any]],
        *,
        open_to_all: bool = False,
        max_message_bytes: int | None = None,
    ) -> None:
        """Adds another service. `methods` has, by name, a method's kind and its ServeUnary, or its ServeStream if it is not "unary".

        `max_message_bytes` limits requests; None means the limit of the losses.
        """
        for name, (kind, serve) in methods.items():
            serves = {"unary" if kind == "unary" else "stream": serve}
            self._add(service_name, name, kind, open_to_all=open_to_all, max_message_bytes=max_message_bytes, **serves)

    # Requests.

    def open_stream(self, link: ServerProtocol, stream: Stream, head: RequestHeaders, ended: bool) -> Receiver | None:
        """The receiver of a new request, or None if the request was answered already."""
        connection = link.connection
        if head.fault:
            connection.send_headers(stream, status.http_error(head.fault), ended=True)
            return None
        method = self._methods.get(head.path)
        try:
            if method is None:
                raise Unimplemented("the server has no such method")
            if head.metadata_bytes > MAX_METADATA_BYTES:
                raise MetadataTooLarge(
                    f"the metadata has {head.metadata_bytes} bytes; {MAX_METADATA_BYTES} are allowed",
                    limit=MAX_METADATA_BYTES,
                    actual=head.metadata_bytes,
                )
            caller = self._caller(link, method, head)
            if method.streaming:
                authenticate = partial(self._caller, link, method, head)
                return Streaming(link, stream, method, head, caller, self._unpacker, authenticate, ended=ended)
            unary = Unary(link, stream, method, head, caller, self._unpacker, self._arrive)
        except CallError as error:
            if method is not None:
                method.observe(error.code, 0.0, "")
            connection.send_headers(stream, status.trailers_only(error), ended=True)
            return None
        if ended:
            unary.data(memoryview(b""), True)
        return unary

    def count_unsent(self, link: ServerProtocol, nbytes: int) -> None:
        """Counts the bytes that the transport of a connection holds because the peer does not read."""
        if nbytes:
            self._unsent[link] = self._service.admission.hold(nbytes, self._who.anybody(link))
        elif link in self._unsent:
            self._unsent.pop(link).release()

    async def stop(self) -> None:
        """Cancels the RPCs that are still running."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Implementation details follow.

    def _add(
        self,
        service_name: str,
        name: str,
        kind: str,
        *,
        spec: LossSpec | None = None,
        unary: ServeUnary | None = None,
        stream: ServeStream | None = None,
        open_to_all: bool = False,
        has_calls: bool = False,
        max_message_bytes: int | None = None,
    ) -> None:
        observe = self._metrics.rpc(kind, service_name, name)
        named = self._who.named and not open_to_all
        count_caller = self._metrics.caller_rpc

        def observe_both(code: str, seconds: float, caller: str) -> None:
            observe(code, seconds)
            if named and caller:
                count_caller(caller, code)

        reserve = (self._open_to_all if open_to_all else self._service.admission).reserve
        largest = self._service.max_request_bytes
        if max_message_bytes is not None:
            largest = min(largest, max_message_bytes)
        method = Method(name, observe_both, reserve, largest, open_to_all, spec, unary, stream, has_calls)
        self._methods[f"/{service_name}/{name}"] = method

    def _caller(self, link: ServerProtocol, method: Method, head: RequestHeaders) -> str:
        return self._who.anybody(link) if method.open_to_all else self._who.caller(link, head.authorization)

    def _arrive(self, unary: Unary) -> None:
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._serve)
        self._arrived.append(unary)

    def _serve(self) -> None:
        arrived, self._arrived = self._arrived, []
        calls: list[Unary] = []
        for unary in arrived:
            if unary.compressed and not unary.code and not unary.unpack_at_once():
                self._start(unary)
            elif unary.code:
                continue
            elif unary.method.spec is not None:
                calls.append(unary)
            else:
                self._start(unary)
        self._service.score_together(calls)
        for unary in calls:
            if not unary.code:
                unary.watch_deadline()
        self._flush()

    def _start(self, unary: Unary) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(unary), name=f"lossd-{unary.method.name}")
        unary.cancel = partial(_cancel, task)
        unary.watch_deadline()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, unary: Unary) -> None:
        answer: bytes | CallError
        try:
            if unary.compressed:
                await unary.unpack()
                unary.cancel = None
                self._arrive(unary)
                return
            message, hold, serve, unary.message = unary.message, unary.hold, unary.method.unary, b""
            assert hold is not None
            assert serve is not None
            answer = await serve(message, deadline=unary.deadline, caller=unary.caller, hold=hold)
        except CallError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - internals must not leak to the caller
            answer = unexpected(unary.method.name, unary.caller, error)
        unary.cancel = None
        unary.answer(answer)
        self._flush()


def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()


def _nothing() -> None:
    pass
