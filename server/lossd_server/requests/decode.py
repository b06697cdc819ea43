# SPDX-License-Identifier: Apache-2.0
"""Request message -> Arguments. The schema defines what a request contains; only fields that are set are visited."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from lossd import twins
from lossd_server.errors import ShapeMismatch, TooManyFields
from lossd_server.losses.spec import Argument, Arguments, Flag, Group, Integer, Lengths, LossSpec, Real, Tensor
from lossd_server.losses.tensor import Encoded, Unpacked, decode_tensor
from lossd_server.requests import bounds, protobuf, skeleton

# The most messages of a list in a request. To read one costs far more than to send its two bytes.
_MAX_GROUPS: Final = 128

# Of larger requests the parser, which copies, gets only what remains without the payloads.
IN_ONE_PIECE_ABOVE_BYTES: Final = 4 << 20


def parse(message_name: str, payload: Encoded) -> Any:
    """Parses a message of lossd.v1, given its name, to its twin. Raises MessageMalformed, TooManyFields or ShapeMismatch."""
    twin = twins.twin(message_name)
    bounds.check(payload, twin.DESCRIPTOR)
    return protobuf.parse(twin, payload)


def read(spec: LossSpec, message: Encoded) -> Arguments:
    """The arguments of an encoded request. Raises MessageMalformed, TooManyFields, or InvalidArgument, naming the field."""
    name = f"{spec.rpc}Request"
    if len(message) <= bounds.ABOVE_BYTES:
        return decode(spec, parse(name, message), message)
    twin = twins.twin(name)
    bounds.check(message, twin.DESCRIPTOR)
    try:
        found = skeleton.without_payloads(twin.DESCRIPTOR, message)
    except protobuf.Malformed:
        raise protobuf.malformed(twin) from None
    if found is not None:
        thin, spans = found
        view = memoryview(message)
        with suppress(Unpacked):
            return _read(spec.arguments, parse(name, thin), "", payloads={path: view[start:end] for path, (start, end) in spans.items()})
    if len(message) > IN_ONE_PIECE_ABOVE_BYTES:
        raise TooManyFields(
            "the request is large, and has a field twice, or values in several pieces: send each tensor's values packed in one piece",
            limit=1,
            actual=2,
        )
    return decode(spec, protobuf.parse(twin, message), message)


def decode(spec: LossSpec, message: Any, original: Encoded | None = None) -> Arguments:
    """The arguments of a request, given as the twin of its message. Raises MessageMalformed, or InvalidArgument, naming the field.

    `original` has the bytes that were parsed. They are parsed again, with the public class, only for values that a twin cannot read:
    elements that are not packed. Without them those elements come from the twin, which has lost the order of packed and single
    elements of a field.
    """
    with suppress(Unpacked):
        return _read(spec.arguments, message, "")
    whole = message.SerializeToString() if original is None else original
    return _read(spec.arguments, protobuf.parse(twins.public(f"{spec.rpc}Request"), whole), "", public=True)


def _read(
    known: Mapping[str, Argument], message: Any, prefix: str, *, public: bool = False, payloads: Mapping[str, Encoded] = {}
) -> Arguments:
    """`payloads` are the payloads that were left out of the message, by path."""
    arguments = Arguments()
    for field, value in message.ListFields():
        name = field.name
        argument = known.get(name)
        if type(argument) is Tensor:
            arguments[name] = decode_tensor(value, prefix + name, public=public, payload=payloads.get(prefix + name))
        elif type(argument) is Lengths:
            arguments[name] = value  # not a tuple, which would take five times the memory
        elif type(argument) is Group:
            if argument.repeated:
                if len(value) > _MAX_GROUPS:
                    raise ShapeMismatch(prefix + name, f"has {len(value)} entries; at most {_MAX_GROUPS} are supported")
                arguments[name] = [
                    _read(argument.arguments, item, f"{prefix}{name}[{index}].", public=public, payloads=payloads)
                    for index, item in enumerate(value)
                ]
            else:
                arguments[name] = _read(argument.arguments, value, f"{prefix}{name}.", public=public, payloads=payloads)
        else:
            # 0.0 and -0.0 are equal, so calls with either may share a batch: -0.0 becomes 0.0.
            arguments[name] = value + 0.0 if type(value) is float else value
    arguments.given = frozenset(arguments)
    for name, argument in known.items():
        if isinstance(argument, Real | Integer | Flag) and name not in arguments and argument.default is not None:
            arguments[name] = argument.default
    return arguments
