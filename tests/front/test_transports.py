# SPDX-License-Identifier: Apache-2.0
"""Our own HTTP/2 front and grpcio's answer the same requests, good and bad, with the same messages, statuses and details.

Only how a call was computed (Execution) is not compared. test_transport_differences.py holds the requests that they answer differently.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.front.tokens import make_token
from samples import SAMPLES
from support.encoded_requests import encoded
from support.harness import call, square, wrong
from support.transports import BATCH, CHECK, EVALUATE, INFO, LOSSES, MESSAGE, MSE, STREAM, WATCH, Pair, both

TOKEN, LINE = make_token("nightly")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Servers that want a token."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(LINE + "\n")
    tokens.chmod(0o600)
    yield from both(tokens_file=str(tokens))


@pytest.mark.parametrize("name", [name if name == "cross_entropy" else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLES])
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
def test_both_transports_accept_the_same_tokens(guarded: Pair, path: str, metadata: Any, code: str) -> None:
    ours, theirs = guarded.answers(path, MESSAGE if path == MSE else b"", metadata=metadata)
    assert ours == theirs
    assert ours.code == code
