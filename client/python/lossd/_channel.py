# SPDX-License-Identifier: Apache-2.0
"""What every channel to a lossd server is opened with."""

import json
from collections.abc import Sequence
from typing import Any, Final

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
MAX_MESSAGE_BYTES: Final = 64 << 20  # the server's default limit

_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


def channel_options(max_message_bytes: int, options: Sequence[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    """Our options, and the caller's in place of ours of the same name."""
    transport_limit = max_message_bytes + 4096  # room for our own error, which says more, to be the one seen
    ours = {
        "grpc.max_send_message_length": transport_limit,
        "grpc.max_receive_message_length": transport_limit,
        "grpc.enable_retries": 0,  # Core retries up to the call's deadline; gRPC gives up after five attempts, however short
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 2_000,
        "grpc.service_config": _SERVICE_CONFIG,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.primary_user_agent": "lossd-python",
    }
    return list({**ours, **dict(options)}.items())
