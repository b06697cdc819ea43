# SPDX-License-Identifier: Apache-2.0
"""Logs: JSON lines on stderr, or readable ones on a terminal."""

import logging
import sys
import traceback

import structlog

from lossd_server.errors import Unexpected

_unexpected = structlog.get_logger("lossd.unexpected")


def configure(level: str, **context: object) -> None:
    """Sets structlog up for this process. Every line has the context."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _, __, event: {**event, **context},  # bound here, for all threads: contextvars are of one
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # a line at once: workers share the stream
    )


def unexpected(method: str, caller: str, error: Exception) -> Unexpected:
    """The error to answer in place of this one, which is logged.

    The message of a foreign exception may hold data, and a traceback paths: the functions and lines are enough to find it.
    """
    where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    _unexpected.error("unexpected_exception", method=method, caller=caller, error=type(error).__name__, where=where)
    return Unexpected()
