# SPDX-License-Identifier: Apache-2.0
"""What every channel to a lossd server is opened with."""

import json
from collections.abc import Sequence
from typing import Any, Final

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
MAX_MESSAGE_BYTES: Final = 64 << 20  # the server's default limit

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
            # Calls of a stream that broke are made again one by one, under the policy above.
            {"name": [{"service": "lossd.v1.EvaluationService", "method": "ScoreStream"}]},
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
)


def channel_options(max_message_bytes: int, options: Sequence[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    """Our options, and the caller's in place of ours of the same name."""
    transport_limit = max_message_bytes + 4096  # room for our own error, which says more, to be the one seen
    ours = {
        "grpc.max_send_message_length": transport_limit,
        "grpc.max_receive_message_length": transport_limit,
        "grpc.per_rpc_retry_buffer_size": transport_limit,  # without it gRPC does not retry requests above 256 KiB
        "grpc.enable_retries": 1,
        "grpc.service_config": _SERVICE_CONFIG,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.primary_user_agent": "lossd-python",
    }
    return list({**ours, **dict(options)}.items())
