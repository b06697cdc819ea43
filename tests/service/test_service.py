# SPDX-License-Identifier: Apache-2.0
"""The service without gRPC: from the bytes of a request to the bytes of its response."""

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossd.v1 import loss_service_pb2, response_pb2
from lossd_server import errors
from lossd_server.admission import Admission
from lossd_server.compute.device import Device
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.queue.coalescer import Coalescer
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.requests.validate import RequestLimits
from lossd_server.service.scoring import Service
from support.encoded_requests import encoded

ROOT = Path(__file__).parents[2]

# Runs with gRPC out of reach. The client's package imports it for its own sake, so its modules are found without its __init__.
WITHOUT_GRPC = """
import importlib.abc, sys, types

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("grpc", "grpc_health", "grpc_reflection", "grpc_status"):
            raise ImportError(f"{name} is not for here")

sys.meta_path.insert(0, Block())
lossd = types.ModuleType("lossd")
lossd.__path__ = [sys.argv[1]]
sys.modules["lossd"] = lossd

import asyncio, struct
import torch
from lossd.v1 import loss_service_pb2, regression_pb2, response_pb2
from lossd_server.admission import Admission
from lossd_server.queue.coalescer import Coalescer
from lossd_server.compute.device import Device
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.losses import LOSSES
from lossd_server.metrics import Metrics
from lossd_server.service.scoring import Service
from lossd_server.requests.validate import RequestLimits

async def main():
    device = Device(torch.device("cpu"))
    service = Service(
        Dispatcher(Coalescer(), device, Metrics()),
        Admission(1 << 20),
        RequestLimits(),
        max_request_bytes=1 << 20,
        info=loss_service_pb2.GetServerInfoResponse(),
    )
    request = regression_pb2.MseLossRequest()
    request.input.shape.append(2)
    request.input.float32_values.values.extend([1.0, 2.0])
    request.target.shape.append(2)
    request.target.float32_values.values.extend([3.0, 5.0])
    answer = await service.score(LOSSES["MseLoss"], request.SerializeToString(), deadline=None, caller="")
    device.close()
    print(response_pb2.LossResponse.FromString(answer).value)

asyncio.run(main())
assert not any(name.split(".")[0] == "grpc" for name in sys.modules)
"""


@pytest.mark.slow
def test_decode_to_encode_works_if_grpc_cannot_be_imported() -> None:
    program = [sys.executable, "-W", "error", "-c", WITHOUT_GRPC, str(ROOT / "client" / "python" / "lossd")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout == "6.5\n"


def test_only_the_front_and_the_modules_that_start_it_import_grpc() -> None:
    importers = set()
    for path in (ROOT / "server" / "lossd_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0].startswith("grpc") for name in names):
                importers.add(path.stem)
    assert importers <= {"grpc_health", "reflection", "grpcio_front"}  # in front/


# ---- the service, on bytes


class Harness:
    """A service on this machine's CPU, with small limits."""

    def __init__(self, **limits: int) -> None:
        self.device = Device(torch.device("cpu"))
        self.admission = Admission(limits.pop("max_in_flight_bytes", 1 << 30))
        self.service = Service(
            Dispatcher(Coalescer(), self.device, Metrics()),
            self.admission,
            RequestLimits(**limits),
            max_request_bytes=1 << 20,
            info=loss_service_pb2.GetServerInfoResponse(server_version="7"),
        )

    async def score(self, name: str, **kwargs: Any) -> response_pb2.LossResponse:
        rpc, message = encoded(name, **kwargs)
        return response_pb2.LossResponse.FromString(await self.service.score(LOSSES[rpc], message))


ONES = np.ones((4, 3), np.float32)


def run(scenario: Any) -> None:
    """Runs the scenario against a service without a front, and fails if it still holds anything afterwards."""

    async def main() -> None:
        harness = Harness(max_response_bytes=1000, max_workspace_bytes=100_000, max_in_flight_bytes=10**6)
        try:
            await scenario(harness)
            assert harness.admission.in_flight_bytes == 0
        finally:
            harness.device.close()

    asyncio.run(main())


def test_every_method_of_the_schema_is_offered_and_answers_bytes() -> None:
    async def scenario(harness: Harness) -> None:
        schema = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"]
        assert {*LOSSES, "GetServerInfo"} == {method.name for method in schema.methods}
        info = loss_service_pb2.GetServerInfoResponse.FromString(await harness.service.get_server_info(b""))
        assert info.server_version == "7"
        assert (await harness.score("mse_loss", input=ONES, target=2 * ONES)).value == 1.0

    run(scenario)


def test_unreduced_values_have_the_shape_of_torchs_answer() -> None:
    async def scenario(harness: Harness) -> None:
        response = await harness.score("mse_loss", input=ONES, target=3 * ONES, reduction="none")
        assert list(response.values.shape) == [4, 3]
        assert list(response.values.float32_values.values) == [4.0] * 12
        assert response.statistics.sum == 48.0

    run(scenario)


def test_an_error_for_a_size_names_its_limit() -> None:
    async def scenario(harness: Harness) -> None:
        with pytest.raises(errors.RequestTooLarge) as error:
            await harness.service.score(LOSSES["MseLoss"], bytes((1 << 20) + 1))
        assert error.value.metadata == {"limit_bytes": str(1 << 20), "actual_bytes": str((1 << 20) + 1)}
        large = np.ones(300, np.float32)
        with pytest.raises(errors.ResponseTooLarge):
            await harness.score("mse_loss", input=large, target=large, reduction="none")
        huge = np.ones(20_000, np.float32)
        with pytest.raises(errors.WorkspaceTooLarge):
            await harness.score("mse_loss", input=huge, target=huge)

    run(scenario)


def test_a_call_in_flight_counts_until_its_answer_and_is_refused_above_the_budget() -> None:
    async def scenario(harness: Harness) -> None:
        with harness.admission.reserve(10**6 - (16 << 10)) as hold:
            assert harness.admission.in_flight_bytes == 10**6
            with pytest.raises(errors.InFlightFull) as error:
                await harness.score("mse_loss", input=ONES, target=ONES)
            assert error.value.retry_after_seconds > 0
            hold.release()
            await harness.score("mse_loss", input=ONES, target=ONES)
        with pytest.raises(errors.ShapeMismatch):
            await harness.score("mse_loss", input=ONES, target=ONES[:1])

    run(scenario)


def test_a_message_larger_than_the_whole_budget_is_accepted_if_nothing_else_is_in_flight() -> None:
    async def scenario(harness: Harness) -> None:
        with harness.admission.reserve(10**9) as hold:
            hold.grow(10**9)
            with pytest.raises(errors.InFlightFull):
                harness.admission.reserve(0)
        small, other = harness.admission.reserve(0), harness.admission.reserve(0)
        with pytest.raises(errors.InFlightFull):
            small.grow(10**6)
        small.release()
        small.release()
        assert harness.admission.in_flight_bytes == 16 << 10
        other.release()
        assert harness.admission.in_flight_bytes == 0

    run(scenario)


def test_a_draining_service_takes_nothing_new() -> None:
    async def scenario(harness: Harness) -> None:
        harness.service.drain()
        with pytest.raises(errors.ShuttingDown):
            await harness.score("mse_loss", input=ONES, target=ONES)

    run(scenario)


def test_large_requests_are_read_beside_the_event_loop_and_answered_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        small = await harness.score("cross_entropy", input=ONES, target=[0, 1, 2, 0])
        monkeypatch.setattr("lossd_server.service.scoring._LARGE_BYTES", 0)
        large = await harness.score("cross_entropy", input=ONES, target=[0, 1, 2, 0])
        assert (large.value, large.statistics) == (small.value, small.statistics)
        with pytest.raises(errors.TargetOutOfRange, match="class_indices"):
            await harness.score("cross_entropy", input=ONES, target=[0, 1, 2, 3])
        waiting = asyncio.create_task(harness.score("cross_entropy", input=ONES, target=[0, 1, 2, 0]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    run(scenario)
