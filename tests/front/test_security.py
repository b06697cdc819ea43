# SPDX-License-Identifier: Apache-2.0
"""TLS, mutual TLS, and the addresses on which the server may listen without them. Live servers. Tokens: test_callers.py."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from click.testing import CliRunner, Result
from pydantic import ValidationError
from structlog.testing import capture_logs

import lossd
from lossd import testing
from lossd._cli import lossd as cli
from lossd_server.config import Settings
from support.raw_connection import PREFACE

CA = trustme.CA()
ONE = CA.issue_cert("127.0.0.1", "localhost")
CLIENT = CA.issue_cert("nightly-job.example", common_name="nightly job")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of a server."""
    write(tmp_path, ONE)
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    CLIENT.cert_chain_pems[0].write_to_path(tmp_path / "client.crt")
    CLIENT.private_key_pem.write_to_path(tmp_path / "client.key")
    return tmp_path


def write(folder: Path, certificate: trustme.LeafCert) -> None:
    (folder / "tls.crt").write_bytes(certificate.cert_chain_pems[0].bytes())
    (folder / "tls.key").write_bytes(certificate.private_key_pem.bytes())


def tls(files: Path, **more: Any) -> dict[str, Any]:
    return {"tls_cert_file": str(files / "tls.crt"), "tls_key_file": str(files / "tls.key"), **more}


def mutual(files: Path, **more: Any) -> dict[str, Any]:
    return tls(files, tls_client_ca_file=str(files / "ca.crt"), **more)


def trusting(ca: trustme.CA, certificate: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if certificate is None:
        return grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes(), certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())


def score(address: str, credentials: grpc.ChannelCredentials | None = None, **more: Any) -> float:
    """A call on a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with lossd.Client(address, credentials=credentials, options=own, retry=False, **more) as client:
        return client.mse_loss([3.0], [1.0])


def served_by(address: str) -> bytes:
    host, port = address.split(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


# ---- TLS


def test_tls_serves_only_clients_that_trust_its_certificate(files: Path) -> None:
    with testing.server(**tls(files)) as address:
        assert score(address, trusting(CA)) == 4.0
        with pytest.raises(lossd.ConnectionFailedError):
            score(address, trusting(trustme.CA()))
        with pytest.raises(lossd.ConnectionFailedError):
            score(address)
        with pytest.raises(lossd.ConnectionFailedError):
            score("127.0.0.1:1", trusting(CA))
        assert score(address, trusting(CA)) == 4.0


@pytest.mark.parametrize(("protocols", "served"), [(["h2"], True), (["http/1.1"], False), ([], False)])
def test_tls_requires_clients_to_negotiate_http_2(files: Path, protocols: list[str], served: bool) -> None:
    """RFC 9113, section 3.2: with ALPN."""
    context = ssl.create_default_context(cafile=str(files / "ca.crt"))
    if protocols:
        context.set_alpn_protocols(protocols)
    with testing.server(**tls(files)) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            try:
                secure.sendall(PREFACE)
                answer = secure.recv(9)
            except (ConnectionError, ssl.SSLError):
                answer = b""
    assert bool(answer) == served


@pytest.mark.parametrize("stranger", [None, trustme.CA().issue_cert("nightly-job.example")], ids=["no certificate", "another CA's"])
def test_mutual_tls_asks_for_a_certificate_of_its_ca(files: Path, stranger: trustme.LeafCert | None) -> None:
    with testing.server(**mutual(files)) as address:
        assert score(address, trusting(CA, CLIENT)) == 4.0
        with pytest.raises(lossd.ConnectionFailedError):
            score(address, trusting(CA, stranger))


def test_the_command_line_speaks_tls_and_mutual_tls(files: Path) -> None:
    np.save(files / "a.npy", [3.0])
    np.save(files / "b.npy", [1.0])
    ca = ["--ca", str(files / "ca.crt")]
    certificate = ["--cert", str(files / "client.crt"), "--key", str(files / "client.key")]
    with testing.server(**mutual(files)) as address:
        arguments = ["score", "mse_loss", "--input", str(files / "a.npy"), "--target", str(files / "b.npy"), "--address", address]
        assert call(*arguments, *ca, *certificate).output == "4.0\n"
        assert call("health", address, *ca, *certificate, "--server-name", "localhost").exit_code == 0
        assert call("health", address, *ca, *certificate, "--server-name", "elsewhere").exit_code == 1
        assert call("health", address, *ca).exit_code == 1
        assert call("health", address).exit_code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cert", "x"], "--cert and --key need each other"),
        (["--cert", "x", "--key", "x"], "give --ca too"),
        (["--server-name", "x"], "give --ca too"),
        (["--ca", "no-such-file"], "no-such-file: No such file"),
    ],
)
def test_options_that_exclude_each_other_are_reported_in_one_line(options: list[str], message: str) -> None:
    result = call("health", *options)
    assert result.exit_code != 0
    assert message in result.output


def test_a_renewed_certificate_is_used_from_the_next_connection_on(files: Path) -> None:
    """The connection that stands goes on; a new one sees the new certificate, which another CA has signed."""
    other = trustme.CA()
    with testing.server(**tls(files)) as address, lossd.Client(address, credentials=trusting(CA)) as old:
        assert old.mse_loss([3.0], [1.0]) == 4.0
        write(files, other.issue_cert("127.0.0.1"))
        assert score(address, trusting(other)) == 4.0
        with pytest.raises(lossd.ConnectionFailedError):
            score(address, trusting(CA))
        assert old.mse_loss([3.0], [1.0]) == 4.0


def break_pair(folder: Path) -> None:
    (folder / "tls.crt").write_bytes(CA.issue_cert("127.0.0.1").cert_chain_pems[0].bytes())


def break_half(folder: Path) -> None:
    (folder / "tls.key").write_bytes(ONE.private_key_pem.bytes()[:100])


def break_gone(folder: Path) -> None:
    (folder / "tls.crt").unlink()


def break_ca(folder: Path) -> None:
    (folder / "ca.crt").write_bytes(b"")


@pytest.mark.parametrize("spoil", [break_pair, break_half, break_gone, break_ca])
def test_a_renewal_that_is_wrong_is_logged_once_and_the_last_good_certificate_serves_on(files: Path, spoil: Callable[[Path], None]) -> None:
    """Until the rest of it has come."""
    two = CA.issue_cert("127.0.0.1")
    with testing.server(**mutual(files)) as address:
        with capture_logs() as logs:
            spoil(files)
            assert score(address, trusting(CA, CLIENT)) == score(address, trusting(CA, CLIENT)) == 4.0
        (line,) = logs
        assert (line["event"], line["what"], line["log_level"]) == ("not_reloaded", "certificates", "error")
        assert str(files) not in str(line)
        write(files, two)
        CA.cert_pem.write_to_path(files / "ca.crt")
        assert score(address, trusting(CA, CLIENT)) == 4.0
        assert served_by(address) == ssl.PEM_cert_to_DER_cert(two.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("spoil", [break_pair, break_half, break_gone, break_ca])
def test_a_server_does_not_start_with_certificates_that_cannot_be_used(files: Path, spoil: Callable[[Path], None]) -> None:
    spoil(files)
    with pytest.raises(ValueError, match=r"^tls_\w+_file ") as error, testing.server(**mutual(files)):
        pass
    assert str(files) not in str(error.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_not_resumed_once_the_ca_of_its_client_is_removed(files: Path, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cadata=CA.cert_pem.bytes().decode())
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(files / "client.crt", files / "client.key")
    context.set_alpn_protocols(["h2"])

    def connect(address: str, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        """Whether the session was resumed, and the newest one. Raises OSError from a server that takes no such client."""
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host, session=session) as tls:
            tls.sendall(PREFACE)
            if not tls.recv(9):  # in TLS 1.3 tickets, and refusals of certificates, come with the first data
                raise ConnectionResetError
            return bool(tls.session_reused), tls.session

    with testing.server(**mutual(files)) as address:
        _, session = connect(address, None)
        resumed, session = connect(address, session)
        assert resumed  # or the test would show nothing
        trustme.CA().cert_pem.write_to_path(files / "ca.crt")
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError, or a reset
            connect(address, session)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_files_that_other_users_may_write_to_are_logged(files: Path, mode: int) -> None:
    with capture_logs() as logs, testing.server(**tls(files)):
        pass
    assert "writable_by_others" not in [line["event"] for line in logs]
    (files / "tls.key").chmod(mode)
    with capture_logs() as logs, testing.server(**tls(files)):
        pass
    (line,) = [line for line in logs if line["event"] == "writable_by_others"]
    assert (line["what"], line["file"], line["log_level"]) == ("certificates", "tls.key", "warning")


# ---- where it may listen


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
def test_an_address_that_others_can_reach_needs_tls_or_insecure(files: Path, listen: str) -> None:
    for more in ({}, {"tokens_file": "tokens.txt"}):
        with pytest.raises(ValidationError, match="other machines can reach"):
            Settings(listen=listen, **more)
        assert Settings(listen=listen, insecure=True, **more).listen == listen
        assert Settings(listen=listen, **tls(files), **more).listen == listen
    result = call("serve", "--listen", listen)
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert line == f"Error: other machines can reach {listen}: set tls_cert_file and tls_key_file, or insecure for no TLS"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "localhost:0", "unix:socket"])
def test_an_address_that_only_this_machine_can_reach_needs_neither(listen: str) -> None:
    assert Settings(listen=listen).listen == listen


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tls_cert_file": "x"}, "set both or neither"),
        ({"tls_key_file": "x"}, "set both or neither"),
        ({"tls_client_ca_file": "x"}, "set tls_cert_file and tls_key_file too"),
    ],
)
def test_a_certificate_without_its_key_is_refused(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**wrong)


def test_tls_on_an_address_that_others_can_reach(files: Path) -> None:
    with testing.server(**tls(files, listen="0.0.0.0:0")) as address:
        assert score(f"127.0.0.1:{address.rpartition(':')[2]}", trusting(CA)) == 4.0


def test_an_admin_port_that_others_can_reach_needs_consent(files: Path) -> None:
    for admin_listen in ("0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"):
        for more in ({}, tls(files)):
            with pytest.raises(ValidationError, match="set admin_insecure"):
                Settings(admin_listen=admin_listen, **more)
        assert Settings(admin_listen=admin_listen, admin_insecure=True).admin_listen == admin_listen
        assert Settings(admin_listen=admin_listen, insecure=True).admin_listen == admin_listen
    assert Settings(admin_listen="").admin_listen == ""
