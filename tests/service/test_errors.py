# SPDX-License-Identifier: Apache-2.0
"""How each error looks to the caller after the front has translated it."""

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hpack import Decoder
from structlog.testing import capture_logs

from lossd import testing
from lossd.v1 import regression_pb2, response_pb2
from lossd_server import errors
from lossd_server.front import status as front
from lossd_server.requests.reader import Reader


def all_errors(kind: type[errors.CallError] = errors.CallError) -> Iterator[type[errors.CallError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from all_errors(child)


LONG = "x" * 100_000


def instance(kind: type[errors.CallError]) -> errors.CallError:
    if issubclass(kind, errors.InvalidArgument):
        return kind("tail[1].output", LONG)
    if issubclass(kind, errors.TooLarge):
        return kind(LONG, limit=10**30, actual=10**40)
    if issubclass(kind, errors.Unavailable):
        return kind(LONG, retry_after_seconds=0.25)
    if issubclass(kind, errors.KernelFailure | errors.DeviceLost):
        return kind("MseLoss")
    if issubclass(kind, errors.Unexpected):
        return kind()
    return kind(LONG)


CODES = {
    errors.InvalidArgument: "INVALID_ARGUMENT",
    errors.TooLarge: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Unimplemented: "UNIMPLEMENTED",
    errors.NotFound: "NOT_FOUND",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.UploadTooSlow: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
    errors.KernelFailure: "INTERNAL",
    errors.DeviceLost: "INTERNAL",
    errors.Unexpected: "INTERNAL",
}


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if hasattr(kind, "reason")], ids=lambda kind: kind.__name__)
def test_every_error_has_its_code_reason_and_details_in_small_trailers(kind: type[errors.CallError]) -> None:
    (code,) = [code for base, code in CODES.items() if issubclass(kind, base)]
    error = instance(kind)
    sent = Decoder().decode(front.trailers(error))
    trailers = {str(name): str(value) for name, value in sent}
    assert Decoder().decode(front.trailers_only(error))[-len(sent) :] == sent
    assert {status.value[0]: status.name for status in grpc.StatusCode}[int(trailers["grpc-status"])] == code
    assert sum(len(key) + len(value) + 32 for key, value in trailers.items()) < 4096
    encoded = trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert (status.code, status.message) == (int(trailers["grpc-status"]), unquote(trailers["grpc-message"]))
    assert status.message
    details = {detail.TypeName(): detail for detail in status.details}
    info = error_details_pb2.ErrorInfo.FromString(details.pop("google.rpc.ErrorInfo").value)
    assert (info.reason, info.domain) == (kind.reason, "lossd")
    assert info.reason.replace("_", "").isupper()
    if issubclass(kind, errors.InvalidArgument):
        (violation,) = error_details_pb2.BadRequest.FromString(details.pop("google.rpc.BadRequest").value).field_violations
        assert violation.field == "tail[1].output"
        assert violation.description
    if issubclass(kind, errors.Unavailable):
        retry = error_details_pb2.RetryInfo.FromString(details.pop("google.rpc.RetryInfo").value)
        assert retry.retry_delay.ToTimedelta().total_seconds() == 0.25
        assert trailers["grpc-retry-pushback-ms"] == "250"
    else:
        assert "grpc-retry-pushback-ms" not in trailers
    assert not details


def test_reasons_are_unique() -> None:
    reasons = [kind.__dict__["reason"] for kind in all_errors() if "reason" in kind.__dict__]
    assert len(reasons) == len(set(reasons))


# ---- through a live server


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with testing.server(max_request_bytes=1 << 20) as address, grpc.insecure_channel(address) as channel:
        yield channel


def refusal(channel: grpc.Channel, rpc: str, message: bytes, **options: Any) -> tuple[grpc.StatusCode, str, error_details_pb2.ErrorInfo]:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"/lossd.v1.LossService/{rpc}")(message, timeout=30, **options)
    error: Any = raised.value
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
    assert sum(len(key) + len(value) for key, value in trailers.items()) < 4096
    text = str(status) + error.details()
    assert "Traceback" not in text
    assert ".py" not in text
    assert "/" not in error.details()
    return error.code(), error.details(), info


def test_a_bad_request_is_refused_with_its_field_and_the_next_one_is_answered(channel: grpc.Channel) -> None:
    secret = 31337.25
    request = regression_pb2.MseLossRequest()
    request.input.shape.append(3)
    request.input.float32_values.values.extend([secret, secret])
    request.target.CopyFrom(request.input)
    code, details, info = refusal(channel, "MseLoss", request.SerializeToString())
    assert (code.name, info.reason) == ("INVALID_ARGUMENT", "TENSOR_BYTE_LENGTH_MISMATCH")
    assert details.startswith("input: ")
    assert "31337" not in details
    request.input.shape[:] = request.target.shape[:] = [2]
    answer = channel.unary_unary("/lossd.v1.LossService/MseLoss")(request.SerializeToString(), timeout=30)
    assert response_pb2.LossResponse.FromString(answer).value == 0.0


@pytest.mark.parametrize("extra_bytes", [1, 1 << 20])
def test_a_message_over_the_limit_is_resource_exhausted(channel: grpc.Channel, extra_bytes: int) -> None:
    code, _, info = refusal(channel, "MseLoss", bytes((1 << 20) + extra_bytes))
    assert (code.name, info.reason) == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    assert info.metadata == {"limit_bytes": str(1 << 20), "actual_bytes": str((1 << 20) + extra_bytes)}


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    for rpc in ("MseLoss", "GetServerInfo"):
        code, _, info = refusal(channel, rpc, b"\xff\xff\xff")
        assert (code.name, info.reason) == ("INVALID_ARGUMENT", "MESSAGE_MALFORMED")


def test_an_unexpected_exception_is_not_shown_to_the_caller(channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*arguments: Any) -> Any:
        raise RuntimeError("secret in /etc/passwd")

    monkeypatch.setattr(Reader, "read", bug)
    with capture_logs() as logs:
        code, details, info = refusal(channel, "MseLoss", b"")
    assert (code.name, info.reason) == ("INTERNAL", "UNEXPECTED")
    assert "this is a bug" in details
    assert "secret" not in details
    (entry,) = [entry for entry in logs if entry["event"] == "unexpected_exception"]
    assert entry["error"] == "RuntimeError"
    assert entry["where"][-1].startswith("bug:")
    assert "secret" not in str(entry)
    assert "/" not in str(entry)
