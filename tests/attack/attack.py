# SPDX-License-Identifier: Apache-2.0
"""What an attack is: a coroutine function of an address and some seconds, a name, and what must hold beside it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

MIB = 1 << 20

# Budgets that an attack can exhaust, and large enough for a message of 64 MiB. Everything else is at its default.
SETTINGS: Mapping[str, str] = {
    "LISTEN": "127.0.0.1:0",
    "DEVICE": "cpu",
    "LOG_LEVEL": "warning",
    "MAX_IN_FLIGHT_BYTES": str(256 * MIB),
    "MAX_QUEUE_BYTES": str(128 * MIB),
    "MAX_WORKSPACE_BYTES": str(256 * MIB),
}


@dataclass
class Outcome:
    """What the attacker saw: how many messages (or other units) it sent, and what came of them, counted by kind.

    `ended_seconds` is how long the server let a connection be, of those that it ended, at most; None if it ended none.
    """

    sent: int = 0
    came: dict[str, int] = field(default_factory=dict)
    ended_seconds: float | None = None

    def count(self, what: str) -> None:
        self.came[what] = self.came.get(what, 0) + 1


@dataclass(frozen=True)
class Attack:
    """`name` says what is sent; `items` are those of the list of defects that the attack was written for.

    `flood`: one connection sends what nobody needs, so the server must end it. `settings` are laid over
    SETTINGS.
    """

    name: str
    items: str
    run: Callable[[str, float], Awaitable[Outcome | None]]
    flood: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
