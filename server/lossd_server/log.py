# SPDX-License-Identifier: Apache-2.0
"""Logs: JSON lines on stderr, or readable ones on a terminal."""

import logging
import sys
import traceback

import structlog

from lossd_server.errors import Unexpected

_unexpected = structlog.get_logger("lossd.unexpected")


def configure(level: str, **context: object) -> None:
    """Configures structlog for this process. Every line includes the context."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _, __, event: {**event, **context},  # here, for all threads: context variables belong to one thread
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # writes whole lines: workers share the stream
    )


def unexpected(method: str, caller: str, error: Exception) -> Unexpected:
    """Logs an unexpected exception, and returns the error to answer in its place.

    Only function names and line numbers are logged: the exception's message may contain data, and its traceback paths.
    """
    where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    _unexpected.error("unexpected_exception", method=method, caller=caller, error=type(error).__name__, where=where)
    return Unexpected()
