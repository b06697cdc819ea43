# SPDX-License-Identifier: Apache-2.0
"""What an operator sees: /metrics, GetServerInfo, health and reflection."""

import asyncio
import math
import urllib.request

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

import lossd
from lossd_server.config import Settings
from lossd_server.losses import LOSSES
from lossd_server.server import Server


def test_metrics_count_calls_by_method_and_code_and_batches_by_loss() -> None:
    async def run() -> str:
        server = Server(Settings(listen="127.0.0.1:0", admin_listen="127.0.0.1:0", device="cpu", log_level="error"))
        await server.start()
        async with lossd.AsyncClient(server.address) as client:
            for _ in range(3):
                await client.mse_loss(torch.zeros(4), torch.ones(4))
            with pytest.raises(lossd.InvalidArgumentError):
                await client.mse_loss(torch.full((4,), math.nan), torch.ones(4), reject_non_finite=True)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{server.admin_address}/metrics").read().decode())
        await server.stop()
        return page

    page = asyncio.run(run())
    samples = {
        (sample.name, *(sample.labels.get(label, "") for label in ("grpc_method", "grpc_code", "loss"))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    assert samples["grpc_server_handled_total", "MseLoss", "OK", ""] == 3
    assert samples["grpc_server_handled_total", "MseLoss", "INVALID_ARGUMENT", ""] == 1
    assert samples["grpc_server_handling_seconds_count", "MseLoss", "", ""] == 4
    assert samples["lossd_batch_calls_sum", "", "", "mse_loss"] == 3
    assert samples["lossd_batch_calls_count", "", "", "mse_loss"] == 3
    assert samples["lossd_queue_calls", "", "", ""] == 0
    assert samples["lossd_queue_bytes", "", "", ""] == 0


def test_server_info_says_what_the_server_is(client: lossd.Client) -> None:
    info = client.server_info()
    assert info.torch_version == torch.__version__
    assert list(info.devices) == ["cpu"]
    assert list(info.losses) == sorted(LOSSES)
    assert info.max_request_bytes == Settings().max_request_bytes
    assert info.max_operations >= 6 * 10**10, "what the device does in two seconds: not 0, which is the setting's default"


@pytest.mark.parametrize("service", ["", "lossd.v1.LossService", "lossd.v1.EvaluationService", "liveness", "readiness"])
def test_health_is_serving(address: str, service: str) -> None:
    with grpc.insecure_channel(address) as channel:
        response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (response,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(requests, timeout=10)
    listed = {service.name for service in response.list_services_response.service}
    assert {"lossd.v1.LossService", "lossd.v1.EvaluationService", "grpc.health.v1.Health"} <= listed
