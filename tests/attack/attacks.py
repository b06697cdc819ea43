# SPDX-License-Identifier: Apache-2.0
"""Every attack, by name.

    python -m attack.attacks NAME ADDRESS SECONDS

runs one in a process of its own, so that its work is not the server's: it writes "ready", begins when it reads a line, and writes
what it saw as JSON.
"""

import asyncio
import json
import sys
from dataclasses import asdict

from . import connections, costly, flooding, holds, odd, slow_readers
from .attack import Attack, Outcome

# Defects of the list that the attacks of others were written for.
_ITEMS = {
    "unread_answers": "4",
    "unread_refusals": "4",
    "unread_checks": "4",
    "watches": "5",
    "checks_that_never_come": "5",
    "idle_streams": "6",
    "gzip_bombs": "3",
    "gzip_on_streams": "3",
}
_HOLDS = [Attack((hold.__doc__ or "").split(". ")[0].rstrip(".").split(": no")[0], _ITEMS[hold.__name__], hold) for hold in holds.HOLDS]

_ALL = (*costly.ATTACKS, *slow_readers.ATTACKS, *odd.ATTACKS, *connections.ATTACKS, *flooding.ATTACKS, *_HOLDS)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ALL}


def main(name: str, address: str, seconds: float) -> None:
    """See the module."""
    attack = ATTACKS[name]
    print("ready", flush=True)
    sys.stdin.readline()
    outcome = asyncio.run(attack.run(address, seconds))  # type: ignore[arg-type]
    print(json.dumps(asdict(outcome or Outcome(came={"not counted": 1}))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
