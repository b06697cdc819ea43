# SPDX-License-Identifier: Apache-2.0
"""gRPC reflection, with the servicer of grpcio-reflection. The two versions of the protocol have the same messages."""

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2

from lossd_server.errors import MessageMalformed
from lossd_server.service.streams import Output, Read

SERVICE_NAMES: Final = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)


class Reflection:
    """Serves the schemas of these services."""

    def __init__(self, service_names: Sequence[str]) -> None:
        self._servicer = reflection.ReflectionServicer(service_names)

    def methods(self) -> dict[str, tuple[str, Any]]:
        """See Front.add."""
        return {"ServerReflectionInfo": ("bidi_stream", self.info)}

    async def info(self, read: Read, output: Output, **_: object) -> None:
        """Answers each request."""
        while (received := await read()) is not None:
            with received.hold:
                try:
                    request = reflection_pb2.ServerReflectionRequest.FromString(received.message)
                except DecodeError:
                    raise MessageMalformed("", "the bytes are not a ServerReflectionRequest") from None
                for response in self._servicer.ServerReflectionInfo(iter((request,)), None):
                    await output.write(response.SerializeToString())
