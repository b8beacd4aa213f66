"""What ``log_level`` and ``log_format`` do, for the processes that Servo starts.

Nothing here runs by itself: a library that configures logging takes it away from its users. The
command line, the host and the worker call `configure_logging` when their settings are loaded.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, TextIO

from servo._terminal import escaped
from servo.config.settings import MASK, Settings

__all__ = ["configure_logging", "redacted"]

_bearer: Final = re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]+")


def configure_logging(
    settings: Settings, *, default_level: str = "info", stream: TextIO | None = None
) -> None:
    """Let the whole process log as the settings say; doing it again replaces the first time.

    Args:
        settings: The settings.
        default_level: Level where the settings name none.
        stream: Where lines go; standard error when left out.
    """
    secrets = [settings.api_key] if settings.api_key else []
    formatter = JsonFormatter(secrets) if settings.log_format == "json" else TextFormatter(secrets)
    handler = _ServoHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for known in root.handlers[:]:
        if isinstance(known, _ServoHandler):
            root.removeHandler(known)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[(settings.log_level or default_level).upper()]
    # What libraries do is of interest when it goes wrong; migrations alone say twenty lines.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("servo").setLevel(level)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the given secrets, and without any bearer token."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _bearer.sub(rf"\g<1>{MASK}", text)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, message, and the request where there is one.

    Args:
        secrets: What must not be written.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback; control characters are escaped."""
        text = super().format(record)
        if request_id := _request_id(record):
            first, newline, rest = text.partition("\n")
            text = f"{first} [{request_id}]{newline}{rest}"
        return escaped(redacted(text, self._secrets))


class JsonFormatter(logging.Formatter):
    """A JSON object on one line: time, level, logger, message, request_id, exception.

    Args:
        secrets: What must not be written.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage(), self._secrets),
        }
        if request_id := _request_id(record):
            document["request_id"] = request_id
        if record.exc_info:
            document["exception"] = redacted(self.formatException(record.exc_info), self._secrets)
        return json.dumps(document, ensure_ascii=False)


class _ServoHandler(logging.StreamHandler[TextIO]):
    """A class of its own, so that it is found and replaced, and the user's handlers stay."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream or sys.stderr)
        self._follows = stream is None

    def emit(self, record: logging.LogRecord) -> None:
        # Standard error may have been redirected since, and what it was then be closed.
        if self._follows:
            self.stream = sys.stderr
        super().emit(record)


def _request_id(record: logging.LogRecord) -> str:
    """Return what the code gave as ``extra={"request_id": ...}``, or what its error says."""
    given = getattr(record, "request_id", "")
    raised = record.exc_info[1] if record.exc_info else None
    return str(given or getattr(raised, "request_id", "") or "")
