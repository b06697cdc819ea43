# SPDX-License-Identifier: Apache-2.0
"""The addresses, options, credentials and metadata of channels to a lossd server."""

import itertools
import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any, Final

import grpc

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
MAX_MESSAGE_BYTES: Final = 64 << 20  # the server's default limit

_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


def channel_options(max_message_bytes: int, options: Sequence[tuple[str, Any]] = (), *, alone: bool = True) -> list[tuple[str, Any]]:
    """The default options, overridden by the caller's. A channel that is not `alone` gets its own connection."""
    transport_limit = max_message_bytes + 4096  # slightly larger, so that lossd's clearer error comes before gRPC's
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
    if not alone:
        ours["grpc.use_local_subchannel_pool"] = 1
    return list({**ours, **dict(options)}.items())


def addresses(target: str | Sequence[str] | None) -> list[str]:
    """The servers that `target` names or, if it is None, LOSSD_ADDRESS. Raises ValueError or TypeError if it names none."""
    given = os.environ.get("LOSSD_ADDRESS") if target is None else target
    listed = given.split(",") if isinstance(given, str) else list(given or ())
    if not all(isinstance(address, str) for address in listed):
        raise TypeError(f'an address is a str, "host:port"; {given!r} is none')
    found = [address.strip() for address in listed]
    if not found or not all(found):
        raise ValueError('no server address: give "host:port", several as "a:1,b:2", or set LOSSD_ADDRESS')
    for address in found:
        if re.match(r"(https?|grpcs?)://", address):
            raise ValueError(f"{address} is a URL: give host:port, and tls=True or credentials if the server uses TLS")
    return found


def channel_credentials(credentials: Any, tls: bool) -> grpc.ChannelCredentials | None:
    """The credentials of a channel; None means plaintext. Raises TypeError if `credentials` is not grpc.ChannelCredentials."""
    if credentials is not None and not isinstance(credentials, grpc.ChannelCredentials):
        cure = "to trust the certificate authority in a file, pass grpc.ssl_channel_credentials(Path(file).read_bytes())"
        raise TypeError(f"credentials is {type(credentials).__name__}, not grpc.ChannelCredentials: {cure}")
    return grpc.ssl_channel_credentials() if credentials is None and tls else credentials


def call_metadata(token: str | None, metadata: Sequence[tuple[str, str | bytes]]) -> tuple[tuple[str, str | bytes], ...] | None:
    """The metadata of every RPC. The token is by default LOSSD_TOKEN. Raises ValueError or TypeError for what cannot be sent."""
    name = "LOSSD_TOKEN" if token is None else "token"
    token = os.environ.get("LOSSD_TOKEN") if token is None else token
    if token is not None and not isinstance(token, str):
        raise TypeError(f"token is {type(token).__name__}, not str")
    if token and not re.fullmatch(r"[!-~]+", token):
        raise ValueError(
            f"{name} holds a space, a line break or another character that cannot be sent: call strip() on a token from a file"
        )
    for pair in metadata:
        _check_pair(pair)
    bearer = (("authorization", f"Bearer {token}"),) if token else ()
    return (*bearer, *metadata) or None


class Rotation:
    """Chooses the channel of the next call. Channels take turns; one whose server was not reached is skipped for a second."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._turns = itertools.cycle(range(count))
        self._out_until = [0.0] * count

    def next(self) -> int:
        """The index of the next channel."""
        if self._count == 1:
            return 0
        now = time.monotonic()
        for _ in range(self._count):
            turn = next(self._turns)
            if self._out_until[turn] <= now:
                return turn
        return next(self._turns)

    def leave_out(self, turn: int) -> None:
        """Skips the channel for a second, because its server was not reached."""
        self._out_until[turn] = time.monotonic() + 1.0


# Implementation details follow.


def _check_pair(pair: Any) -> None:
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str | bytes)):
        raise TypeError(f"metadata is a list of (name, value) pairs; {type(pair).__name__} {pair!r:.40} is none")
    name, value = pair
    if not re.fullmatch(r"[0-9a-z_.-]+", name):
        raise ValueError(f"the metadata name {name!r} cannot be sent: use lower-case letters, digits, '-', '_' and '.'")
    if not name.endswith("-bin") and not (isinstance(value, str) and re.fullmatch(r"[ -~]*", value)):
        raise ValueError(f"the metadata value of {name} cannot be sent as text: end the name with -bin, and pass bytes")
