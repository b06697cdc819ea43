# SPDX-License-Identifier: Apache-2.0
"""Divides a fixed total of connections or bytes among holders, so that some is always left for the next holder.

A holder may have at most as much as then remains free: half of the total if it is alone, a third if another holder has as much. That
rule alone does not protect against many holders that each take half of the rest. So a quarter of the total is reserved for holders
that have at most a 256th of it, and only more than sixty such holders can exhaust that quarter.
"""

from collections.abc import Hashable


def fits(total: int, held: int, free: int) -> bool:
    """Whether a holder may have `held`, which leaves `free` of the total."""
    if held <= free >= total >> 2:
        return True
    return free >= 0 and held <= max(1, total >> 8)


class Shares:
    """Counts what each holder has."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.quarter = total >> 2  # while no more is used, everything fits: nobody has more than remains free
        self._held: dict[Hashable, int] = {}
        self.used = 0

    @property
    def free(self) -> int:
        """The part of the total that no holder has. Negative if more than the total is held."""
        return self.total - self.used

    def held(self, holder: Hashable) -> int:
        """What the holder has."""
        return self._held.get(holder, 0)

    def fits(self, holder: Hashable, wanted: int) -> bool:
        """Whether the holder may have this much more."""
        return fits(self.total, self.held(holder) + wanted, self.free - wanted)

    def change(self, holder: Hashable, difference: int) -> None:
        """Adds `difference`, which may be negative, to what the holder has."""
        held = self._held.get(holder, 0) + difference
        if held:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)
        self.used += difference
