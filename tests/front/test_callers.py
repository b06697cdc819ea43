# SPDX-License-Identifier: Apache-2.0
"""Who calls: bearer tokens, names, and the shares of those who have them. Live servers."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

import lossd
from lossd import testing
from lossd._cli import lossd as cli
from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.errors import Unauthenticated
from lossd_server.front import tokens
from lossd_server.front.callers import Callers, host_of
from lossd_server.front.tokens import Tokens, make_token
from support.encoded_requests import encoded
from support.harness import Harness, error_of, run, send, square

ALICE, ALICES_LINE = make_token("alice")
BOB, BOBS_LINE = make_token("bob")
STRANGER, _ = make_token("stranger")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.txt"
    path.write_text(f"# who may call\n\n{ALICES_LINE}\n{BOBS_LINE}\n")
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the file takes effect with the next call."""
    monkeypatch.setattr(tokens, "RELOAD_SECONDS", 0.0)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


# ---- the file


def test_a_token_is_known_by_its_hash_and_its_line_does_not_hold_it(file: Path) -> None:
    known = Tokens(file)
    assert known.authenticate(f"Bearer {ALICE}") == "alice"
    assert known.authenticate(f"bearer {BOB}") == "bob"
    assert ALICE not in file.read_text()
    assert make_token("alice")[0] != ALICE


@pytest.mark.parametrize(
    "sent", [None, "", ALICE, "Bearer", "Bearer ", f"Basic {ALICE}", f"Bearer {STRANGER}", f"Bearer {ALICE} ", "Bearer \x00é"]
)
def test_whatever_else_is_sent_is_refused_without_being_repeated(file: Path, sent: str | None) -> None:
    with pytest.raises(Unauthenticated) as error:
        Tokens(file).authenticate(sent)
    assert ALICE not in str(error.value)
    assert STRANGER not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no token"),
        ("# nobody\n", "holds no token"),
        (f"{ALICES_LINE}\nbob 1234\n", "line 2 of tokens_file is not NAME SHA256_HEX"),
        (f"two words {ALICES_LINE.split()[1]}", "line 1 of tokens_file is not NAME"),
        (f"a\u00e9 {ALICES_LINE.split()[1]}", "not text of ASCII"),
        (f"{ALICES_LINE}\nmallory {ALICES_LINE.split()[1]}\n", "line 2 of tokens_file gives a second name"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_server_does_not_start_with_a_file_that_is_wrong(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "tokens.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message) as error, testing.server(tokens_file=str(path)):
        pass
    assert str(path) not in str(error.value)


def test_a_change_takes_effect_and_a_wrong_one_is_logged_once_and_changes_nothing(file: Path, at_once: None) -> None:
    known = Tokens(file)
    with capture_logs() as logs:
        file.write_text(f"{ALICES_LINE}\nbob 12")
        for _ in range(3):
            assert known.authenticate(f"Bearer {BOB}") == "bob"
        file.unlink()
        for _ in range(3):
            assert known.authenticate(f"Bearer {BOB}") == "bob"
    assert [line["error"] for line in logs] == [
        "line 2 of tokens_file is not NAME SHA256_HEX",
        "tokens_file cannot be read: No such file or directory",
    ]
    file.write_text("# nobody\n")
    with pytest.raises(Unauthenticated):
        known.authenticate(f"Bearer {ALICE}")


def test_the_file_is_looked_at_once_in_an_interval(file: Path) -> None:
    known = Tokens(file)
    now = known._names._looked_at
    known._names._clock = lambda: now
    file.write_text(ALICES_LINE)
    assert known.authenticate(f"Bearer {BOB}") == "bob"
    now += tokens.RELOAD_SECONDS
    with pytest.raises(Unauthenticated):
        known.authenticate(f"Bearer {BOB}")


def test_a_token_that_was_revoked_while_the_file_could_not_be_opened_is_refused_once_it_can(
    file: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not change again: what has changed is that the process has descriptors."""
    known = Tokens(file)
    now = known._names._looked_at
    known._names._clock = lambda: now
    read_text = Path.read_text

    def exhausted(*_: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    file.write_text(ALICES_LINE)
    monkeypatch.setattr(Path, "read_text", exhausted)
    with capture_logs() as logs:
        for _ in range(5):
            now += 10.0
            assert known.authenticate(f"Bearer {BOB}") == "bob"
        monkeypatch.setattr(Path, "read_text", read_text)
        now += 10.0
        with pytest.raises(Unauthenticated):
            known.authenticate(f"Bearer {BOB}")
    assert [line["event"] for line in logs].count("not_reloaded") == 1


@pytest.mark.parametrize(
    ("peername", "host"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_a_host_is_an_address_of_ipv4_or_a_network_of_ipv6(peername: object, host: str) -> None:
    assert host_of(peername) == host


@pytest.mark.parametrize("kind", ["DNS", "email", "URI", "IP Address"])
def test_names_of_two_types_are_never_equal(kind: str) -> None:
    class Peer:
        name = ""

        def info(self, what: str) -> object:
            return {"subjectAltName": (("DirName", "x"), (kind, "job")), "subject": ((("commonName", "job"),),)}

    assert Callers(None).caller(Peer(), None) == f"{kind}:job"


def test_the_command_line_makes_a_token_and_says_what_is_what(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["token", "nightly-job"])
    above, token, _, about, line = result.output.splitlines()
    assert (above, about) == ("token, for nightly-job alone:", "line for the server's --tokens-file:")
    (tmp_path / "tokens.txt").write_text(line)
    assert Tokens(tmp_path / "tokens.txt").authenticate(f"Bearer {token}") == "nightly-job"


@pytest.mark.parametrize("name", ["", "two words", "#comment", "-", "x" * 65, "caf\u00e9", "a\nb"])
def test_a_name_is_one_word(name: str) -> None:
    assert CliRunner().invoke(cli, ["token", "--", name]).exit_code == 2


# ---- on the wire


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
def test_the_client_sends_its_token_and_says_who_was_refused(file: Path, what: Callable[[lossd.Client], object], coalesce: bool) -> None:
    with testing.server(tokens_file=str(file)) as address:
        with lossd.Client(address, token=BOB, coalesce=coalesce) as client:
            assert what(client) == 4.0
        for token in (None, STRANGER):
            with lossd.Client(address, token=token, coalesce=coalesce) as client, pytest.raises(lossd.AuthenticationError) as error:
                what(client)
            assert (error.value.code, error.value.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize("coalesce", [False, True], ids=["unary", "stream"])
def test_the_client_for_asyncio_too(file: Path, coalesce: bool) -> None:
    async def main(address: str) -> None:
        async with lossd.AsyncClient(address, token=ALICE, coalesce=coalesce) as client:
            assert await client.mse_loss([3.0], [1.0]) == 4.0
        async with lossd.AsyncClient(address, coalesce=coalesce) as client:
            with pytest.raises(lossd.AuthenticationError):
                await client.mse_loss([3.0], [1.0])

    with testing.server(tokens_file=str(file)) as address:
        asyncio.run(main(address))


def test_every_method_asks_for_a_token_but_health(file: Path) -> None:
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

    run(scenario, tokens_file=str(file))


def test_a_call_without_a_token_is_refused_before_its_message_is_read(file: Path) -> None:
    """A client that announces a message and never sends it has its answer all the same."""

    async def scenario(harness: Harness) -> None:
        message = encoded("mse_loss", input=[3.0], target=[1.0])[1]
        method = harness.channel.stream_unary("/lossd.v1.LossService/MseLoss")
        assert await method(metadata=bearer(STRANGER)).code() == grpc.StatusCode.UNAUTHENTICATED
        known = method(metadata=bearer(ALICE))
        await known.write(message)
        await known.done_writing()
        assert await known.code() == grpc.StatusCode.OK

    run(scenario, tokens_file=str(file))


def test_a_token_that_is_added_is_let_in_and_one_that_is_removed_is_not(file: Path, at_once: None) -> None:
    with testing.server(tokens_file=str(file)) as address, lossd.Client(address, token=BOB) as bob:
        assert bob.mse_loss([3.0], [1.0]) == 4.0
        carol, line = make_token("carol")
        file.write_text(f"{ALICES_LINE}\n{line}\n")
        with lossd.Client(address, token=carol) as client:
            assert client.mse_loss([3.0], [1.0]) == 4.0
        with pytest.raises(lossd.AuthenticationError):
            bob.mse_loss([3.0], [1.0])
        file.write_text(f"{BOBS_LINE}\n")
        assert bob.mse_loss([3.0], [1.0]) == 4.0


def test_an_open_stream_ends_when_its_token_is_removed(file: Path, at_once: None) -> None:
    async def scenario(harness: Harness) -> None:
        alices, bobs = (harness.stub.ScoreStream(metadata=bearer(token)) for token in (ALICE, BOB))
        for number, stream in enumerate((alices, bobs)):
            await stream.write(send((number, square(2))))
            assert (await stream.read()).outcomes[0].id == number
        await asyncio.to_thread(file.write_text, f"{BOBS_LINE}\n")
        assert await alices.code() == grpc.StatusCode.UNAUTHENTICATED
        await bobs.write(send((2, square(2))))
        assert (await bobs.read()).outcomes[0].id == 2
        await bobs.done_writing()

    run(scenario, tokens_file=str(file))


def test_the_command_line_sends_a_token(file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [3.0])
    with testing.server(tokens_file=str(file)) as address:
        arguments = ["score", "mse_loss", f"--input={tmp_path / 'a.npy'}", f"--target={tmp_path / 'a.npy'}", f"--address={address}"]
        (tmp_path / "token").write_text(f"{ALICE}\n")
        assert CliRunner().invoke(cli, [*arguments, "--token-file", str(tmp_path / "token")]).output == "0.0\n"
        assert CliRunner().invoke(cli, arguments, env={"LOSSD_TOKEN": BOB}).output == "0.0\n"
        refused = CliRunner().invoke(cli, arguments, env={"LOSSD_TOKEN": STRANGER})
        assert refused.exit_code == 1
        assert refused.output.startswith("Error: the bearer token is not known [TOKEN_INVALID]")
        assert CliRunner().invoke(cli, [*arguments, "--token", ALICE]).exit_code == 2  # other users can read a command line
        assert CliRunner().invoke(cli, ["health", address]).exit_code == 0
