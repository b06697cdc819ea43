# SPDX-License-Identifier: Apache-2.0
"""A message of a stream for which there can never be room is refused at once, instead of waiting for itself."""

import grpc
import numpy as np
import pytest

from lossd.v1 import evaluation_service_pb2 as pb
from support.harness import Harness, Session, call, error_of, run, send


@pytest.mark.parametrize("method", ["ScoreStream", "Evaluate"])
def test_a_message_above_what_one_caller_may_have_in_flight_is_refused_at_once(method: str) -> None:
    values = np.zeros(400_000, np.float32)
    large = call("mse_loss", input=values, target=values)

    async def scenario(harness: Harness) -> None:
        if method == "ScoreStream":
            rpc = harness.stub.ScoreStream(timeout=20)
            await rpc.write(send((1, large)))
        else:
            rpc = harness.stub.Evaluate(timeout=20)
            await rpc.write(pb.EvaluateRequest(calls=[pb.SeriesCall(series="a", call=large)]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await (Session(rpc).next() if method == "ScoreStream" else rpc)
        error = error_of(raised.value)
        assert (error.code, error.reason) == (8, "REQUEST_TOO_LARGE")
        assert int(error.metadata["limit_bytes"]) < int(error.metadata["actual_bytes"])

    run(scenario, max_in_flight_bytes=4 << 20)
