# SPDX-License-Identifier: Apache-2.0
"""READ SECOND: build, start, serve, drain, stop."""

import asyncio
import time
from importlib.metadata import version
from pathlib import Path

import structlog
import torch
from prometheus_client import CollectorRegistry

from lossd.v1 import evaluation_service_pb2, loss_service_pb2
from lossd_server import sockets
from lossd_server.admin import Admin
from lossd_server.admission import Admission, shutting_down
from lossd_server.compute import device as devices
from lossd_server.compute.device import Device
from lossd_server.config import Settings
from lossd_server.front import grpc_health, reflection
from lossd_server.front.callers import Callers
from lossd_server.front.grpcio_front import GrpcioListener
from lossd_server.front.listener import Listener
from lossd_server.front.router import MAX_NAME_MESSAGE_BYTES, Front
from lossd_server.front.tokens import Tokens
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.process import DeviceGoneError
from lossd_server.queue.coalescer import Coalescer
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.requests.validate import RequestLimits
from lossd_server.service.probe import Health, Probe
from lossd_server.service.score_batch import EvaluationService
from lossd_server.service.scoring import Service

SERVICE_NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
EVALUATION_SERVICE_NAME = evaluation_service_pb2.DESCRIPTOR.services_by_name["EvaluationService"].full_name

_log = structlog.get_logger("lossd.server")


class Server:
    """One process, one device, one port. Use on one event loop: start, then serve or stop."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError if the device does not exist or the tokens cannot be read."""
        tokens = Tokens(Path(settings.tokens_file)) if settings.tokens_file else None
        self._settings = settings
        self.address = ""
        self.admin_address = ""
        self._stop_requested = asyncio.Event()

        self._device = Device(devices.resolve(settings.device), intra_op_threads=settings.intra_op_threads)
        self._max_operations = settings.max_operations or self._device.default_max_operations
        self._metrics = Metrics()
        self._dispatcher = Dispatcher(
            Coalescer(
                max_batch_bytes=settings.max_batch_bytes,
                max_batch_elements=settings.max_batch_elements,
                max_queue_bytes=settings.max_queue_bytes,
            ),
            self._device,
            self._metrics,
            stuck_batch_seconds=settings.stuck_batch_seconds,
            on_device_lost=self._device_lost,
        )
        self._admission = Admission(settings.max_in_flight_bytes)
        self._metrics.watch_queue(lambda: self._dispatcher.queued_calls, lambda: self._dispatcher.queued_bytes)
        self._metrics.watch_in_flight(lambda: self._admission.in_flight_bytes)
        self._service = Service(
            self._dispatcher,
            self._admission,
            RequestLimits(settings.max_response_bytes, settings.max_workspace_bytes, self._max_operations),
            max_request_bytes=settings.max_request_bytes,
            info=self._info(),
        )
        self._evaluation = EvaluationService(self._service, self._dispatcher, max_response_bytes=settings.max_response_bytes)
        self._health_service = grpc_health.HealthService()
        self._health = Health(
            self._publish_health,
            (SERVICE_NAME, EVALUATION_SERVICE_NAME),
            Probe(self._dispatcher, time.monotonic),
            interval_seconds=settings.probe_interval_seconds,
            timeout_seconds=settings.stuck_batch_seconds,
        )
        self._device_gone = False
        who = Callers(tokens)
        front = self._front(who)
        self._listener: Listener | GrpcioListener
        if settings.transport == "grpcio":
            self._listener = GrpcioListener(settings, front.methods, self._service, who)
        else:
            self._listener = Listener(settings, front)
        self._admin: Admin | None = None

    async def start(self) -> None:
        """Binds and begins to serve. Raises OSError as sockets.bind does, ValueError if TLS cannot be served."""
        self.address = self._listener.bind()
        if self._settings.admin_listen:
            self._admin = Admin(sockets.bind(self._settings.admin_listen), self._metrics.registry, lambda: self._health.serving)
            self.admin_address = self._admin.address
            await self._admin.start()
        await self._health.start()
        await self._listener.start()
        _log.info(
            "serving",
            address=self.address,
            transport=self._settings.transport,
            admin_address=self.admin_address,
            device=self._device.name,
            tls=bool(self._settings.tls_cert_file),
            tokens=bool(self._settings.tokens_file),
        )

    async def serve(self) -> None:
        """Serves until `request_stop`, then drains and stops. Raises DeviceGoneError if the device was lost for good."""
        await self._stop_requested.wait()
        await self.stop()
        if self._device_gone:
            raise DeviceGoneError

    def request_stop(self) -> None:
        """Makes `serve` stop. Idempotent."""
        self._stop_requested.set()

    @property
    def metrics_registry(self) -> CollectorRegistry:
        """The registry that /metrics shows."""
        return self._metrics.registry

    async def stop(self) -> None:
        """Reports NOT_SERVING, serves for another drain_delay_seconds, and then answers every accepted call within drain_seconds.

        front/draining.py defines which calls are accepted. Calls that are not answered in time fail as UNAVAILABLE, whatever the
        device is doing. Stopping takes at most about a second longer than both times together.
        """
        settings = self._settings
        _log.info("draining", queued_calls=self._dispatcher.queued_calls)
        await self._health.drain()
        if not self._device_gone:
            await asyncio.sleep(settings.drain_delay_seconds)

        def refuse_new() -> None:
            self._service.drain()
            self._evaluation.drain()

        await self._listener.stop(refuse_new, settings.drain_seconds)
        self._dispatcher.abandon(shutting_down)
        await self._health.stop()
        self._service.close()
        self._device.close()
        if self._admin is not None:
            self._admin.close()
        _log.info("stopped")

    # Implementation details follow.

    def _front(self, who: Callers) -> Front:
        front = Front(self._service, self._metrics, who)
        front.add_losses(SERVICE_NAME)
        front.add_evaluation(EVALUATION_SERVICE_NAME, self._evaluation)
        front.add(grpc_health.SERVICE_NAME, self._health_service.methods(), open_to_all=True, max_message_bytes=MAX_NAME_MESSAGE_BYTES)
        if self._settings.reflection:
            names = (SERVICE_NAME, EVALUATION_SERVICE_NAME, grpc_health.SERVICE_NAME, *reflection.SERVICE_NAMES)
            schemas = reflection.Reflection(names)
            for name in reflection.SERVICE_NAMES:
                front.add(name, schemas.methods(), max_message_bytes=MAX_NAME_MESSAGE_BYTES)
        return front

    async def _publish_health(self, name: str, serving: bool) -> None:
        self._health_service.publish(name, serving)

    def _device_lost(self, rebuilt: bool) -> None:
        self._health.device_lost(rebuilt)
        if not rebuilt:
            self._device_gone = True
            self._stop_requested.set()

    def _info(self) -> loss_service_pb2.GetServerInfoResponse:
        return loss_service_pb2.GetServerInfoResponse(
            server_version=version("lossd"),
            torch_version=torch.__version__,
            devices=[self._device.name],
            losses=sorted(LOSSES),
            max_request_bytes=self._settings.max_request_bytes,
            max_response_bytes=self._settings.max_response_bytes,
            max_workspace_bytes=self._settings.max_workspace_bytes,
            max_operations=self._max_operations,
        )
