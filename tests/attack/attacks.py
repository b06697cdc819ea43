# SPDX-License-Identifier: Apache-2.0
"""Every attack, by name.

    python -m attack.attacks

runs them in a process of its own, so that their work is not the server's: it writes "ready", and for each line with the JSON of
a name, an address and a number of seconds a line with what that attack saw.
"""

import asyncio
import gc
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


def main() -> None:
    """See the module."""
    print("ready", flush=True)
    for line in sys.stdin:
        name, address, seconds = json.loads(line)
        outcome = asyncio.run(ATTACKS[name].run(address, seconds))  # type: ignore[arg-type]
        print(json.dumps(asdict(outcome or Outcome(came={"not counted": 1}))), flush=True)
        gc.collect()  # closes what an attack left open when its time was over


if __name__ == "__main__":
    main()
