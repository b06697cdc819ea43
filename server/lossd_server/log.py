# SPDX-License-Identifier: Apache-2.0
"""Logs: JSON lines on stderr, or readable ones on a terminal."""

import logging
import sys

import structlog


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
