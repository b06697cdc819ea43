# SPDX-License-Identifier: Apache-2.0
"""How much one holder may have, and how much is left for the next."""

from contextlib import suppress

import pytest

from lossd_server.admission import Admission
from lossd_server.errors import InFlightFull
from lossd_server.shares import Shares


def take_all(shares: Shares, holder: object) -> int:
    """As many as there are for this holder, one by one."""
    taken = 0
    while shares.fits(holder, 1):
        shares.change(holder, 1)
        taken += 1
    return taken


def test_one_holder_has_half_and_two_that_take_turns_have_a_third_each() -> None:
    assert take_all(Shares(1024), "a") == 512
    shares, taken = Shares(1024), {"a": 0, "b": 0}
    while any(shares.fits(name, 1) for name in taken):
        for name in taken:
            if shares.fits(name, 1):
                shares.change(name, 1)
                taken[name] += 1
    assert taken == {"a": 341, "b": 341}


@pytest.mark.parametrize("total", [1024, 1 << 30])
def test_dozens_of_greedy_holders_leave_room_for_the_next(total: int) -> None:
    shares = Shares(total)
    grain = total // 256
    for number in range(30):
        while shares.fits(number, grain):
            shares.change(number, grain)
    assert shares.used < 0.9 * total
    assert shares.fits("honest", grain)


def test_the_total_is_never_exceeded() -> None:
    shares = Shares(64)
    for number in range(1000):
        take_all(shares, number)
    assert shares.used == 64


def test_what_is_given_back_is_free_again() -> None:
    shares = Shares(16)
    taken = take_all(shares, "a")
    shares.change("a", -taken)
    assert shares.used == 0
    assert take_all(shares, "b") == 8


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_a_small_total_has_room_for_one(total: int) -> None:
    assert take_all(Shares(total), "a") >= 1


def test_thirty_addresses_do_not_take_all_of_the_memory() -> None:
    admission = Admission(1 << 30)
    for number in range(30):
        for nbytes in (64 << 20, 1 << 20, 0):  # requests of these sizes, as many as are admitted
            with suppress(InFlightFull):
                while True:
                    admission.reserve(nbytes, f"127.0.0.{number}")
    honest = [admission.reserve(10 << 10, "192.0.2.1") for _ in range(32)]
    assert len(honest) == 32
