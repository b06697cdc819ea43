# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens on the wire: who is served, who is refused, and when a change of the file takes effect. Live servers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import lossd
from lossd import testing
from lossd._cli import lossd as cli
from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.front.tokens import make_token
from support.encoded_requests import encoded
from support.harness import Harness, error_of, run, send, square
from support.tokens import ALICE, ALICES_LINE, BOB, BOBS_LINE, STRANGER, bearer


def unary(client: lossd.Client) -> object:
    return client.mse_loss([3.0], [1.0])


def batch(client: lossd.Client) -> object:
    with client.batch() as calls:
        loss = calls.mse_loss([3.0], [1.0])
    return loss.result()


def evaluation(client: lossd.Client) -> object:
    evaluation = client.evaluation()
    evaluation.mse_loss([3.0], [1.0])
    return evaluation.total().value


def info(client: lossd.Client) -> object:
    return client.server_info() and 4.0


@pytest.mark.parametrize("coalesce", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("what", [unary, batch, evaluation, info])
def test_the_client_sends_its_token_and_says_who_was_refused(
    tokens_path: Path, what: Callable[[lossd.Client], object], coalesce: bool
) -> None:
    with testing.server(tokens_file=str(tokens_path)) as address:
        with lossd.Client(address, token=BOB, coalesce=coalesce) as client:
            assert what(client) == 4.0
        for token in (None, STRANGER):
            with lossd.Client(address, token=token, coalesce=coalesce) as client, pytest.raises(lossd.AuthenticationError) as error:
                what(client)
            assert (error.value.code, error.value.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize("coalesce", [False, True], ids=["unary", "stream"])
def test_the_asyncio_client_sends_its_token_too(tokens_path: Path, coalesce: bool) -> None:
    async def main(address: str) -> None:
        async with lossd.AsyncClient(address, token=ALICE, coalesce=coalesce) as client:
            assert await client.mse_loss([3.0], [1.0]) == 4.0
        async with lossd.AsyncClient(address, coalesce=coalesce) as client:
            with pytest.raises(lossd.AuthenticationError):
                await client.mse_loss([3.0], [1.0])

    with testing.server(tokens_file=str(tokens_path)) as address:
        asyncio.run(main(address))


def test_every_method_but_health_requires_a_token(tokens_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        reflection = reflection_pb2_grpc.ServerReflectionStub(harness.channel).ServerReflectionInfo
        for method in (harness.stub.ScoreStream, harness.stub.Evaluate, reflection):
            for metadata in (None, bearer(STRANGER)):
                rpc = method(metadata=metadata)
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await rpc.read() if hasattr(rpc, "read") else await rpc
                assert (error.value.code(), error_of(error.value).reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        listed = reflection(metadata=bearer(ALICE))
        await listed.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await listed.read()).list_services_response.service
        await listed.done_writing()
        stream = harness.stub.ScoreStream(metadata=bearer(ALICE))
        await stream.write(send((7, square(2))))
        assert (await stream.read()).outcomes[0].outcome.response.value == 4
        await stream.done_writing()
        result = await harness.stub.Evaluate(iter([pb.EvaluateRequest()]), metadata=bearer(BOB))
        assert not result.series
        health = health_pb2_grpc.HealthStub(harness.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        unknown = harness.channel.unary_unary("/lossd.v1.LossService/NoSuchLoss")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await unknown(b"")
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED

    run(scenario, tokens_file=str(tokens_path))


def test_a_call_without_a_token_is_refused_before_its_message_is_read(tokens_path: Path) -> None:
    """A client that announces a message and never sends it has its answer all the same."""

    async def scenario(harness: Harness) -> None:
        message = encoded("mse_loss", input=[3.0], target=[1.0])[1]
        method = harness.channel.stream_unary("/lossd.v1.LossService/MseLoss")
        assert await method(metadata=bearer(STRANGER)).code() == grpc.StatusCode.UNAUTHENTICATED
        known = method(metadata=bearer(ALICE))
        await known.write(message)
        await known.done_writing()
        assert await known.code() == grpc.StatusCode.OK

    run(scenario, tokens_file=str(tokens_path))


def test_an_added_token_is_accepted_and_a_removed_one_is_refused(tokens_path: Path, at_once: None) -> None:
    with testing.server(tokens_file=str(tokens_path)) as address, lossd.Client(address, token=BOB) as bob:
        assert bob.mse_loss([3.0], [1.0]) == 4.0
        carol, line = make_token("carol")
        tokens_path.write_text(f"{ALICES_LINE}\n{line}\n")
        with lossd.Client(address, token=carol) as client:
            assert client.mse_loss([3.0], [1.0]) == 4.0
        with pytest.raises(lossd.AuthenticationError):
            bob.mse_loss([3.0], [1.0])
        tokens_path.write_text(f"{BOBS_LINE}\n")
        assert bob.mse_loss([3.0], [1.0]) == 4.0


def test_an_open_stream_ends_when_its_token_is_removed(tokens_path: Path, at_once: None) -> None:
    async def scenario(harness: Harness) -> None:
        alices, bobs = (harness.stub.ScoreStream(metadata=bearer(token)) for token in (ALICE, BOB))
        for number, stream in enumerate((alices, bobs)):
            await stream.write(send((number, square(2))))
            assert (await stream.read()).outcomes[0].id == number
        await asyncio.to_thread(tokens_path.write_text, f"{BOBS_LINE}\n")
        assert await alices.code() == grpc.StatusCode.UNAUTHENTICATED
        await bobs.write(send((2, square(2))))
        assert (await bobs.read()).outcomes[0].id == 2
        await bobs.done_writing()

    run(scenario, tokens_file=str(tokens_path))


def test_the_command_line_sends_a_token(tokens_path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [3.0])
    with testing.server(tokens_file=str(tokens_path)) as address:
        arguments = ["score", "mse_loss", f"--input={tmp_path / 'a.npy'}", f"--target={tmp_path / 'a.npy'}", f"--address={address}"]
        (tmp_path / "token").write_text(f"{ALICE}\n")
        assert CliRunner().invoke(cli, [*arguments, "--token-file", str(tmp_path / "token")]).output == "0.0\n"
        assert CliRunner().invoke(cli, arguments, env={"LOSSD_TOKEN": BOB}).output == "0.0\n"
        refused = CliRunner().invoke(cli, arguments, env={"LOSSD_TOKEN": STRANGER})
        assert refused.exit_code == 1
        assert refused.output.startswith("Error: the bearer token is not known [TOKEN_INVALID]")
        assert CliRunner().invoke(cli, [*arguments, "--token", ALICE]).exit_code == 2  # other users can read a command line
        assert CliRunner().invoke(cli, ["health", address]).exit_code == 0
