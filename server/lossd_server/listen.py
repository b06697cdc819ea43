# SPDX-License-Identifier: Apache-2.0
"""What gRPC listens with: options that bound what clients may take before a call reaches us, and TLS."""

from pathlib import Path
from typing import Final

import grpc

from lossd_server import address, tls
from lossd_server.config import Settings

# A caller may send so many bytes of metadata; above the second number gRPC surely refuses, between the two perhaps.
MAX_METADATA_BYTES: Final = 8 << 10
ABSOLUTE_MAX_METADATA_BYTES: Final = 16 << 10

# RPCs at once on one connection. Clients hold further ones back; to those that do not gRPC answers with a reset.
MAX_CONCURRENT_STREAMS: Final = 1024

# RPCs that have arrived while the event loop was busy. Above the first number gRPC cancels some, above the second all that come; by
# its own default 1000 and 3000, which a burst of callers would reach.
MAX_PENDING_RPCS: Final = 8 << 10
_HARD_MAX_PENDING_RPCS: Final = 16 << 10

# The client libraries ping every 60 s while there are calls. Others may three times as often, with calls or without; those that
# ping still more often are disconnected.
MIN_PING_INTERVAL_SECONDS: Final = 20
_MAX_PING_STRIKES: Final = 2

# A client that vanished without a word is noticed after both together, and its calls give back what they hold.
KEEPALIVE_SECONDS: Final = 60
KEEPALIVE_TIMEOUT_SECONDS: Final = 20

# Whoever has not said within this time what every connection begins with, TLS included, is disconnected.
HANDSHAKE_SECONDS: Final = 20


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """The options of the gRPC server."""
    return [
        # Slightly more than the limits, so that our own error, which names the limit, is the one that is seen.
        ("grpc.max_receive_message_length", settings.max_request_bytes + 4096),
        ("grpc.max_send_message_length", settings.max_response_bytes + 4096),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", ABSOLUTE_MAX_METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
        ("grpc.server.max_pending_requests", MAX_PENDING_RPCS),
        ("grpc.server.max_pending_requests_hard_limit", _HARD_MAX_PENDING_RPCS),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_SECONDS * 1000),
        ("grpc.http2.max_ping_strikes", _MAX_PING_STRIKES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),  # for a client that lives and does not answer
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]


def bind(server: grpc.aio.Server, settings: Settings) -> str:
    """Adds the port, with TLS where it is set, and returns the address. Raises ValueError for certificates that cannot be used, and
    OSError where the address is not to be had.
    """
    listen = settings.listen
    credentials = None
    if settings.tls_cert_file:
        client_ca = Path(settings.tls_client_ca_file) if settings.tls_client_ca_file else None
        credentials = tls.server_credentials(Path(settings.tls_cert_file), Path(settings.tls_key_file), client_ca)
    try:
        port = server.add_insecure_port(listen) if credentials is None else server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise OSError(f"cannot listen on {listen}") from None
    return listen if listen.startswith("unix:") else f"{address.split(listen)[0]}:{port}"
