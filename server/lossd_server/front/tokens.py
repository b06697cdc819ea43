# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: creation, storage and verification.

A token is long and random (`lossd token` creates it), so its SHA-256 needs no salt: a leaked tokens file gives nobody access.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lossd_server.errors import Unauthenticated
from lossd_server.front.reloading import Reloading

# How soon a change of the file takes effect. A check at every call would cost more than the rest of the authentication.
RELOAD_SECONDS = 1.0

_TOKEN_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}")  # appears unchanged in logs and in labels of metrics
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def make_token(name: str) -> tuple[str, str]:
    """A new token, and the line of the tokens file that admits it under this name. Raises ValueError if the name is invalid."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 64 letters, digits and . _ @ / -, and begins with a letter or digit")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return token, f"{name} {_digest(token).hex()}"


class Tokens:
    """The tokens of a file: lines of NAME SHA256_HEX; empty lines and lines that begin with # are skipped.

    A name may have several tokens, so that a new token can replace an old one. The file is reloaded when it changes; an empty file
    admits nobody, and a malformed file changes nothing. Raises ValueError if the file cannot be used at the start.
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
        # Only digests are compared, and a caller cannot choose the digest of the token that it sends. So the time of the comparison
        # reveals nothing about the tokens.
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
