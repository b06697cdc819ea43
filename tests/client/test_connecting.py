# SPDX-License-Identifier: Apache-2.0
"""How a client finds its servers and what it sends with every call."""

import asyncio
import pickle
from typing import Any

import grpc
import grpc.aio
import pytest

import lossd
import lossd.testing
from support.fake_server import UNARY, Fake, fake_server

KINDS = [lossd.Client, lossd.AsyncClient]


def test_the_address_and_the_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with lossd.testing.server() as address:
        monkeypatch.setenv("LOSSD_ADDRESS", address)
        monkeypatch.setenv("LOSSD_TOKEN", "from-the-environment")
        with lossd.Client() as client:
            assert client.mse_loss([1.0], [3.0]) == 4.0
            assert client._metadata == (("authorization", "Bearer from-the-environment"),)
        with lossd.Client(token="given") as client:
            assert client._metadata == (("authorization", "Bearer given"),)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_used_is_refused_with_the_cure(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSD_ADDRESS", raising=False)
    for target in (None, "", "a:1,,b:2", []):
        with pytest.raises(ValueError, match="no server address"):
            kind(target)
    with pytest.raises(TypeError, match='an address is a str, "host:port"'):
        kind(("localhost", 1))
    with pytest.raises(ValueError, match="http://localhost:1 is a URL: give host:port, and tls=True"):
        kind("http://localhost:1")
    with pytest.raises(ValueError, match="connections is 0"):
        kind("localhost:1", connections=0)
    with pytest.raises(TypeError, match=r"credentials is str, .* pass grpc.ssl_channel_credentials"):
        kind("localhost:1", credentials="ca.crt")
    with pytest.raises(ValueError, match=r"token holds .* line break .* strip"):
        kind("localhost:1", token="secret\n")
    with pytest.raises(TypeError, match="token is bytes, not str"):
        kind("localhost:1", token=b"secret")
    for metadata in ({"x": "y"}, ["x"], [("x", 1)]):
        with pytest.raises(TypeError, match=r"metadata is a list of \(name, value\) pairs"):
            kind("localhost:1", metadata=metadata)
    with pytest.raises(ValueError, match="metadata name 'X-Tenant' cannot be sent: use lower-case"):
        kind("localhost:1", metadata=[("X-Tenant", "a")])
    with pytest.raises(ValueError, match="metadata value of x cannot be sent as text: end the name with -bin"):
        kind("localhost:1", metadata=[("x", "ä")])
    monkeypatch.setenv("LOSSD_TOKEN", "secret\n")
    with pytest.raises(ValueError, match="LOSSD_TOKEN holds"):
        kind("localhost:1")


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("coalesce", [False, True])
def test_several_servers_take_turns_and_stand_in_for_each_other(as_list: bool, coalesce: bool) -> None:
    def total(fake: Fake) -> int:
        return len(fake.received)

    with fake_server() as gone:
        pass
    with fake_server() as one, fake_server() as other:
        addresses = [one.address, gone.address, other.address]
        with lossd.Client(addresses if as_list else ",".join(addresses), coalesce=coalesce) as client:
            assert [client.mse_loss([float(i)], [0.0]) for i in range(12)] == [float(i * i) for i in range(12)]
        assert total(one) >= 4
        assert total(other) >= 4


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_client_has_as_many_connections_as_it_is_told(coalesce: bool) -> None:
    async def main(fake: Fake) -> int:
        async with lossd.AsyncClient(fake.address, connections=3, coalesce=coalesce) as client:
            await asyncio.gather(*[client.mse_loss([1.0], [3.0]) for _ in range(6)])
            return len(fake.peers)

    with fake_server() as fake:
        assert asyncio.run(main(fake)) == 3


def test_metadata_and_interceptors_are_part_of_every_call() -> None:
    seen: list[Any] = []

    class Record(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append((details.method, tuple(details.metadata)))
            return continuation(details, request)

    class AsyncRecord(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append((details.method.decode(), tuple(details.metadata)))
            return await continuation(details, request)

    async def main(address: str) -> None:
        async with lossd.AsyncClient(address, token="t", metadata=[("x-tenant", "a")], interceptors=[AsyncRecord()]) as client:
            await client.mse_loss([1.0], [3.0])

    with fake_server() as fake:
        with lossd.Client(fake.address, token="t", metadata=[("x-tenant", "a")], interceptors=[Record()]) as client:
            client.mse_loss([1.0], [3.0])
        asyncio.run(main(fake.address))
        assert len(fake.of(UNARY)) == 2
    assert seen == [("/lossd.v1.LossService/MseLoss", (("authorization", "Bearer t"), ("x-tenant", "a")))] * 2


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_pickled_client_connects_by_itself(coalesce: bool) -> None:
    with fake_server() as fake, lossd.Client(fake.address, coalesce=coalesce, timeout=7.0) as client:
        client.mse_loss([1.0], [3.0])
        with pickle.loads(pickle.dumps(client)) as again:
            assert again.mse_loss([1.0], [3.0]) == 4.0
            assert again._timeout == 7.0
        assert client.mse_loss([1.0], [3.0]) == 4.0


def test_a_client_with_credentials_says_that_it_cannot_be_pickled() -> None:
    with lossd.Client("localhost:1", credentials=grpc.ssl_channel_credentials()) as client, pytest.raises(TypeError, match="use tls=True"):
        pickle.dumps(client)
