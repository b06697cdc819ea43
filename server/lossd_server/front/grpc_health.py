# SPDX-License-Identifier: Apache-2.0
"""grpc.health.v1, open to all callers, because the probes of orchestrators and load balancers have no tokens."""

import asyncio
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from lossd_server.errors import MessageMalformed, NotFound
from lossd_server.losses.tensor import Encoded
from lossd_server.service.streams import Output, Read

SERVICE_NAME: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_Response = health_pb2.HealthCheckResponse
_SERVING, _NOT_SERVING, _UNKNOWN = (_Response(status=s).SerializeToString() for s in ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"))


class HealthService:
    """Serves the published statuses of services."""

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}
        self._watching: dict[str, set[asyncio.Event]] = {}  # by name; no value is empty

    def publish(self, name: str, serving: bool) -> None:
        """Sets the status of a service, and informs those that watch the service if the status has changed."""
        answer = _SERVING if serving else _NOT_SERVING
        if self._answers.get(name) != answer:
            self._answers[name] = answer
            for changed in self._watching.get(name, ()):
                changed.set()

    def methods(self) -> dict[str, tuple[str, Any]]:
        """See Front.add."""
        return {"Check": ("unary", self.check), "Watch": ("server_stream", self.watch)}

    async def check(self, message: Encoded, **_: object) -> bytes:
        """Answers with the current status."""
        answer = self._answers.get(_name(message))
        if answer is None:
            raise NotFound("the server has no such service")
        return answer

    async def watch(self, read: Read, output: Output, **_: object) -> None:
        """Answers with the current status, and again after each change."""
        received, changed, name = await read(), asyncio.Event(), ""
        if received is not None:
            with received.hold:
                name = _name(received.message)
        self._watching.setdefault(name, set()).add(changed)
        try:
            while True:
                changed.clear()
                await output.write(self._answers.get(name, _UNKNOWN))
                await changed.wait()
        finally:
            watching = self._watching[name]
            watching.remove(changed)
            if not watching:
                del self._watching[name]


def _name(message: Encoded) -> str:
    try:
        name: str = health_pb2.HealthCheckRequest.FromString(bytes(message)).service
    except DecodeError:
        raise MessageMalformed("", "the bytes are not a grpc.health.v1.HealthCheckRequest") from None
    return name
