# SPDX-License-Identifier: Apache-2.0
"""What becomes of an exception that is no CallError: a line in the log, and an answer that says nothing of it."""

import traceback

import structlog

from lossd_server.errors import Unexpected

_log = structlog.get_logger("lossd.unexpected")


def unexpected(method: str, caller: str, error: Exception) -> Unexpected:
    """The error to answer in place of this one, which is logged.

    The message of a foreign exception may hold data, and a traceback paths: the functions and lines are enough to find it.
    """
    where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error("unexpected_exception", method=method, caller=caller, error=type(error).__name__, where=where)
    return Unexpected()
