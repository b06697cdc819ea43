# SPDX-License-Identifier: Apache-2.0
"""Services that are not lossd's on the front: that of gRPC's interoperability tests, called by grpcio. The clients that gRPC tests
with are in tests/conformance.
"""

from collections.abc import Iterator

import grpc
import pytest

from conformance.interop_server import MESSAGES, SERVICE, interop_server


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with interop_server() as address, grpc.insecure_channel(address) as made:
        yield made


def answers(channel: grpc.Channel, method: str, *messages: bytes) -> list[bytes]:
    return list(channel.stream_stream(f"/{SERVICE}/{method}")(iter(messages), timeout=30))


def test_unary_calls(channel: grpc.Channel) -> None:
    assert answers(channel, "EmptyCall", b"") == [b""]
    (response,) = answers(channel, "UnaryCall", MESSAGES["SimpleRequest"](response_size=100_000).SerializeToString())
    assert len(MESSAGES["SimpleResponse"].FromString(response).payload.body) == 100_000


def test_streams(channel: grpc.Channel) -> None:
    upload = MESSAGES["StreamingInputCallRequest"](payload={"body": bytes(1000)}).SerializeToString()
    (response,) = answers(channel, "StreamingInputCall", upload, upload)
    assert MESSAGES["StreamingInputCallResponse"].FromString(response).aggregated_payload_size == 2000
    wanted = MESSAGES["StreamingOutputCallRequest"](response_parameters=[{"size": 1}, {"size": 2}]).SerializeToString()
    for method, count in (("StreamingOutputCall", 1), ("FullDuplexCall", 3)):
        responses = [MESSAGES["StreamingOutputCallResponse"].FromString(each) for each in answers(channel, method, *[wanted] * count)]
        assert [len(response.payload.body) for response in responses] == [1, 2] * count


@pytest.mark.parametrize("method", ["UnaryCall", "FullDuplexCall"])
def test_statuses(channel: grpc.Channel, method: str) -> None:
    request = MESSAGES["SimpleRequest"](response_status={"code": 2, "message": "as it was asked for"}).SerializeToString()
    with pytest.raises(grpc.RpcError) as raised:
        answers(channel, method, request)
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.UNKNOWN, "as it was asked for")


def test_unknown_methods_and_services(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        answers(channel, "UnimplementedCall", b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
