# SPDX-License-Identifier: Apache-2.0
"""READ SECOND: build, start, serve, drain, stop."""

import asyncio
import signal
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import grpc
import structlog
import torch
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, start_http_server

from lossd.v1 import evaluation_service_pb2, loss_service_pb2
from lossd_server import address, callers, front, listen
from lossd_server import device as devices
from lossd_server.admission import Admission
from lossd_server.coalescer import Coalescer
from lossd_server.config import Settings
from lossd_server.device import Device
from lossd_server.dispatcher import Dispatcher
from lossd_server.errors import ShuttingDown
from lossd_server.evaluation import EvaluationService
from lossd_server.health import Health, Probe
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.process import DeviceGoneError
from lossd_server.service import Service
from lossd_server.tokens import Tokens
from lossd_server.validate import Limits

# What health watchers and idle streams get to notice that the server goes, once everything accepted is answered.
_GOODBYE_SECONDS = 0.5

# Calls that come while the server drains are refused until none has come for so long: gRPC cancels those it has not handed over when it
# is stopped, and a caller does not take that for something to try again elsewhere.
_QUIET_SECONDS = 0.05

SERVICE_NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
EVALUATION_SERVICE_NAME = evaluation_service_pb2.DESCRIPTOR.services_by_name["EvaluationService"].full_name

_log = structlog.get_logger("lossd.server")


class Server:
    """One process, one device, one port. Use on one event loop: start, then wait or stop."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError where the device is not there or the tokens cannot be read."""
        tokens = Tokens(Path(settings.tokens_file)) if settings.tokens_file else None
        self._settings = settings
        self.address = ""
        self.admin_address = ""
        self._stop_requested = asyncio.Event()

        self._device = Device(devices.resolve(settings.device), intra_op_threads=settings.intra_op_threads)
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
            Limits(settings.max_response_bytes, settings.max_workspace_bytes, settings.max_operations),
            max_request_bytes=settings.max_request_bytes,
            info=self._info(),
        )
        self._evaluation = EvaluationService(self._service, self._dispatcher, max_response_bytes=settings.max_response_bytes)
        self._health_servicer = health.aio.HealthServicer()
        self._health = Health(
            self._publish_health,
            (SERVICE_NAME, EVALUATION_SERVICE_NAME),
            Probe(self._dispatcher, time.monotonic),
            interval_seconds=settings.probe_interval_seconds,
            timeout_seconds=settings.stuck_batch_seconds,
        )
        self._device_gone = False
        self._grpc = self._build_front(tokens)
        self._admin: tuple[WSGIServer, threading.Thread] | None = None

    async def start(self) -> None:
        """Binds and begins to serve. Raises OSError where an address is not to be had, ValueError where TLS cannot be."""
        self.address = listen.bind(self._grpc, self._settings)
        if self._settings.admin_listen:
            host, port = address.split(self._settings.admin_listen)
            self._admin = start_http_server(port, host, registry=self._metrics.registry)
            self.admin_address = f"{host}:{self._admin[0].server_port}"
        await self._grpc.start()
        await self._health.start()
        _log.info(
            "serving",
            address=self.address,
            admin_address=self.admin_address,
            device=self._device.name,
            tls=bool(self._settings.tls_cert_file),
            tokens=bool(self._settings.tokens_file),
        )

    async def serve(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains and stops. Raises DeviceGoneError after the device was lost for good."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.request_stop)
        await self._stop_requested.wait()
        await self.stop()
        if self._device_gone:
            raise DeviceGoneError

    def request_stop(self) -> None:
        """Does what SIGTERM does."""
        self._stop_requested.set()

    @property
    def metrics_registry(self) -> CollectorRegistry:
        """What /metrics has."""
        return self._metrics.registry

    async def stop(self) -> None:
        """Says that it is not ready, serves on for drain_delay_seconds, refuses new calls, and answers every accepted one.

        What is not answered within drain_seconds fails as UNAVAILABLE.
        """
        settings = self._settings
        _log.info("draining", queued_calls=self._dispatcher.queued_calls)
        await self._health.drain()
        if not self._device_gone:
            await asyncio.sleep(settings.drain_delay_seconds)
        self._service.drain()
        self._evaluation.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.drain_seconds):
                await self._admission.idle()
                await self._quiet()
        self._dispatcher.abandon(lambda: ShuttingDown("the server was stopped before the call's turn came", retry_after_seconds=0.1))
        await self._grpc.stop(min(_GOODBYE_SECONDS, settings.drain_seconds))
        await self._health.stop()
        self._device.close()
        if self._admin is not None:
            self._admin[0].shutdown()
            self._admin[0].server_close()
        _log.info("stopped")

    # Implementation details follow.

    async def _quiet(self) -> None:
        refused = -1
        while refused != self._service.refused_calls:
            refused = self._service.refused_calls
            await asyncio.sleep(_QUIET_SECONDS)

    def _build_front(self, tokens: Tokens | None) -> grpc.aio.Server:
        settings = self._settings
        interceptors = () if tokens is None else (callers.Authentication(tokens, self._metrics),)
        server = grpc.aio.server(interceptors=interceptors, options=listen.server_options(settings))
        caller_of = callers.by_token if tokens else callers.by_certificate if settings.tls_client_ca_file else callers.by_host
        observer = front.Observer(self._metrics, caller_of, named=tokens is not None)
        server.add_generic_rpc_handlers(
            (
                front.unary_handlers(SERVICE_NAME, self._service.methods(), observer, self._admission),
                front.evaluation_handlers(EVALUATION_SERVICE_NAME, self._evaluation, observer, self._admission),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health_servicer, server)
        if settings.reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            reflection.enable_server_reflection((SERVICE_NAME, EVALUATION_SERVICE_NAME, health_name, reflection.SERVICE_NAME), server)
        return server

    async def _publish_health(self, name: str, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health_servicer.set(name, status)

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
        )
