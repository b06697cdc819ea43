# SPDX-License-Identifier: Apache-2.0
"""Exact statistics of a loss over many results: the order of adding and merging does not change a bit."""

import math
from typing import Final, Protocol, Self

# Every finite double is a whole number of units of 2^-1074.
_UNIT_BITS: Final = 1074
_UNITS: Final = 1 << _UNIT_BITS


class ExactSum:
    """A sum of doubles without rounding. NaN and infinities behave as in IEEE 754, whatever the order."""

    __slots__ = ("_infinities", "_units")

    def __init__(self) -> None:
        self._units = 0
        self._infinities: set[float] = set()  # inf, -inf and nan that were added; the sum of both infinities is NaN

    def add(self, number: float) -> None:
        """Adds a number."""
        if not math.isfinite(number):
            self._infinities.add(math.nan if math.isnan(number) else number)
            return
        numerator, denominator = number.as_integer_ratio()  # the denominator is a power of two
        self._units += numerator << (_UNIT_BITS + 1 - denominator.bit_length())

    def merge(self, other: Self) -> None:
        """Adds everything that was added to `other`."""
        self._units += other._units
        self._infinities |= other._infinities

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        if self._infinities:
            return sum(self._infinities)
        try:
            return self._units / _UNITS
        except OverflowError:
            return math.inf if self._units > 0 else -math.inf


class Statistics(Protocol):
    """The statistics of a result: the fields of LossStatistics, on the client's results and on the server's answers."""

    @property
    def sum(self) -> float: ...  # noqa: D102
    @property
    def mean_numerator(self) -> float: ...  # noqa: D102
    @property
    def mean_denominator(self) -> float: ...  # noqa: D102
    @property
    def element_count(self) -> int: ...  # noqa: D102
    @property
    def ignored_count(self) -> int: ...  # noqa: D102


class Totals:
    """The merged statistics of any number of results."""

    __slots__ = ("_denominator", "_numerator", "_sum", "call_count", "element_count", "ignored_count")

    def __init__(self) -> None:
        self._sum, self._numerator, self._denominator = ExactSum(), ExactSum(), ExactSum()
        self.element_count = self.ignored_count = self.call_count = 0

    def add(self, result: Statistics) -> None:
        """Adds one result."""
        self._sum.add(result.sum)
        self._numerator.add(result.mean_numerator)
        self._denominator.add(result.mean_denominator)
        self.element_count += result.element_count
        self.ignored_count += result.ignored_count
        self.call_count += 1

    def merge(self, other: Self) -> None:
        """Adds everything that was added to `other`."""
        self._sum.merge(other._sum)
        self._numerator.merge(other._numerator)
        self._denominator.merge(other._denominator)
        self.element_count += other.element_count
        self.ignored_count += other.ignored_count
        self.call_count += other.call_count

    @property
    def sum(self) -> float:
        """The sum over all elements."""
        return self._sum.value

    @property
    def mean_numerator(self) -> float:
        """The mean is mean_numerator / mean_denominator."""
        return self._numerator.value

    @property
    def mean_denominator(self) -> float:
        """The number of elements or rows, or the sum of their weights if torch divides by that."""
        return self._denominator.value

    def value(self, reduction: str) -> float:
        """The loss over everything: the sum if `reduction` is "sum", otherwise the mean."""
        return self.sum if reduction == "sum" else divide(self.mean_numerator, self.mean_denominator)


def divide(numerator: float, denominator: float) -> float:
    """numerator / denominator as IEEE 754 defines it: 0/0 is NaN, x/0 an infinity."""
    if denominator:
        return numerator / denominator
    if not numerator or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)
