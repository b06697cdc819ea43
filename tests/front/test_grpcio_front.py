# SPDX-License-Identifier: Apache-2.0
"""`--transport grpcio`: start and stop, deadlines, callers and TLS, as our own front has them. Its answers: test_transports.py."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2

import lossd
from lossd import testing
from lossd.v1 import evaluation_service_pb2_grpc as pb_grpc
from lossd_server.config import Settings
from lossd_server.front.tokens import make_token
from lossd_server.server import Server
from support.harness import Harness, Session, error_of, launch, reading, square, wait_until

TRANSPORTS = ("lossd", "grpcio")
both_transports = pytest.mark.parametrize("transport", TRANSPORTS)

CA = trustme.CA()
ONE = CA.issue_cert("127.0.0.1", "localhost")
CLIENT = CA.issue_cert("nightly-job.example", common_name="nightly job")


def run(scenario: Callable[[Harness], Any], **options: Any) -> None:
    """Runs the scenario against a server of its own, and fails if the server still holds anything afterwards."""

    async def main() -> None:
        async with asyncio.timeout(60), launch(**options) as harness:
            await scenario(harness)
            await wait_until(lambda: harness.admission.in_flight_bytes == 0 and not reading())
            harness.nothing_left()

    asyncio.run(main())


# ---- calls that wait


@both_transports
def test_a_stream_cancels_calls_that_wait(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream())
        await session.send((1, square(1)))
        await gate.reached.wait()
        await session.send((2, square(2)), (3, square(3)))
        await wait_until(lambda: harness.dispatcher.queued_calls == 2)
        await session.send(cancel=[2])
        await wait_until(lambda: harness.dispatcher.queued_calls == 1)
        gate.open()
        assert sorted(await session.end()) == [1, 3]

    run(scenario, transport=transport)


@both_transports
def test_a_caller_that_leaves_takes_its_call_out_of_the_queue(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        first = asyncio.create_task(harness.unary(square(2)))
        await gate.reached.wait()
        leaving = harness.losses.MseLoss(square(3).mse_loss)
        late = harness.losses.MseLoss(square(3).mse_loss, timeout=0.2)
        await wait_until(lambda: harness.dispatcher.queued_calls >= 1)
        leaving.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await late
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await wait_until(lambda: harness.dispatcher.queued_calls == 0)
        gate.open()
        assert (await first).response.value == 4.0
        labels = {"grpc_type": "unary", "grpc_service": "lossd.v1.LossService", "grpc_method": "MseLoss"}

        def handled(*codes: str) -> float:
            value = harness.server.metrics_registry.get_sample_value
            return sum([value("grpc_server_handled_total", {**labels, "grpc_code": code}) or 0.0 for code in codes])

        # The client resets a call whose deadline passes: either side may be the first to notice.
        await wait_until(lambda: handled("OK") == 1 and handled("CANCELLED", "DEADLINE_EXCEEDED") == 2)

    run(scenario, transport=transport)


@both_transports
def test_an_error_for_a_full_server_says_when_to_try_again(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        first = asyncio.create_task(harness.unary(square(2)))
        await gate.reached.wait()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await harness.losses.MseLoss(square(3).mse_loss)
        assert (raised.value.code(), error_of(raised.value).reason) == (grpc.StatusCode.UNAVAILABLE, "IN_FLIGHT_FULL")
        assert dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"] == "100"
        gate.open()
        await first

    run(scenario, transport=transport, max_in_flight_bytes=20 << 10)


@both_transports
def test_a_drain_answers_what_was_accepted_and_refuses_the_rest(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        server = Server(Settings(listen="127.0.0.1:0", admin_listen="", device="cpu", log_level="error", transport=transport))
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            harness = Harness(server, channel)
            gate = harness.gate(monkeypatch)
            accepted = asyncio.create_task(harness.unary(square(2)))
            await gate.reached.wait()
            stopping = asyncio.create_task(server.stop())
            await wait_until(lambda: server._service.draining)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await harness.losses.MseLoss(square(3).mse_loss)
            # grpcio cancels what it has received and not handed over when the server stops.
            refused = {grpc.StatusCode.UNAVAILABLE} | ({grpc.StatusCode.CANCELLED} if transport == "grpcio" else set())
            assert raised.value.code() in refused
            gate.open()
            assert (await accepted).response.value == 4.0
            await stopping
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(tuple(server.address.split(":")))

    asyncio.run(asyncio.wait_for(scenario(), 60))


# ---- callers


@pytest.mark.usefixtures("at_once")
@both_transports
def test_a_stream_ends_when_its_token_is_removed(transport: str, tmp_path: Path) -> None:
    (mine, line), (_, other) = make_token("nightly"), make_token("other")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{line}\n{other}\n")
    tokens.chmod(0o600)

    async def scenario(harness: Harness) -> None:
        session = Session(harness.stub.ScoreStream(metadata=[("authorization", f"Bearer {mine}")]))
        await session.send((1, square(2)))
        assert (await session.next())[0] == 1
        tokens.write_text(f"{other}\n")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await session.next()
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED

    run(scenario, transport=transport, tokens_file=str(tokens))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of a server."""
    write(tmp_path, ONE)
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path


def write(folder: Path, certificate: trustme.LeafCert) -> None:
    (folder / "tls.crt").write_bytes(certificate.cert_chain_pems[0].bytes())
    (folder / "tls.key").write_bytes(certificate.private_key_pem.bytes())


def tls(files: Path, *, mutual: bool = False) -> dict[str, str]:
    names = {"tls_cert_file": "tls.crt", "tls_key_file": "tls.key", **({"tls_client_ca_file": "ca.crt"} if mutual else {})}
    return {setting: str(files / name) for setting, name in names.items()}


def trusting(ca: trustme.CA, certificate: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if certificate is None:
        return grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes(), certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())


def score(address: str, credentials: grpc.ChannelCredentials) -> float:
    """A call on a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with lossd.Client(address, credentials=credentials, options=own, retry=False) as client:
        return client.mse_loss([3.0], [1.0])


@pytest.mark.parametrize(
    "certificate",
    [CLIENT, CA.issue_cert("spiffe.example", "10.1.2.3"), CA.issue_cert(common_name="a job")],
    ids=["a name", "a name and an address", "a common name"],
)
def test_certificates_name_callers_as_on_the_other_transport(files: Path, certificate: trustme.LeafCert) -> None:
    async def names(transport: str) -> set[str]:
        async with AsyncExitStack() as stack:
            harness = await stack.enter_async_context(launch(transport=transport, **tls(files, mutual=True)))
            channel = await stack.enter_async_context(grpc.aio.secure_channel(harness.server.address, trusting(CA, certificate)))
            session = Session(pb_grpc.EvaluationServiceStub(channel).ScoreStream())
            await session.send((1, square(2)))
            await session.next()
            found = set(harness.admission._shares._held)
            await session.end()
            return found

    ours, theirs = [asyncio.run(asyncio.wait_for(names(transport), 60)) for transport in TRANSPORTS]
    assert ours == theirs
    assert len(ours) == 1
    assert "127.0.0.1" not in ours


@both_transports
@pytest.mark.parametrize(("listen", "name"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::/64"), ("unix:{}/socket", "unix")])
def test_without_certificates_hosts_name_callers(transport: str, listen: str, name: str, tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        session = Session(harness.stub.ScoreStream())
        await session.send((1, square(2)))
        await session.next()
        assert set(harness.admission._shares._held) == {name}
        await session.end()

    run(scenario, transport=transport, listen=listen.format(tmp_path))


def test_mutual_tls_asks_for_a_certificate_of_its_ca(files: Path) -> None:
    with testing.server(**tls(files, mutual=True), transport="grpcio") as address:
        assert score(address, trusting(CA, CLIENT)) == 4.0
        for stranger in (None, trustme.CA().issue_cert("nightly-job.example")):
            with pytest.raises(lossd.ConnectionFailedError):
                score(address, trusting(CA, stranger))


def test_a_renewed_certificate_is_used_from_the_next_connection_on(files: Path) -> None:
    other = trustme.CA()
    with testing.server(**tls(files), transport="grpcio") as address:
        assert score(address, trusting(CA)) == 4.0
        (files / "tls.key").write_bytes(b"")  # half of a renewal changes nothing
        assert score(address, trusting(CA)) == 4.0
        write(files, other.issue_cert("127.0.0.1"))
        assert score(address, trusting(other)) == 4.0
        with pytest.raises(lossd.ConnectionFailedError):
            score(address, trusting(CA))


def test_a_server_does_not_start_with_certificates_that_cannot_be_used(files: Path) -> None:
    (files / "tls.key").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^tls_\w+_file "), testing.server(**tls(files), transport="grpcio"):
        pass


# ---- where it listens, and how much it takes


def test_an_address_that_is_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address}"), testing.server(listen=address, transport="grpcio"):
            pass


def test_a_socket_does_not_replace_a_file_or_the_socket_of_a_running_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("data")
    listen = f"unix:{tmp_path}/socket"
    with testing.server(listen=listen, transport="grpcio") as address, lossd.Client(address) as client:
        for path in ("file", "socket"):
            with pytest.raises(OSError, match="cannot listen"), testing.server(listen=f"unix:{tmp_path}/{path}", transport="grpcio"):
                pass
        assert client.mse_loss([3.0], [1.0]) == 4.0
    assert (tmp_path / "file").read_text() == "data"
    with testing.server(listen=listen, transport="grpcio") as address, lossd.Client(address) as client:
        assert client.mse_loss([3.0], [1.0]) == 4.0


def test_connections_are_bounded() -> None:
    health = "/grpc.health.v1.Health/Check"
    with testing.server(transport="grpcio", max_connections=1) as address:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options) as first, grpc.insecure_channel(address, options) as second:
            assert health_pb2.HealthCheckResponse.FromString(first.unary_unary(health)(b"")).status == 1
            with pytest.raises(grpc.RpcError) as raised:
                second.unary_unary(health)(b"", timeout=10)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
