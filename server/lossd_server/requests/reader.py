# SPDX-License-Identifier: Apache-2.0
"""Encoded requests -> validated calls: parse, decode and validate, or match the template of an earlier request."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from lossd import twins
from lossd.v1 import evaluation_service_pb2
from lossd_server.call import Call
from lossd_server.errors import CallError, MessageMalformed, TensorMissing
from lossd_server.log import unexpected
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.requests import bounds, decode, protobuf
from lossd_server.requests.templates import Templates
from lossd_server.requests.validate import RequestLimits, validate

# The losses by the member of LossCall that holds their request.
_SPECS: Final = {
    field.name: LOSSES[field.message_type.name.removesuffix("Request")]
    for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields
    if field.message_type
}
_LOSS_CALL: Final = twins.twin("LossCall").DESCRIPTOR
_REQUESTS: Final = {spec.rpc: twins.twin(f"{spec.rpc}Request").DESCRIPTOR for spec in LOSSES.values()}

# Calls of one message that are read as one: enough that each costs little, few enough that others do not wait long.
_MAX_TOGETHER: Final = 256
_MAX_TOGETHER_BYTES: Final = 1 << 20


class Reader:
    """Requests of LossService and LossCalls, given as bytes. Belongs to one event loop."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._templates = Templates()

    def read(self, spec: LossSpec, message: Encoded) -> Call:
        """The call of an encoded request. Raises CallError."""
        template = self._templates.find(spec.rpc, message)
        call = None if template is None else template.call(message)
        if call is None:
            arguments, call = self._validate(spec, message)
            if template is None:
                self._templates.learn(spec.rpc, _REQUESTS[spec.rpc], "", message, arguments, call)
        return call

    def read_call(self, message: Encoded, caller: str = "") -> Call:
        """The call of an encoded LossCall. Raises CallError, as the unary method would, and no other exception."""
        template = self._templates.find(None, message)
        call = None if template is None else template.call(message)
        if call is None:
            member, request = _request_of(message)
            spec = _SPECS[member]
            try:
                arguments, call = self._validate(spec, request)
            except CallError:
                raise
            except Exception as error:  # noqa: BLE001 - the other calls of the message must go on
                raise unexpected(spec.rpc, caller, error) from None
            if template is None:
                self._templates.learn(None, _LOSS_CALL, f"{member}.", message, arguments, call)
        return call

    def read_together(
        self, messages: Sequence[Encoded], indices: Sequence[int], spec: LossSpec | None = None
    ) -> Iterator[tuple[list[int], Call]]:
        """Reads LossCalls, or requests of `spec`, that differ only in their values as one call; yields their indices and that call.

        A message that no call includes must be read by itself, if only to find out what is wrong with it.
        """
        kind = None if spec is None else spec.rpc
        by_length: dict[int, list[int]] = {}
        for index in indices:
            by_length.setdefault(len(messages[index]), []).append(index)
        for length, rest in by_length.items():
            most = min(_MAX_TOGETHER, _MAX_TOGETHER_BYTES // max(1, length))
            for template in self._templates.of_length(kind, length):
                if len(rest) < 2 or most < 2 or template.unreduced:
                    continue
                left: list[int] = []
                for start in range(0, len(rest), most):
                    chosen = rest[start : start + most]
                    matching, call = template.calls([messages[index] for index in chosen])
                    if call is not None:
                        yield [index for index, matches in zip(chosen, matching, strict=True) if matches], call
                        left += [index for index, matches in zip(chosen, matching, strict=True) if not matches]
                    else:
                        left += chosen
                rest = left

    # Implementation details follow.

    def _validate(self, spec: LossSpec, message: Encoded) -> tuple[Any, Call]:
        arguments = decode.read(spec, message)
        return arguments, validate(spec, arguments, self._limits)


def _request_of(message: Encoded) -> tuple[str, Encoded]:
    """The member that is set in an encoded LossCall, and the encoded request in it. Raises CallError."""
    if len(message) > bounds.ABOVE_BYTES:
        with suppress(protobuf.Malformed, ValueError):
            (found,) = protobuf.fields(message, 0, len(message))
            member = _LOSS_CALL.fields_by_number.get(found.number)
            if member is not None and found.kind == protobuf.LENGTH:
                return member.name, memoryview(message)[found.start : found.stop]
        if len(message) > decode.IN_ONE_PIECE_ABOVE_BYTES:
            raise MessageMalformed("", "the bytes are not a lossd.v1.LossCall with one request")
    envelope = protobuf.parse(twins.envelope("LossCall"), message)
    member_name = envelope.WhichOneof("request")
    if member_name is None:
        raise TensorMissing("request", "is required: the request of one of the losses that this server has")
    if envelope.ByteSize() < len(message) and _count_requests(message) > 1:  # protobuf kept only the last
        raise MessageMalformed("request", "is set more than once; a call holds one request")
    return member_name, getattr(envelope, member_name)


def _count_requests(message: Encoded) -> int:
    """The number of requests in an encoded LossCall, at most two."""
    count = 0
    for found in protobuf.fields(message, 0, len(message)):
        count += found.kind == protobuf.LENGTH and found.number in _LOSS_CALL.fields_by_number
        if count > 1:
            break
    return count
