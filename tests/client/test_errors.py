# SPDX-License-Identifier: Apache-2.0
"""What an error says: the argument's name, and what was probably meant; and that shapes are checked before anything is sent."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

import lossd
import lossd.testing
from lossd._explain import ARGUMENTS
from lossd._losses import LossMethods
from lossd.v1 import loss_service_pb2
from lossd_server.losses import LOSSES
from samples import SAMPLES, ErrorInput

ERRORS = [(loss.name, error) for loss in SAMPLES.values() for error in loss.errors if error.field]


@pytest.mark.parametrize(("loss", "error"), ERRORS, ids=[f"{loss}-{error.field}-{i}" for i, (loss, error) in enumerate(ERRORS)])
def test_errors_name_an_argument_of_the_method(client: lossd.Client, loss: str, error: ErrorInput) -> None:
    with pytest.raises(lossd.InvalidArgumentError) as caught:
        getattr(client, loss)(**error.kwargs)
    (violation,) = caught.value.field_violations
    assert violation.field.partition("[")[0].partition(".")[0] in inspect.signature(getattr(LossMethods, loss)).parameters
    assert caught.value.message.startswith(f"{violation.field}: ")
    assert caught.value.reason == error.reason


def test_every_field_with_an_argument_of_another_name_is_known() -> None:
    for spec in LOSSES.values():
        message = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].methods_by_name[spec.rpc].input_type
        arguments = inspect.signature(getattr(LossMethods, spec.name)).parameters
        for field in message.fields_by_name:
            argument = ARGUMENTS.get(spec.rpc, {}).get(field, field)
            assert argument in (*arguments, "precision", "reject_non_finite"), (spec.rpc, field)


LOGITS, LABELS = np.zeros((8, 10), "f4"), np.zeros(8, "i8")
TOKENS, WORDS = np.zeros((4, 6, 10), "f4"), np.zeros((4, 6), "i8")
HINTS: list[tuple[tuple[Any, Any], str]] = [
    (
        (LOGITS, LABELS.astype("f8")),
        "target: has shape [8]; it must be input's, [8, 10]; target is float64, so it is taken as class probabilities: pass integers for "
        "class indices",
    ),
    (
        (TOKENS, WORDS),
        "target: has shape [4, 6]; input of shape [4, 6, 10] makes it [4, 10]; classes are input's second extent, as in torch: pass "
        "input.flatten(0, -2) and target.flatten()",
    ),
    ((LOGITS, LABELS[:7]), "target: has shape [7]; input of shape [8, 10] makes it [8]"),
]


@pytest.mark.parametrize(("arguments", "message"), HINTS)
@pytest.mark.parametrize("batch", [False, True], ids=["call", "batch"])
def test_a_shape_that_does_not_fit_comes_with_what_was_probably_meant(
    client: lossd.Client, arguments: tuple[Any, Any], message: str, batch: bool
) -> None:
    with pytest.raises(lossd.InvalidArgumentError) as caught:  # noqa: PT012
        if not batch:
            client.cross_entropy(*arguments)
        with client.batch() as collected:
            pending = collected.cross_entropy(*arguments)
        pending.result()
    assert caught.value.message == message
    assert caught.value.reason == "SHAPE_MISMATCH"


def test_shapes_are_checked_before_anything_is_sent() -> None:
    async def main() -> None:
        async with lossd.AsyncClient("127.0.0.1:1") as nowhere:
            for arguments, message in HINTS:
                with pytest.raises(lossd.InvalidArgumentError) as caught:
                    await nowhere.cross_entropy(*arguments)
                assert caught.value.message == message

    asyncio.run(main())


SHAPES = [error for error in ERRORS if error[1].reason == "SHAPE_MISMATCH"]


@pytest.mark.parametrize(("loss", "error"), SHAPES, ids=[f"{loss}-{error.field}-{i}" for i, (loss, error) in enumerate(SHAPES)])
def test_what_is_said_before_sending_is_what_the_server_says(client: lossd.Client, loss: str, error: ErrorInput) -> None:
    with client.batch() as batch:  # which the server checks alone
        pending = getattr(batch, loss)(**error.kwargs)
    with pytest.raises(lossd.InvalidArgumentError) as theirs:
        pending.result()
    with pytest.raises(lossd.InvalidArgumentError) as ours:
        getattr(client, loss)(**error.kwargs)
    assert ours.value.details == theirs.value.details


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """The settings of a server that speaks TLS."""
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    return {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}


def failure(address: str, **options: Any) -> str:
    with lossd.Client(address, retry=False, **options) as client, pytest.raises(lossd.ConnectionFailedError) as caught:
        client.mse_loss([1.0], [1.0])
    return caught.value.message


def test_a_connection_that_cannot_be_made_comes_with_the_cure(certificates: dict[str, str]) -> None:
    trusting = grpc.ssl_channel_credentials()
    with lossd.testing.server(**certificates) as speaks_tls, lossd.testing.server() as speaks_none:
        assert "it uses TLS and this client does not: pass tls=True" in failure(speaks_tls)
        assert "not signed by an authority that this client trusts" in failure(speaks_tls, credentials=trusting)
        assert "the server does not use TLS" in failure(speaks_none, credentials=trusting)
    assert "nothing listens at this address" in failure(speaks_none)
    with lossd.Client(speaks_none) as client, pytest.raises(lossd.ConnectionFailedError, match="nothing listens at this address"):
        client.wait_until_ready(1.0)
    assert "check the address, host:port" in failure("no-such-host.invalid:1")


def test_a_handshake_that_failed_is_not_tried_again() -> None:
    with (
        lossd.testing.server() as address,
        lossd.Client(address, credentials=grpc.ssl_channel_credentials(), timeout=None) as client,
        pytest.raises(lossd.ConnectionFailedError),
    ):
        client.mse_loss([1.0], [1.0])
