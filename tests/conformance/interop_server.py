# SPDX-License-Identifier: Apache-2.0
"""grpc.testing.TestService on our front: the server side of gRPC's interoperability tests, whose clients other people wrote.

https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md says what each method does.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import code_pb2

from lossd_server.config import Settings
from lossd_server.errors import CallError
from lossd_server.server import Server
from lossd_server.service.streams import Output, Read

SERVICE = "grpc.testing.TestService"
SERVER_ID = "the only one"  # pick_first_unary asks whether one server answers all its calls

# grpc/testing/messages.proto, as far as it is used here: message -> field -> (number, type), with [] when it is repeated.
_SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "Payload": {"type": (1, "int32"), "body": (2, "bytes")},
    "EchoStatus": {"code": (1, "int32"), "message": (2, "string")},
    "SimpleRequest": {"response_size": (2, "int32"), "payload": (3, "Payload"), "response_status": (7, "EchoStatus")},
    "SimpleResponse": {"payload": (1, "Payload"), "server_id": (4, "string")},
    "StreamingInputCallRequest": {"payload": (1, "Payload")},
    "StreamingInputCallResponse": {"aggregated_payload_size": (1, "int32")},
    "ResponseParameters": {"size": (1, "int32"), "interval_us": (2, "int32")},
    "StreamingOutputCallRequest": {"response_parameters": (2, "ResponseParameters[]"), "response_status": (7, "EchoStatus")},
    "StreamingOutputCallResponse": {"payload": (1, "Payload")},
}


def _messages() -> dict[str, Any]:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="interop.proto", package="grpc.testing", syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            of, repeated = kind.removesuffix("[]"), kind.endswith("[]")
            made = message.field.add(name=field, number=number, label=field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL)
            if of in _SCHEMA:
                made.type, made.type_name = field_type.TYPE_MESSAGE, f".grpc.testing.{of}"
            else:
                made.type = field_type.Type.Value(f"TYPE_{of.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.testing.{name}")) for name in _SCHEMA}


MESSAGES = _messages()


class EchoedError(CallError):
    """The status that a request asks for."""

    reason = "ECHOED"

    def __init__(self, wanted: Any) -> None:
        super().__init__(wanted.message)
        self.code = code_pb2.Code.Name(wanted.code)


async def empty_call(message: bytes, **_: Any) -> bytes:
    """Nothing for nothing."""
    return b""


async def unary_call(message: bytes, **_: Any) -> bytes:
    """As many bytes as are asked for."""
    request = MESSAGES["SimpleRequest"].FromString(bytes(message))
    _echo(request)
    return _response("SimpleResponse", request.response_size, server_id=SERVER_ID)


async def streaming_input_call(read: Read, _: Output, **__: Any) -> bytes:
    """How many bytes came."""
    size = 0
    while (received := await read()) is not None:
        with received.hold:
            size += len(MESSAGES["StreamingInputCallRequest"].FromString(received.message).payload.body)
    encoded: bytes = MESSAGES["StreamingInputCallResponse"](aggregated_payload_size=size).SerializeToString()
    return encoded


async def output_calls(read: Read, output: Output, **_: Any) -> None:
    """As many responses of such sizes as each request asks for: StreamingOutputCall, which has one request, and FullDuplexCall."""
    while (received := await read()) is not None:
        with received.hold:
            request = MESSAGES["StreamingOutputCallRequest"].FromString(received.message)
        _echo(request)
        for wanted in request.response_parameters:
            await asyncio.sleep(wanted.interval_us / 1e6)
            await output.write(_response("StreamingOutputCallResponse", wanted.size))


METHODS = {
    "EmptyCall": ("unary", empty_call),
    "UnaryCall": ("unary", unary_call),
    "StreamingInputCall": ("client_stream", streaming_input_call),
    "StreamingOutputCall": ("server_stream", output_calls),
    "FullDuplexCall": ("bidi_stream", output_calls),
}


@contextmanager
def interop_server(**settings: Any) -> Iterator[str]:
    """The address of a server of lossd with this service, on a thread of its own until the `with` ends."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(settings, started)), name="interop-server")
    thread.start()
    try:
        address, loop, stopping = started.result(30)
        yield address
        loop.call_soon_threadsafe(stopping.set)
    finally:
        thread.join()


async def _serve(settings: dict[str, Any], started: "Future[Any]") -> None:
    try:
        server = Server(Settings(**{"listen": "127.0.0.1:0", "admin_listen": "", "device": "cpu", "log_level": "error"} | settings))
        server._listener._front.add(SERVICE, METHODS)
        await server.start()
    except BaseException as error:
        started.set_exception(error)
        raise
    stopping = asyncio.Event()
    started.set_result((server.address, asyncio.get_running_loop(), stopping))
    await stopping.wait()
    await server.stop()


def _response(name: str, size: int, **fields: Any) -> bytes:
    encoded: bytes = MESSAGES[name](payload={"body": bytes(size)}, **fields).SerializeToString()
    return encoded


def _echo(request: Any) -> None:
    if request.response_status.code:
        raise EchoedError(request.response_status)
