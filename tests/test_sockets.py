# SPDX-License-Identifier: Apache-2.0
"""The addresses on which a server may listen, the sockets that it replaces, and those that it removes when it stops."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import lossd
from lossd import testing
from lossd_server import sockets


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short one: the path of a socket may have about 100 characters."""
    monkeypatch.chdir(tmp_path)
    return Path("socket")


def stale(path: Path) -> None:
    """What a server leaves that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def a_file(path: Path) -> None:
    path.write_text("not lossd's")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_file(path: Path) -> None:
    Path("elsewhere").write_text("not lossd's")
    path.symlink_to("elsewhere")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_file, a_folder, a_pipe, a_link_to_a_file, a_dangling_link])
def test_what_is_not_a_socket_is_neither_replaced_nor_removed(path: Path, make: object) -> None:
    make(path)  # type: ignore[operator]
    before = path.lstat()
    with pytest.raises(FileExistsError, match="cannot listen on unix:socket: a file that is not a socket is there"):
        sockets.bind("unix:socket")
    with pytest.raises(FileExistsError), testing.server(listen="unix:socket"):
        pass
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_mtime_ns) == (after.st_ino, after.st_mode, after.st_mtime_ns)


def test_the_socket_of_a_server_that_was_killed_is_replaced(path: Path) -> None:
    stale(path)
    with testing.server(listen="unix:socket") as address, lossd.Client(address) as client:
        assert client.mse_loss([3.0], [1.0]) == 4.0
    assert not path.exists()


def test_the_socket_of_a_server_that_lives_is_refused_even_before_it_accepts(path: Path) -> None:
    with sockets.bind("unix:socket") as first:
        with pytest.raises(OSError, match="cannot listen on unix:socket: Address already in use") as error:
            sockets.bind("unix:socket")
        assert error.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("socket")
            first.sockets[0].accept()[0].close()
    assert not path.exists()


def test_a_server_whose_backlog_is_full_lives(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind("socket")
        busy.listen(0)
        waiting.connect("socket")
        with pytest.raises(OSError, match="Address already in use"):
            sockets.bind("unix:socket")


@pytest.mark.parametrize("make", [a_file, stale])
def test_what_has_taken_the_place_of_our_socket_stays(path: Path, make: object) -> None:
    bound = sockets.bind("unix:socket")
    path.unlink()
    make(path)  # type: ignore[operator]
    bound.close()
    assert path.exists()


def test_a_socket_that_is_gone_already_is_no_error_at_the_end(path: Path) -> None:
    bound = sockets.bind("unix:socket")
    path.unlink()
    bound.close()
    bound.close()


def test_a_unix_address_in_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot listen on unix:no/such/socket: No such file or directory"):
        sockets.bind("unix:no/such/socket")
    with pytest.raises(OSError, match=r"cannot listen on unix:x+: AF_UNIX path too long"):
        sockets.bind("unix:" + 200 * "x")


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def test_an_error_keeps_its_errno_and_says_the_address(taken: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {taken}: Address already in use") as in_use:
        sockets.bind(taken)
    assert in_use.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:1: Cannot assign requested address") as foreign:
        sockets.bind("192.0.2.1:1")
    assert foreign.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid:1: \w+"):
        sockets.bind("no.such.host.invalid:1")


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::1]:0", "[::]:0"])
def test_port_0_is_one_free_port_on_every_address_of_the_host(address: str) -> None:
    with sockets.bind(address) as bound:
        host, _, port = bound.address.rpartition(":")
        assert host == address.rpartition(":")[0]
        assert {each.getsockname()[1] for each in bound.sockets} == {int(port)} != {0}


def test_all_addresses_of_ipv6_take_ipv4_too() -> None:
    with sockets.bind("[::]:0") as bound:
        (each,) = bound.sockets
        each.listen()
        each.setblocking(True)
        with socket.create_connection(("127.0.0.1", each.getsockname()[1])):
            each.accept()[0].close()


def test_a_socket_is_its_owners(path: Path) -> None:
    with sockets.bind("unix:socket"):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert path.stat().st_uid == os.getuid()
