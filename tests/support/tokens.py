# SPDX-License-Identifier: Apache-2.0
"""Callers with bearer tokens."""

from lossd_server.front.tokens import make_token

ALICE, ALICES_LINE = make_token("alice")
BOB, BOBS_LINE = make_token("bob")
STRANGER, _ = make_token("stranger")


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
