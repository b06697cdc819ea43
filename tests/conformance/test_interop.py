# SPDX-License-Identifier: Apache-2.0
"""gRPC's interoperability suite against our front, driven by the clients of grpc-go and grpc-java (Netty and OkHttp).

Every case that lossd's shape of service can express runs: bytes in, bytes out, without the caller's metadata. Not expressible:

- custom_metadata: methods see no metadata and send none of their own.
- client_compressed_unary and client_compressed_streaming with their probe: methods do not see whether a message was compressed.
  Without the probe they run.
- server_compressed_unary, server_compressed_streaming: answers are never compressed.
- cacheable_unary: sent by GET, which gRPC has given up.
- orca_per_rpc, orca_oob: load reports, a service of their own.
- compute_engine_creds, jwt_token_creds and the other credentials of Google's cloud.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from conformance.interop_server import interop_server
from support.tools import tool

GO_CLIENT = "google.golang.org/grpc/interop/client@v1.85.0"

CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "pick_first_unary",
    "rpc_soak",
    "channel_soak",
)
JAVA_CASES = (*CASES, "very_large_request", "client_compressed_unary_noprobe", "client_compressed_streaming_noprobe")

_SOAK = ("soak_iterations=200", "soak_per_iteration_max_acceptable_latency_ms=10000", "soak_overall_timeout_seconds=60")


@pytest.fixture(scope="module")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("go")
    subprocess.run(
        [tool("go"), "install", GO_CLIENT], check=True, timeout=500, env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    )
    return str(folder / "client")


@pytest.fixture(scope="module")
def java_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    jars = tmp_path_factory.mktemp("java") / "classpath"
    pom = Path(__file__).parent / "interop" / "pom.xml"
    command = [tool("mvn"), "--quiet", "--batch-mode", "--file", str(pom), "dependency:build-classpath", f"-Dmdep.outputFile={jars}"]
    subprocess.run(command, check=True, timeout=500)
    return [tool("java"), "-cp", jars.read_text().strip(), "io.grpc.testing.integration.TestServiceClient"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with interop_server(max_request_bytes=256 << 20) as address:
        yield address


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address, and the file of the CA's certificate."""
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    certificate = ca.issue_cert("127.0.0.1", "localhost")
    ca.cert_pem.write_to_path(folder / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    with interop_server(tls_cert_file=str(folder / "tls.crt"), tls_key_file=str(folder / "tls.key")) as address:
        yield address, str(folder / "ca.crt")


def run(client: list[str], case: str, address: str, *options: str) -> None:
    host, _, port = address.rpartition(":")
    soak = _SOAK if case.endswith("soak") else ()
    flags = [f"--{flag}" for flag in (f"server_host={host}", f"server_port={port}", f"test_case={case}", *soak, *options)]
    done = subprocess.run([*client, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_go(go_client: str, address: str, case: str) -> None:
    run([go_client], case, address)


@pytest.mark.parametrize("case", CASES)
def test_go_with_tls(go_client: str, tls: tuple[str, str], case: str) -> None:
    run([go_client], case, tls[0], "use_tls=true", "use_test_ca=true", f"ca_file={tls[1]}")


@pytest.mark.parametrize("transport", ["netty", "okhttp"])
@pytest.mark.parametrize("case", JAVA_CASES)
def test_java(java_client: list[str], address: str, case: str, transport: str) -> None:
    run(java_client, case, address, "use_tls=false", f"use_okhttp={str(transport == 'okhttp').lower()}")


def test_a_case_that_fails_is_noticed(go_client: str, address: str) -> None:
    """By its exit status: custom_metadata cannot be expressed."""
    with pytest.raises(AssertionError, match="exactly one header from server"):
        run([go_client], "custom_metadata", address)
