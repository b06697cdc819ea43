# SPDX-License-Identifier: Apache-2.0
"""Our own HTTP/2 front and grpcio's: the same requests, good and bad, get the same answers, statuses, messages and details.

Only how a call was computed (Execution) is not compared. Where the two differ, the test says how, and why.
"""

import asyncio
import gzip
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import hpack
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame

from lossd import testing
from lossd.v1 import evaluation_service_pb2 as pb
from lossd.v1 import loss_service_pb2, response_pb2
from lossd_server.front.tokens import make_token
from samples import SAMPLES
from support.encoded_requests import encoded
from support.harness import call, square, wrong
from support.raw_connection import Wire

TRANSPORTS = ("lossd", "grpcio")
MAX_REQUEST_BYTES = 16 << 20

LOSSES = "/lossd.v1.LossService/"
BATCH, STREAM, EVALUATE = (f"/lossd.v1.EvaluationService/{name}" for name in ("ScoreBatch", "ScoreStream", "Evaluate"))
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
INFO = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

RPC, MESSAGE = encoded("mse_loss", input=[3.0], target=[1.0])
MSE = LOSSES + RPC


class Answer(NamedTuple):
    """What a caller sees of an RPC."""

    messages: list[str]
    code: str
    text: str | None
    details: str
    pushback: str | None


class Pair(NamedTuple):
    """A channel to a server of each transport."""

    lossd: grpc.Channel
    grpcio: grpc.Channel
    addresses: tuple[str, str]

    def answers(self, path: str, *messages: bytes, **options: Any) -> tuple[Answer, Answer]:
        return answer_of(self.lossd, path, messages, **options), answer_of(self.grpcio, path, messages, **options)


_RESPONSES: dict[str, Any] = {
    BATCH: pb.ScoreBatchResponse,
    STREAM: pb.ScoreStreamResponse,
    EVALUATE: pb.EvaluateResponse,
    CHECK: health_pb2.HealthCheckResponse,
    WATCH: health_pb2.HealthCheckResponse,
    INFO: reflection_pb2.ServerReflectionResponse,
    f"{LOSSES}GetServerInfo": loss_service_pb2.GetServerInfoResponse,
}


def readable(path: str, messages: Sequence[bytes]) -> list[str]:
    """The responses without what says how they were computed; outcomes of a stream in the order of their ids."""
    parsed = [_RESPONSES.get(path, response_pb2.LossResponse).FromString(message) for message in messages]
    if path == STREAM:
        outcomes = sorted([outcome for message in parsed for outcome in message.outcomes], key=lambda outcome: outcome.id)
        for outcome in outcomes:
            outcome.outcome.response.ClearField("execution")
        return [str(outcome) for outcome in outcomes]
    for message in parsed:
        if path == BATCH:
            for outcome in message.outcomes:
                outcome.response.ClearField("execution")
        elif isinstance(message, response_pb2.LossResponse):
            message.ClearField("execution")
    return [str(message) for message in parsed]


def answer_of(
    channel: grpc.Channel, path: str, messages: Sequence[bytes], *, first_only: bool = False, timeout: float = 30, **options: Any
) -> Answer:
    call = channel.stream_stream(path)(iter(messages), timeout=timeout, **options)
    received: list[bytes] = []
    try:
        for message in call:
            received.append(message)
            if first_only:
                call.cancel()
                break
    except grpc.RpcError:
        pass
    trailing = dict(call.trailing_metadata() or ())
    details = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    return Answer(readable(path, received), call.code().name, call.details(), str(details), trailing.get("grpc-retry-pushback-ms"))


def both(**settings: Any) -> Iterator[Pair]:
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with (
        testing.server(**settings) as first,
        testing.server(**settings, transport="grpcio") as second,
        grpc.insecure_channel(first, limits) as one,
        grpc.insecure_channel(second, limits) as two,
    ):
        yield Pair(one, two, (first, second))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    yield from both(max_request_bytes=MAX_REQUEST_BYTES)


TOKEN, LINE = make_token("nightly")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Servers that want a token."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(LINE + "\n")
    tokens.chmod(0o600)
    yield from both(tokens_file=str(tokens))


# ---- what gets the same answer


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_and_error_input_of_a_loss(pair: Pair, name: str) -> None:
    loss = SAMPLES[name]
    calls = [encoded(name, **sample.kwargs, reduction=reduction) for sample in loss.samples for reduction in loss.reductions]
    calls += [encoded(name, **error.kwargs) for error in loss.errors]
    for rpc, message in calls:
        ours, theirs = pair.answers(LOSSES + rpc, message)
        assert ours == theirs
    members = {field.message_type.name: field.name for field in pb.LossCall.DESCRIPTOR.fields if field.message_type}
    batch = pb.ScoreBatchRequest()
    for rpc, message in calls:
        if len(message) > 1 << 20:
            continue
        getattr(batch.calls.add(), members[f"{rpc}Request"]).MergeFromString(message)
    ours, theirs = pair.answers(BATCH, batch.SerializeToString())
    assert ours == theirs


def stream_of(*messages: pb.ScoreStreamRequest) -> list[bytes]:
    return [message.SerializeToString() for message in messages]


def numbered(*calls: tuple[int, pb.LossCall], cancel: Sequence[int] = (), timeout: float | None = None) -> pb.ScoreStreamRequest:
    message = pb.ScoreStreamRequest(cancelled_ids=cancel)
    for id_, each in calls:
        message.calls.add(id=id_, call=each, timeout_seconds=timeout)
    return message


def series(**calls: pb.LossCall) -> bytes:
    message = pb.EvaluateRequest()
    for name, each in calls.items():
        message.calls.add(series=name, call=each)
    return message.SerializeToString()


NOTHING = b""
LARGE = encoded("mse_loss", input=[1.0] * 5000, target=[0.5] * 5000)[1]
MALFORMED = b"\x0a\xff\xff"
HALF_MALFORMED = b"\x0a\x03" + MALFORMED + pb.ScoreBatchRequest(calls=[square(2)]).SerializeToString()
OTHER_LOSS = series(a=call("l1_loss", input=[1.0], target=[0.0]))
SAME: dict[str, tuple[str, list[bytes], str, dict[str, Any]]] = {
    "a call": (MSE, [MESSAGE], "OK", {}),
    "a call that says gzip": (MSE, [MESSAGE], "OK", {"compression": grpc.Compression.Gzip}),
    "a large call by gzip": (MSE, [LARGE], "OK", {"compression": grpc.Compression.Gzip}),
    "a large call by deflate": (MSE, [LARGE], "OK", {"compression": grpc.Compression.Deflate}),
    "an empty message": (MSE, [NOTHING], "INVALID_ARGUMENT", {}),
    "malformed protobuf": (MSE, [MALFORMED], "INVALID_ARGUMENT", {}),
    "no message": (MSE, [], "INVALID_ARGUMENT", {}),
    "two messages": (MSE, [MESSAGE, MESSAGE], "INVALID_ARGUMENT", {}),
    "an unknown method": (f"{LOSSES}NoLoss", [MESSAGE], "UNIMPLEMENTED", {}),
    "an unknown service": ("/no.Service/Method", [MESSAGE], "UNIMPLEMENTED", {}),
    "much metadata": (MSE, [MESSAGE], "OK", {"metadata": [("a", "b" * 8000)]}),
    "server info": (f"{LOSSES}GetServerInfo", [NOTHING], "OK", {}),
    "server info, malformed": (f"{LOSSES}GetServerInfo", [MALFORMED], "INVALID_ARGUMENT", {}),
    "health": (CHECK, [NOTHING], "OK", {}),
    "health of an unknown service": (CHECK, [health_pb2.HealthCheckRequest(service="x").SerializeToString()], "NOT_FOUND", {}),
    "health, malformed": (CHECK, [MALFORMED], "INVALID_ARGUMENT", {}),
    "health, a large message": (CHECK, [bytes(5000)], "RESOURCE_EXHAUSTED", {}),
    "watch": (WATCH, [NOTHING], "CANCELLED", {"first_only": True}),
    "watch of an unknown service": (WATCH, [b"\x0a\x01x"], "CANCELLED", {"first_only": True}),
    "reflection": (INFO, [b"\x3a\x00", b"\x22\x14lossd.v1.LossService"], "OK", {}),
    "reflection, malformed": (INFO, [MALFORMED], "INVALID_ARGUMENT", {}),
    "an empty batch": (BATCH, [NOTHING], "OK", {}),
    "a batch, malformed": (BATCH, [MALFORMED], "INVALID_ARGUMENT", {}),
    "a batch, one call malformed": (BATCH, [HALF_MALFORMED], "OK", {}),
    "a stream without messages": (STREAM, [], "OK", {}),
    "a stream with an id twice": (STREAM, stream_of(numbered((1, square(2)), (1, square(3)))), "OK", {}),
    "a stream, cancelled ids": (STREAM, stream_of(numbered((1, square(2)), cancel=[1, 5]), numbered(cancel=[6])), "OK", {}),
    "a stream, too late": (STREAM, stream_of(numbered((1, square(2)), timeout=-1.0)), "OK", {}),
    "a stream, no number": (STREAM, stream_of(numbered((1, square(2)), timeout=float("nan"))), "OK", {}),
    "a stream, malformed": (STREAM, [MALFORMED], "INVALID_ARGUMENT", {}),
    "an evaluation": (EVALUATE, [series(a=square(2), b=square(3)), series(a=square(4))], "OK", {}),
    "an evaluation of nothing": (EVALUATE, [], "OK", {}),
    "an evaluation, wrong call": (EVALUATE, [series(a=square(2)), series(b=square(2), a=wrong())], "INVALID_ARGUMENT", {}),
    "an evaluation, another loss": (EVALUATE, [series(a=square(2)), OTHER_LOSS], "INVALID_ARGUMENT", {}),
    "an evaluation, malformed": (EVALUATE, [MALFORMED], "INVALID_ARGUMENT", {}),
}


@pytest.mark.parametrize("case", SAME)
def test_both_transports_answer_the_same(pair: Pair, case: str) -> None:
    path, messages, code, options = SAME[case]
    ours, theirs = pair.answers(path, *messages, **options)
    assert ours == theirs
    assert ours.code == code


@pytest.mark.parametrize(
    ("path", "metadata", "code"),
    [
        (MSE, [("authorization", f"Bearer {TOKEN}")], "OK"),
        (MSE, [], "UNAUTHENTICATED"),
        (MSE, [("authorization", "Bearer wrong")], "UNAUTHENTICATED"),
        (MSE, [("authorization", f"Basic {TOKEN}")], "UNAUTHENTICATED"),
        (BATCH, [], "UNAUTHENTICATED"),
        (STREAM, [], "UNAUTHENTICATED"),
        (EVALUATE, [], "UNAUTHENTICATED"),
        (INFO, [], "UNAUTHENTICATED"),
        (f"{LOSSES}GetServerInfo", [], "UNAUTHENTICATED"),
        (CHECK, [], "OK"),
    ],
)
def test_both_transports_want_the_same_tokens(guarded: Pair, path: str, metadata: Any, code: str) -> None:
    ours, theirs = guarded.answers(path, MESSAGE if path == MSE else b"", metadata=metadata)
    assert ours == theirs
    assert ours.code == code


# ---- where they differ


def prefixed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4) + message


async def by_hand(address: str, body: bytes, *, whole: bool = True, **fields: str) -> str:
    """What is answered to a request that client libraries do not send: "HTTP STATUS", "gRPC STATUS" or the frame that refuses it."""
    named = {f":{name}" if name in ("method", "path") else name.replace("_", "-"): value for name, value in fields.items()}
    head = {
        ":method": "POST",
        ":scheme": "http",
        ":path": MSE,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
        **named,
    }
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        client = Wire(reader, writer)
        block = hpack.Encoder().encode({name: value for name, value in head.items() if value})
        client.send(HeadersFrame(1, block, flags=["END_HEADERS"]), DataFrame(1, body, flags=["END_STREAM"] if whole else []))
        decoder, answer = hpack.Decoder(), {}
        while True:
            frame = await client.next((HeadersFrame, RstStreamFrame, GoAwayFrame))
            if not isinstance(frame, HeadersFrame):
                return type(frame).__name__
            answer.update(decoder.decode(frame.data))
            if "END_STREAM" in frame.flags:
                return f"gRPC {answer['grpc-status']}" if "grpc-status" in answer else f"HTTP {answer[':status']}"
    finally:
        writer.close()


PLAIN, GZIP = prefixed(MESSAGE), {"grpc_encoding": "gzip"}
PACKED = gzip.compress(MESSAGE)
MALFORMED_TIMEOUT = "our front answers what is no gRPC request by an HTTP status; grpcio's parser ends it with INTERNAL"
CONTENT_TYPE = "our front takes protobuf only, and says so by an HTTP status as gRPC's document asks; grpcio does not look"
UNPACKING = "grpcio unpacks before anybody of ours sees the message, and calls what it cannot unpack INTERNAL"
ON_THE_WIRE: dict[str, tuple[bytes, dict[str, str], tuple[str, str], str]] = {
    "a call": (PLAIN, {}, ("gRPC 0", "gRPC 0"), ""),
    "deflate": (prefixed(zlib.compress(MESSAGE), 1), {"grpc_encoding": "deflate"}, ("gRPC 0", "gRPC 0"), ""),
    "gzip": (prefixed(PACKED, 1), GZIP, ("gRPC 0", "gRPC 0"), ""),
    "a bomb": (prefixed(gzip.compress(bytes(MAX_REQUEST_BYTES + 1)), 1), GZIP, ("gRPC 8", "gRPC 8"), ""),
    "half a message": (PLAIN[:-1], {}, ("gRPC 3", "gRPC 3"), ""),
    "half a prefix": (PLAIN[:3], {}, ("gRPC 3", "gRPC 3"), ""),
    "no time": (PLAIN, {"grpc_timeout": "0n"}, ("gRPC 4", "gRPC 4"), ""),
    "much metadata": (PLAIN, {"a": "b" * 20_000}, ("gRPC 8", "gRPC 8"), ""),
    "no such path": (PLAIN, {"path": "x"}, ("gRPC 12", "gRPC 12"), ""),
    "a malformed timeout": (PLAIN, {"grpc_timeout": "1x"}, ("HTTP 400", "gRPC 13"), MALFORMED_TIMEOUT),
    "a negative timeout": (PLAIN, {"grpc_timeout": "-1S"}, ("HTTP 400", "gRPC 13"), MALFORMED_TIMEOUT),
    "GET": (b"", {"method": "GET"}, ("HTTP 405", "RstStreamFrame"), "grpcio resets what is no POST"),
    "text": (PLAIN, {"content_type": "text/plain"}, ("HTTP 415", "gRPC 0"), CONTENT_TYPE),
    "JSON": (PLAIN, {"content_type": "application/grpc+json"}, ("HTTP 415", "gRPC 0"), CONTENT_TYPE),
    "no TE": (PLAIN, {"te": ""}, ("gRPC 0", "RstStreamFrame"), "our front needs no TE: it sends trailers to everybody"),
    "an unknown encoding": (prefixed(MESSAGE, 1), {"grpc_encoding": "br"}, ("gRPC 12", "gRPC 13"), UNPACKING),
    "no gzip": (prefixed(MESSAGE, 1), GZIP, ("gRPC 3", "gRPC 13"), UNPACKING),
    "half of a gzip": (prefixed(PACKED[:-3], 1), GZIP, ("gRPC 3", "gRPC 13"), UNPACKING),
    "no encoding": (prefixed(MESSAGE, 1), {}, ("gRPC 12", "gRPC 13"), UNPACKING),
}


@pytest.mark.parametrize("case", ON_THE_WIRE)
def test_what_is_answered_to_requests_that_client_libraries_do_not_send(pair: Pair, case: str) -> None:
    body, fields, expected, reason = ON_THE_WIRE[case]
    assert bool(reason) == (expected[0] != expected[1])

    async def ask() -> list[str]:
        async with asyncio.timeout(20):
            return [await by_hand(address, body, **fields) for address in pair.addresses]

    assert asyncio.run(ask()) == list(expected)


def test_a_message_that_is_too_large_has_one_status_and_two_texts(pair: Pair) -> None:
    """grpcio refuses it by itself, without our details."""
    for path in (MSE, BATCH, STREAM, EVALUATE):
        ours, theirs = pair.answers(path, bytes(MAX_REQUEST_BYTES + 1))
        assert (ours.code, theirs.code) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
        assert "REQUEST_TOO_LARGE" in ours.details
        assert (theirs.text, theirs.details) == (
            f"SERVER: Received message larger than max ({MAX_REQUEST_BYTES + 1} vs. {MAX_REQUEST_BYTES})",
            "",
        )


def test_metadata_above_the_limit_has_one_status_and_counts_that_differ(pair: Pair) -> None:
    """grpcio does not show us the headers that are its own, so they do not count."""
    ours, theirs = pair.answers(MSE, MESSAGE, metadata=[("a", "b" * 14_000), ("c", "d" * 2_400)])
    assert (ours.code, theirs.code) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
    assert "METADATA_TOO_LARGE" in ours.details
    assert "METADATA_TOO_LARGE" in theirs.details
