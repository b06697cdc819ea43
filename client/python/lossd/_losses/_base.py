# SPDX-License-Identifier: Apache-2.0
"""The types that the loss methods use, and the method that a client implements for them."""

from typing import Any, Generic, Literal, TypeVar

from lossd._codec import Request

# What a method returns for a reduced loss, for reduction="none", and with return_statistics=True: float, an array and
# LossResult for Client, awaitables of them for AsyncClient.
FloatT = TypeVar("FloatT", covariant=True)
ArrayT = TypeVar("ArrayT", covariant=True)
ResultT = TypeVar("ResultT", covariant=True)

# A torch tensor, numpy array, anything with DLPack or `__array__`, or nested sequences of numbers.
ArrayLike = Any

Reduced = Literal["mean", "sum"]
Unreduced = Literal["none"]
Yes = Literal[True]
No = Literal[False]


class Caller(Generic[FloatT, ArrayT, ResultT]):
    """Sends a request. The losses need nothing else of a client."""

    def _call(self, request: Request, return_statistics: bool) -> Any:
        """The value of the loss, or its LossResult if `return_statistics` is true."""
        raise NotImplementedError
