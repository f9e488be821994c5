"""Logs: one JSON object a line on stderr, without secrets."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

PROGRAM = "aitbc_coordinator"
REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"pass(word|phrase)|secret|private.?key|signature|authori[sz]ation|cookie|mnemonic|api.?key",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@'\"]+@")


class Redact:
    """Takes secrets out of a log entry: by the name of a field, and wherever a URL has some."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        self._hidden = sorted((text for text in hidden if text), key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        return {key: self._field(key, value) for key, value in entry.items()}

    def _field(self, name: str, value: Any) -> Any:
        return REDACTED if _SECRET_NAME.search(name) else self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._field(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        text = _CREDENTIALS.sub(REDACTED + "@", str(value))
        for secret in self._hidden:
            text = text.replace(secret, REDACTED)
        return text


def configure(hidden: Iterable[str] = (), *, stream: TextIO | None = None) -> None:
    """Send this program's log, and its libraries' warnings, to `stream` (default: stderr).

    `hidden` are texts that no entry may hold, such as the key in a node's URL.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                Redact(hidden),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(PROGRAM).setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str = PROGRAM) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
