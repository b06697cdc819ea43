# SPDX-License-Identifier: Apache-2.0
"""The file of bearer tokens, the command that makes a token, and the names of callers."""

import errno
from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from lossd import testing
from lossd._cli import lossd as cli
from lossd_server.errors import Unauthenticated
from lossd_server.front import tokens
from lossd_server.front.callers import Callers, host_of
from lossd_server.front.tokens import Tokens, make_token
from support.tokens import ALICE, ALICES_LINE, BOB, STRANGER


def test_a_token_is_known_by_its_hash_and_its_line_does_not_hold_it(tokens_path: Path) -> None:
    known = Tokens(tokens_path)
    assert known.authenticate(f"Bearer {ALICE}") == "alice"
    assert known.authenticate(f"bearer {BOB}") == "bob"
    assert ALICE not in tokens_path.read_text()
    assert make_token("alice")[0] != ALICE


@pytest.mark.parametrize(
    "sent", [None, "", ALICE, "Bearer", "Bearer ", f"Basic {ALICE}", f"Bearer {STRANGER}", f"Bearer {ALICE} ", "Bearer \x00é"]
)
def test_anything_else_is_refused_and_the_error_does_not_repeat_it(tokens_path: Path, sent: str | None) -> None:
    with pytest.raises(Unauthenticated) as error:
        Tokens(tokens_path).authenticate(sent)
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


def test_a_change_takes_effect_and_a_wrong_one_is_logged_once_and_changes_nothing(tokens_path: Path, at_once: None) -> None:
    known = Tokens(tokens_path)
    with capture_logs() as logs:
        tokens_path.write_text(f"{ALICES_LINE}\nbob 12")
        for _ in range(3):
            assert known.authenticate(f"Bearer {BOB}") == "bob"
        tokens_path.unlink()
        for _ in range(3):
            assert known.authenticate(f"Bearer {BOB}") == "bob"
    assert [line["error"] for line in logs] == [
        "line 2 of tokens_file is not NAME SHA256_HEX",
        "tokens_file cannot be read: No such file or directory",
    ]
    tokens_path.write_text("# nobody\n")
    with pytest.raises(Unauthenticated):
        known.authenticate(f"Bearer {ALICE}")


def test_the_file_is_checked_once_per_interval(tokens_path: Path) -> None:
    known = Tokens(tokens_path)
    now = known._names._looked_at
    known._names._clock = lambda: now
    tokens_path.write_text(ALICES_LINE)
    assert known.authenticate(f"Bearer {BOB}") == "bob"
    now += tokens.RELOAD_SECONDS
    with pytest.raises(Unauthenticated):
        known.authenticate(f"Bearer {BOB}")


def test_a_token_that_was_revoked_while_the_file_could_not_be_opened_is_refused_once_it_can(
    tokens_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not change again: what has changed is that the process has descriptors."""
    known = Tokens(tokens_path)
    now = known._names._looked_at
    known._names._clock = lambda: now
    read_text = Path.read_text

    def exhausted(*_: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    tokens_path.write_text(ALICES_LINE)
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


def test_the_command_line_makes_a_token_and_explains_its_output(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["token", "nightly-job"])
    above, token, _, about, line = result.output.splitlines()
    assert (above, about) == ("token, for nightly-job only:", "line for the server's --tokens-file:")
    (tmp_path / "tokens.txt").write_text(line)
    assert Tokens(tmp_path / "tokens.txt").authenticate(f"Bearer {token}") == "nightly-job"


@pytest.mark.parametrize("name", ["", "two words", "#comment", "-", "x" * 65, "caf\u00e9", "a\nb"])
def test_a_name_is_one_word(name: str) -> None:
    assert CliRunner().invoke(cli, ["token", "--", name]).exit_code == 2
