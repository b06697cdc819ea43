# SPDX-License-Identifier: Apache-2.0
"""Valid calls of every loss: what honest callers send, and what hostile ones start from."""

from dataclasses import dataclass
from typing import Any

from lossd.v1 import evaluation_service_pb2
from lossd_server.losses import LOSSES
from lossd_server.requests.decode import decode, parse
from lossd_server.requests.validate import RequestLimits, validate
from samples import SAMPLES
from support.encoded_requests import encoded

MEMBERS = {
    field.message_type.name.removesuffix("Request"): field.name
    for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields
    if field.message_type
}


@dataclass(frozen=True, eq=False)
class Valid:
    """A call that must be answered. `name` is the client's method."""

    name: str
    rpc: str
    message: bytes
    kwargs: dict[str, Any]

    @property
    def may_be_evaluated(self) -> bool:
        """Whether Evaluate takes it: unreduced values have no value over a series."""
        return self.kwargs["reduction"] != "none"


def corpus(max_bytes: int = 1 << 16) -> list[Valid]:
    """Every sample of every loss under every reduction, in a fixed order, up to a size."""
    calls = []
    for name, loss in SAMPLES.items():
        for sample in loss.samples:
            for reduction in loss.reductions:
                kwargs = {**sample.kwargs, "reduction": reduction}
                rpc, message = encoded(name, **kwargs)
                if len(message) <= max_bytes:
                    validate(LOSSES[rpc], decode(LOSSES[rpc], parse(f"{rpc}Request", message)), RequestLimits())
                    calls.append(Valid(name, rpc, message, kwargs))
    assert len({call.rpc for call in calls}) == len(LOSSES)
    return calls
