# SPDX-License-Identifier: Apache-2.0
"""Encoded requests -> validated calls: parse, decode and validate, or recognise the structure of an earlier request."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from lossd import _twins
from lossd.v1 import evaluation_service_pb2
from lossd_server.call import Call
from lossd_server.errors import CallError, MessageMalformed, TensorMissing
from lossd_server.log import unexpected
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.requests.decode import decode, parse
from lossd_server.requests.templates import Templates
from lossd_server.requests.validate import RequestLimits, validate

# A request of a LossCall by the member that holds it.
_SPECS: Final = {
    field.name: LOSSES[field.message_type.name.removesuffix("Request")]
    for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields
    if field.message_type
}
_LOSS_CALL: Final = _twins.twin("LossCall").DESCRIPTOR
_REQUESTS: Final = {spec.rpc: _twins.twin(f"{spec.rpc}Request").DESCRIPTOR for spec in LOSSES.values()}

# Calls of one message that are read as one: enough to leave little to each, few enough not to keep others waiting for long.
_MAX_TOGETHER: Final = 256
_MAX_TOGETHER_BYTES: Final = 1 << 20


class Reader:
    """Requests of LossService and LossCalls, given as bytes. Belongs to one event loop."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._structures = Templates()

    def read(self, spec: LossSpec, message: Encoded) -> Call:
        """The call of an encoded request. Raises CallError."""
        structure = self._structures.find(spec.rpc, message)
        call = None if structure is None else structure.call(message)
        if call is None:
            arguments, call = self._validate(spec, message)
            if structure is None:
                self._structures.learn(spec.rpc, _REQUESTS[spec.rpc], "", message, arguments, call)
        return call

    def read_call(self, message: Encoded, caller: str = "") -> Call:
        """The call of an encoded LossCall. Raises CallError, as the unary method would, and nothing else."""
        structure = self._structures.find(None, message)
        call = None if structure is None else structure.call(message)
        if call is None:
            try:
                envelope = _twins.envelope("LossCall").FromString(message)
            except DecodeError:
                raise MessageMalformed("", "the bytes are not a lossd.v1.LossCall") from None
            member = envelope.WhichOneof("request")
            if member is None:
                raise TensorMissing("request", "is required: the request of one of the losses that this server has")
            spec = _SPECS[member]
            try:
                arguments, call = self._validate(spec, getattr(envelope, member))
            except CallError:
                raise
            except Exception as error:  # noqa: BLE001 - it must not be the end of the calls beside it
                raise unexpected(spec.rpc, caller, error) from None
            if structure is None:
                self._structures.learn(None, _LOSS_CALL, f"{member}.", message, arguments, call)
        return call

    def read_together(self, messages: Sequence[Encoded], spec: LossSpec | None = None) -> Iterator[tuple[list[int], Call]]:
        """Those of the encoded LossCalls, or requests of a loss, that can be read as one, in one call each time, with their indices.

        A message that is not among them has to be read by itself, if only to find out what is wrong with it.
        """
        kind = None if spec is None else spec.rpc
        by_length: dict[int, list[int]] = {}
        for index, message in enumerate(messages):
            by_length.setdefault(len(message), []).append(index)
        for length, indices in by_length.items():
            most = max(1, min(_MAX_TOGETHER, _MAX_TOGETHER_BYTES // max(1, length)))
            for structure in self._structures.of_length(kind, length):
                left: list[int] = []
                for start in range(0, 0 if structure.unreduced else len(indices), most):
                    chosen = indices[start : start + most]
                    matching, call = structure.calls([messages[index] for index in chosen])
                    found = [index for index, matches in zip(chosen, matching, strict=True) if matches]
                    if call is not None:
                        yield found, call
                    left += [index for index, matches in zip(chosen, matching, strict=True) if not matches]
                indices = indices if structure.unreduced else left

    # Implementation details follow.

    def _validate(self, spec: LossSpec, message: Encoded) -> tuple[Any, Call]:
        name = f"{spec.rpc}Request"
        arguments = decode(spec, parse(name, message), lambda: _twins.public(name).FromString(message))
        return arguments, validate(spec, arguments, self._limits)
