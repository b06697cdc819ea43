# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: how they are made, kept and recognized.

A token is random and long (`lossd token` makes it), so that its SHA-256 needs no salt: a file that leaks lets nobody in.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lossd_server.errors import Unauthenticated
from lossd_server.front.reloading import Reloading

# How soon a change of the file takes effect: to look at every call would cost more than the rest of its authentication.
RELOAD_SECONDS = 1.0

_TOKEN_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}")  # goes into logs and labels of metrics as it is
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def make_token(name: str) -> tuple[str, str]:
    """A new token, and the line of the tokens file that admits it under this name. Raises ValueError for what is no name."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 64 letters, digits and . _ @ / -, and begins with a letter or digit")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return token, f"{name} {_digest(token).hex()}"


class Tokens:
    """The tokens of a file: lines of NAME SHA256_HEX; empty lines and lines that begin with # are skipped.

    A name may have several tokens, so that one can follow another. The file is read again when it changes; an empty one admits
    nobody, and one of another form changes nothing. Raises ValueError where the file cannot be used to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._names: Reloading[Mapping[bytes, str]] = Reloading(
            "tokens_file", [path], lambda: _parse(_read(path)), interval_seconds=RELOAD_SECONDS
        )
        if not self._names.value():
            raise ValueError("tokens_file holds no token; `lossd token NAME` makes one")

    def authenticate(self, authorization: str | None) -> str:
        """The name of the caller with this `authorization` value. Raises Unauthenticated."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("a bearer token is required: metadata 'authorization: Bearer TOKEN'")
        # Only digests are compared, and a caller cannot choose the digest of what it sends: the time this takes tells nothing
        # about a token, however many there are.
        name = self._names.value().get(_digest(token))
        if name is None:
            raise Unauthenticated("the bearer token is not known")
        return name


# Implementation details follow.


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError:
        raise ValueError("tokens_file is not text of ASCII characters") from None
    except OSError as error:
        raise ValueError(f"tokens_file cannot be read: {error.strerror}") from None


def _parse(text: str) -> Mapping[bytes, str]:
    names: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1].lower()):
            raise ValueError(f"line {number} of tokens_file is not NAME SHA256_HEX")
        digest = bytes.fromhex(words[1])
        if names.setdefault(digest, words[0]) != words[0]:
            raise ValueError(f"line {number} of tokens_file gives a second name to a token")
    return names
