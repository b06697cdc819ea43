# SPDX-License-Identifier: Apache-2.0
"""The vectors leave nothing out: each loss, reduction, element type, option and reason of an error has one."""

import base64
import json
import re
from typing import Any

import pytest

import lossd
from golden.encoding import DTYPES, Json
from golden.files import FILES, HERE, INDEX, LIMITED, MESSAGES, every_file
from lossd_server import errors
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Flag, Group, Integer, Kind, LossSpec, Real, Tensor
from support.arguments import argument

# Errors that no request has by what it holds: with where clients meet them.
ELSEWHERE = {
    "QUEUE_FULL": "the server's load",
    "IN_FLIGHT_FULL": "the server's load",
    "DEVICE_UNAVAILABLE": "the server's device",
    "DEVICE_LOST": "the server's device",
    "SHUTTING_DOWN": "the server's end",
    "TOKEN_INVALID": "headers",
    "METADATA_TOO_LARGE": "headers",
    "DEADLINE_EXPIRED_IN_QUEUE": "time",
    "UPLOAD_TOO_SLOW": "time",
    "CANCELLED": "the caller",
    "KERNEL_FAILURE": "a bug",
    "UNEXPECTED": "a bug",
    "SERVICE_UNKNOWN": "health checks",
    "TOO_MANY_SERIES": "10,001 series, which are a large file",
}
REDUCTIONS = {"none", "mean", "sum"}


def vectors_of(file: Json, outcome: str) -> list[Json]:
    """Those that an API can express, and that have a response or an error."""
    return [vector for vector in file["vectors"] if "arguments" in vector and outcome in vector]


def dtypes(file: Json, name: str) -> set[str]:
    """The element types that an argument has in calls that succeed."""
    held = [vector["arguments"][name] for vector in vectors_of(file, "response") if name in vector["arguments"]]
    return {value["dtype"] for value in held if isinstance(value, dict) and "dtype" in value}


def spec_of(file: Json) -> LossSpec:
    return LOSSES[file["rpc"]]


def tensors(spec: LossSpec) -> list[tuple[str, Tensor]]:
    """The names of arguments and what they may hold. An argument that is one of several fields is there for each."""
    return [(argument(spec.name, name), known) for name, known in spec.arguments.items() if isinstance(known, Tensor)]


def test_every_loss_has_a_file_and_every_file_is_in_the_index() -> None:
    assert [(file["loss"], file["rpc"]) for file in FILES] == [(spec.name, rpc) for rpc, spec in LOSSES.items()]
    listed = {*INDEX["files"], *INDEX["limited_files"], *INDEX["message_files"], "index.json"}
    assert listed == {path.name for path in HERE.glob("*.json")}
    assert INDEX["version"] == 1


def test_the_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in HERE.glob("*.json")) < 3_000_000


@every_file
def test_every_reduction(file: Json) -> None:
    found = {vector["arguments"].get("reduction") for vector in vectors_of(file, "response")}
    assert found == REDUCTIONS | {None} | ({"batchmean"} if spec_of(file).batch_mean else set())


@every_file
def test_every_element_type_of_every_tensor(file: Json) -> None:
    integers, floats = {"int32", "int64", "uint8"}, {"float16", "bfloat16", "float32", "float64"}
    wanted: dict[str, set[str]] = {}
    for name, known in tensors(spec_of(file)):
        taken = {Kind.REAL: set(DTYPES), Kind.INDEX: integers}.get(known.kind, floats)
        wanted[name] = wanted.get(name, set()) | taken
    assert {name: dtypes(file, name) for name in wanted} == wanted


@every_file
def test_every_option_at_another_value_than_its_default(file: Json) -> None:
    spec = spec_of(file)
    options: dict[str, Any] = {"precision": None, "reject_non_finite": False}
    for name, known in spec.arguments.items():
        if isinstance(known, Real | Integer | Flag):
            options[argument(spec.name, name)] = known.default
        elif isinstance(known, Group) and not known.repeated:
            assert any(name in vector["arguments"].get("distance_function", {}) for vector in vectors_of(file, "response")), name
        elif isinstance(known, Tensor) and not known.required:
            options[argument(spec.name, name)] = None
    for name, default in options.items():
        given = [vector["arguments"][name] for vector in vectors_of(file, "response") if name in vector["arguments"]]
        assert any(value != default for value in given), name


@every_file
def test_edges(file: Json) -> None:
    responses = [vector["response"] for vector in vectors_of(file, "response")]
    assert any(response.get("values", {}).get("shape") == [] for response in responses), "0-d"
    assert any("NaN" in json.dumps(response) for response in responses), "NaN"
    if file["loss"] not in ("ctc_loss",):  # which torch refuses
        assert any(0 in response.get("values", {}).get("shape", ()) for response in responses), "empty"
    if "ignore_index" in spec_of(file).arguments:
        assert any(response["statistics"]["ignored_count"] == response["statistics"]["element_count"] > 0 for response in responses)


@every_file
def test_every_range_and_type_has_an_error(file: Json) -> None:
    spec = spec_of(file)
    found = {
        (vector["error"]["reason"], violation["field"])
        for vector in vectors_of(file, "error")
        for violation in vector["error"]["field_violations"]
    }
    for name, known in spec.arguments.items():
        ranged = isinstance(known, Real) or (isinstance(known, Integer) and known.choices)
        if ranged and name != "variance_scalar":  # whose range is that of variances
            assert ("HYPERPARAMETER_OUT_OF_RANGE", name) in found, name
        if isinstance(known, Tensor) and known.kind in (Kind.FLOAT, Kind.INDEX) and known.required:
            assert ("DTYPE_UNSUPPORTED", name) in found, name


@every_file
def test_every_reason_that_the_documentation_of_the_loss_names(file: Json) -> None:
    raised = re.search(r"Raises:(.*?)\n\n", getattr(lossd.Client, file["loss"]).__doc__ or "", re.DOTALL)
    assert raised is not None
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", raised[1]))
    assert named
    assert named <= {vector["error"]["reason"] for vector in file["vectors"] if "error" in vector}


def test_every_reason_of_the_server() -> None:
    found = {vector["error"]["reason"] for file in (*FILES, *LIMITED, *MESSAGES) for vector in file["vectors"] if "error" in vector}
    outcomes = b"".join(base64.b64decode(vector["response"]) for vector in MESSAGES[0]["vectors"] if "response" in vector)
    assert b"ID_IN_USE" in outcomes
    found.add("ID_IN_USE")
    reasons = {kind.reason for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "reason")}
    assert found | set(ELSEWHERE) == reasons
    assert not found & set(ELSEWHERE)


@pytest.mark.parametrize("file", LIMITED, ids=lambda file: file["loss"])
def test_limited_files_name_flags_of_the_server(file: Json) -> None:
    from lossd_server.config import Settings

    assert set(file["settings"]) <= set(Settings.model_fields)
