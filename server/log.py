"""Structured logs on stderr: JSON lines for machines, plain ones for people."""

import logging
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict

AUDIT: Final = "audit"
"""The event of the lines that say who changed what."""


# Without the variables of each frame, which structlog has in them by default: those of a call have
# its caller's token, and the environment of its job.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class Threshold:
    """Drops lines below a level that can be changed while the server runs; never audit lines."""

    def __init__(self, level: str) -> None:
        self._usual = self._now = _number(level)

    def __call__(self, logger: Any, method: str, event_dict: EventDict) -> EventDict:  # noqa: ANN401
        """As a processor of structlog."""
        del logger
        if _number(method) < self._now and event_dict["event"] != AUDIT:
            raise structlog.DropEvent
        return event_dict

    def tell_all(self) -> None:
        """Let every line through from now on."""
        self._now = logging.DEBUG

    def tell_the_usual(self) -> None:
        """Go back to the level of the start."""
        self._now = self._usual


def configure_logs(*, level: str, json_lines: bool) -> Threshold:
    """Set up structlog. stdout stays free: it has the one line that tells the address."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    threshold = Threshold(level)
    processors: list[structlog.typing.Processor] = [
        threshold,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json_lines:
        processors.append(_TRACEBACKS)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    return threshold


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()["ERROR" if level == "exception" else level.upper()]
