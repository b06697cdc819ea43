# SPDX-License-Identifier: Apache-2.0
"""The schema, the specs, the clients and the samples agree. Each failure names what was forgotten when a loss was added."""

import re
from pathlib import Path

import pytest

import lossd
from lossd.v1 import evaluation_service_pb2, loss_service_pb2, options_pb2
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Flag, Group, Integer, LossSpec, Real, Tensor
from reference import REFERENCE
from samples import SAMPLES

PROTO = Path(__file__).resolve().parents[2] / "proto" / "lossd" / "v1"
METHODS = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].methods_by_name
COMMON = {"reduction": 20, "precision": 21, "reject_non_finite": 22}

losses = pytest.mark.parametrize("spec", LOSSES.values(), ids=list(LOSSES))


def test_every_rpc_has_a_spec_and_every_spec_an_rpc() -> None:
    assert set(METHODS) - {"GetServerInfo"} == set(LOSSES), "an rpc of LossService without its LossSpec, or the other way round"


def test_every_loss_can_be_called_in_a_batch() -> None:
    members = {field.message_type.name for field in evaluation_service_pb2.LossCall.DESCRIPTOR.oneofs_by_name["request"].fields}
    assert members == {f"{rpc}Request" for rpc in LOSSES}, "a loss without its member of LossCall"


@losses
def test_every_loss_has_a_client_method_and_samples(spec: LossSpec) -> None:
    assert callable(getattr(lossd.Client, spec.name, None)), f"lossd._losses has no {spec.name}"
    assert spec.name in SAMPLES, f"tests/samples has nothing for {spec.name}"
    assert SAMPLES[spec.name].rpc == spec.rpc
    assert SAMPLES[spec.name].samples, f"tests/samples has no sample of {spec.name}"
    assert SAMPLES[spec.name].errors, f"tests/samples has no error input of {spec.name}"
    assert spec.name in REFERENCE, f"tests/reference has no {spec.name}"


@losses
def test_fields_are_the_specs_arguments(spec: LossSpec) -> None:
    fields = METHODS[spec.rpc].input_type.fields_by_name
    assert set(fields) == {*spec.arguments, *COMMON}, f"the fields of {spec.rpc}Request are not its LossSpec's arguments"
    for name, number in COMMON.items():
        assert fields[name].number == number
    for name, argument in spec.arguments.items():
        number = fields[name].number
        if isinstance(argument, Tensor):
            assert 1 <= number <= 8, f"{name} is a tensor: its number is one of 1 to 8"
            assert fields[name].message_type.name == "Tensor"
        elif isinstance(argument, Real | Integer | Flag) and fields[name].containing_oneof is None:
            assert 10 <= number <= 19, f"{name} is a hyper-parameter: its number is one of 10 to 19"


@losses
def test_presence_goes_with_the_default(spec: LossSpec) -> None:
    """A scalar whose default is not proto's zero is `optional`, and only such a scalar."""
    fields = METHODS[spec.rpc].input_type.fields_by_name
    for name, argument in spec.arguments.items():
        if isinstance(argument, Real | Integer | Flag):
            assert fields[name].has_presence == bool(argument.default or argument.default is None), name


@losses
def test_the_default_stands_in_the_fields_comment(spec: LossSpec) -> None:
    source = "\n".join(path.read_text() for path in PROTO.glob("*.proto"))
    body = source.split(f"message {spec.rpc}Request {{")[1].split("\n}\n")[0]
    for name, argument in spec.arguments.items():
        if isinstance(argument, Real | Integer | Flag) and argument.default:
            match = re.search(rf"// Default (\S+?)\.(?:\s[^\n]*)?\n(?:\s*//[^\n]*\n)*\s*optional \w+ {name} = ", body)
            assert match, f"{name} of {spec.rpc}Request does not say its default"
            said = match[1]
            assert (said == "true") if argument.default is True else (float(said) == argument.default), name


@losses
def test_groups_are_messages_with_the_same_fields(spec: LossSpec) -> None:
    fields = METHODS[spec.rpc].input_type.fields_by_name
    for name, argument in spec.arguments.items():
        if isinstance(argument, Group):
            assert {field.name for field in fields[name].message_type.fields} == set(argument.arguments), name


def test_only_kl_divergence_has_batch_mean() -> None:
    assert [rpc for rpc, spec in LOSSES.items() if spec.batch_mean] == ["KlDivLoss"]
    assert options_pb2.Reduction.Value("REDUCTION_UNSPECIFIED") == 0


def test_no_method_has_side_effects() -> None:
    for file in (loss_service_pb2, evaluation_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert method.GetOptions().idempotency_level == 1, f"{method.full_name} does not say NO_SIDE_EFFECTS"


def test_public_protos_import_only_our_own() -> None:
    for path in PROTO.glob("*.proto"):
        for imported in re.findall(r'^import "(.+)";', path.read_text(), re.MULTILINE):
            assert imported.startswith(("lossd/v1/", "google/protobuf/")), f"{path.name} imports {imported}"
