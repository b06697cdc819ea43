# SPDX-License-Identifier: Apache-2.0
"""The client's methods are torch's functions: the same names, the same arguments in the same order, the same defaults."""

import inspect

import pytest
import torch
import torch.nn.functional as F

import lossd
from lossd._codec import CallOptions
from lossd_server.losses import LOSSES

# torch's deprecated spellings of `reduction`; how to chunk, which the server chooses.
NOT_OURS = {"size_average", "reduce", "options"}
OURS = {"self", "return_statistics", "options", "allow_any_target"}

FUNCTIONS = sorted(spec.name for spec in LOSSES.values() if spec.name != "adaptive_log_softmax_with_loss")


def _parameters(function: object, without: set[str]) -> list[tuple[str, object, bool]]:
    """(name, default, keyword-only) of each parameter, in order."""
    return [
        (parameter.name, parameter.default, parameter.kind is parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        if parameter.name not in without
    ]


@pytest.mark.parametrize("client", [lossd.Client, lossd.AsyncClient, lossd.Batch])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_order_and_defaults_are_torchs(name: str, client: type) -> None:
    assert _parameters(getattr(client, name), OURS) == _parameters(getattr(F, name), NOT_OURS)


def test_adaptive_softmax_takes_what_the_module_is_called_and_made_with() -> None:
    """`input, target` as the module's forward; `cutoffs` as its constructor; its parameters under their state_dict's names."""
    ours = inspect.signature(lossd.Client.adaptive_log_softmax_with_loss).parameters
    forward = list(inspect.signature(torch.nn.AdaptiveLogSoftmaxWithLoss.forward).parameters)[1:]
    assert [name.rstrip("_") for name in forward] == list(ours)[1:3]
    assert "cutoffs" in inspect.signature(torch.nn.AdaptiveLogSoftmaxWithLoss).parameters
    state = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4], head_bias=True).state_dict()
    assert {"head.weight", "head.bias", "tail.0.0.weight", "tail.0.1.weight"} == set(state)
    assert {"head_weight", "head_bias", "tail", "cutoffs", "reduction"} <= set(ours)
    assert ours["head_bias"].default is None
    assert ours["reduction"].default == "mean"


@pytest.mark.parametrize("name", [*FUNCTIONS, "adaptive_log_softmax_with_loss"])
def test_a_docstring_has_a_formula_every_argument_the_errors_and_the_source(name: str) -> None:
    method = getattr(lossd.Client, name)
    doc = inspect.getdoc(method) or ""
    assert "Raises:" in doc
    assert "Source: torch.nn." in doc
    described = doc.split("Args:")[1].split("Raises:")[0]
    flags = {"log_target", "log_input", "full", "swap"}  # said in the formula
    for parameter in inspect.signature(method).parameters:
        if parameter not in OURS:
            assert f"{parameter}:" in described or (parameter in flags and parameter in doc), parameter


@pytest.mark.parametrize("name", [*FUNCTIONS, "adaptive_log_softmax_with_loss"])
@pytest.mark.parametrize("client", [lossd.Client, lossd.AsyncClient, lossd.Batch])
def test_help_names_the_options_of_every_loss(client: type, name: str) -> None:
    described = (inspect.getdoc(getattr(client, name)) or "").split("Args:")[1].split("Raises:")[0]
    for option in ("return_statistics", *CallOptions.__annotations__):
        assert f"\n    {option}: " in described
