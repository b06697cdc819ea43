# SPDX-License-Identifier: Apache-2.0
"""The Python client gives the recorded answers to the recorded arguments, on each of its paths, and encodes the recorded requests."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import lossd
import lossd.testing
from golden.encoding import Json, fields, to_tensor
from golden.files import LIMITED, assert_recorded, every_file, request_of
from lossd import twins
from lossd.v1 import options_pb2
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Argument, Flag, Group, Integer, Real
from support.arguments import argument
from support.encoded_requests import encoded

_DISTANCES = {
    "pairwise_distance": lossd.PairwiseDistance,
    "cosine_distance": lossd.CosineDistance,
    "squared_euclidean_distance": lossd.SquaredEuclideanDistance,
}


def to_kwargs(arguments: Json) -> dict[str, Any]:
    """The arguments of the client's method."""
    return {name: _to_argument(name, value) for name, value in arguments.items()}


def _to_argument(name: str, value: Any) -> Any:
    if name == "distance_function":
        ((kind, options),) = value.items()
        return _DISTANCES[kind](**{option: float(given) for option, given in options.items()})
    if name == "tail":
        return [(to_tensor(cluster["projection"]), to_tensor(cluster["output"])) for cluster in value]
    if isinstance(value, dict):
        return to_tensor(value)
    if isinstance(value, str) and name not in ("reduction", "precision"):
        return float(value) if value in ("NaN", "Infinity", "-Infinity") else int(value)
    return value


def expressible(file: Json) -> list[Json]:
    """The vectors that a typed API can express."""
    return [vector for vector in file["vectors"] if "arguments" in vector]


def assert_outcomes(file: Json, outcomes: Iterable[Any]) -> None:
    """Each outcome, a LossResult or an exception, is the recorded one."""
    for vector, outcome in zip(expressible(file), outcomes, strict=True):
        if "response" in vector:
            assert isinstance(outcome, lossd.LossResult), (vector["name"], outcome)
            assert_recorded(vector, outcome.value, dataclasses.asdict(outcome))
            continue
        error = vector["error"]
        assert isinstance(outcome, lossd.LossdError), (vector["name"], outcome)
        assert (outcome.code, outcome.reason, outcome.metadata) == (error["code"], error["reason"], error["metadata"]), vector["name"]
        found = [violation.field for violation in outcome.details.field_violations]
        assert found == [argument(file["loss"], violation["field"]) for violation in error["field_violations"]], vector["name"]


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except lossd.LossdError as error:
        return error


def outcomes_of(client: lossd.Client, file: Json) -> list[Any]:
    method = getattr(client, file["loss"])
    return [
        outcome_of(lambda vector=vector: method(**to_kwargs(vector["arguments"]), return_statistics=True)) for vector in expressible(file)
    ]


@every_file
def test_calls(client: lossd.Client, file: Json) -> None:
    assert_outcomes(file, outcomes_of(client, file))


@every_file
def test_a_batch(client: lossd.Client, file: Json) -> None:
    with client.batch() as batch:
        method = getattr(batch, file["loss"])
        pending = [method(**to_kwargs(vector["arguments"]), return_statistics=True) for vector in expressible(file)]
    assert_outcomes(file, [outcome_of(one.result) for one in pending])


@every_file
def test_a_shared_stream(address: str, file: Json) -> None:
    async def main() -> list[Any]:
        async with lossd.AsyncClient(address, coalesce=True) as client:
            method = getattr(client, file["loss"])
            calls = [method(**to_kwargs(vector["arguments"]), return_statistics=True) for vector in expressible(file)]
            return await asyncio.gather(*calls, return_exceptions=True)

    assert_outcomes(file, asyncio.run(main()))


def test_requests_above_the_limits_of_a_server() -> None:
    (file,) = LIMITED
    with lossd.testing.server(**file["settings"]) as address, lossd.Client(address, split=False) as client:
        assert_outcomes(file, outcomes_of(client, file))


# -- encoding


@every_file
def test_requests_are_encoded_as_recorded(file: Json) -> None:
    """But for defaults, which the client also sends."""
    spec = LOSSES[file["rpc"]]
    for vector in expressible(file):
        rpc, found = encoded(file["loss"], **to_kwargs(vector["arguments"]))
        defaults = _without_defaults(found, f"{rpc}Request", spec.arguments, fields(rpc, vector["arguments"]))
        assert (rpc, defaults) == (file["rpc"], request_of(vector)), vector["name"]


def _without_defaults(found: bytes, name: str, known: Any, given: Json) -> bytes:
    """The message without the options that are not given, which must have their defaults."""
    read = twins.twin(name).FromString(found)
    for field, _ in read.ListFields():
        if field.name in given:
            if isinstance(known.get(field.name), Group) and not known[field.name].repeated:
                inner, kind = getattr(read, field.name), known[field.name]
                part = _without_defaults(inner.SerializeToString(), field.message_type.name, kind.arguments, given[field.name])
                inner.ParseFromString(part)
            continue
        value = getattr(read, field.name)
        if field.name == "reduction":
            assert value == options_pb2.REDUCTION_MEAN
        elif isinstance(known[field.name], Group):
            assert field.name == "pairwise_distance"
            assert _without_defaults(value.SerializeToString(), field.message_type.name, known[field.name].arguments, {}) == b""
        else:
            assert value == _default(known[field.name]), field.name
        read.ClearField(field.name)
    encoded: bytes = read.SerializeToString()
    return encoded


def _default(known: Argument) -> Any:
    assert isinstance(known, Real | Integer | Flag)
    return known.default
