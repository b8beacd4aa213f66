"""Failed attempts as people read them: what happened, where in their code, and what comes next.

An error on the wire has neither paths nor frames (contract, section 7), so both are read from the
log of the attempt, which ends with the traceback and the line of the project that it is about.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _output
from servo.types import labels
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogStream
from servo.types.records import Failure

if TYPE_CHECKING:
    from servo.client import AsyncClient, Client

_READ_SECONDS: Final = 5.0
"""How long the log of an attempt is read for; one that is longer is shown without an excerpt."""
_READ_LINES: Final = 400
_SHOWN_LINES: Final = 14
_LINE_LENGTH: Final = 200
_CUT: Final = "... [cut]"
_INDENT: Final = "    "

_MOST_EXPLAINED: Final = 3
_MOST_LINES: Final = 20
_MOST_ALIKE: Final = 5
_MOST_KINDS: Final = 100


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of an attempt's log that explains its failure.

    Attributes:
        place: The line of the project, such as ``assets/sales.py:12, in total``; empty if none is
            known.
        lines: The last lines of the traceback, without frames of libraries.
    """

    place: str = ""
    lines: tuple[str, ...] = ()


def read(client: Client, run_id: str, task_id: str, attempt: int) -> Excerpt:
    """Read from the log of an attempt why it failed; empty where that cannot be read now.

    Args:
        client: The control plane.
        run_id: The run.
        task_id: The task.
        attempt: The number of the attempt.
    """
    errors_of = _ErrorLines(attempt)
    try:
        for batch in client.logs.read(run_id, task=task_id):
            if not errors_of.take(batch):
                return Excerpt()
    except errors.ServoError:
        # What is known is shown; that the log cannot be read is no reason to stop following.
        return Excerpt()
    return excerpt_of(errors_of.found)


async def read_async(client: AsyncClient, run_id: str, task_id: str, attempt: int) -> Excerpt:
    """Do what `read` does, with an `AsyncClient`."""
    errors_of = _ErrorLines(attempt)
    try:
        async for batch in client.logs.read(run_id, task=task_id):
            if not errors_of.take(batch):
                return Excerpt()
    except errors.ServoError:
        return Excerpt()
    return excerpt_of(errors_of.found)


class _ErrorLines:
    """The last lines with level ERROR in the log of an attempt.

    Args:
        attempt: The number of the attempt.
    """

    def __init__(self, attempt: int) -> None:
        self.found: deque[str] = deque(maxlen=_READ_LINES)
        self._attempt = attempt
        self._deadline = time.monotonic() + _READ_SECONDS

    def take(self, batch: LogBatch) -> bool:
        """Take the next lines; return whether there is time to read on."""
        if batch.attempt == self._attempt:
            self.found.extend(
                line.text
                for line in batch.lines
                if line.stream is LogStream.LOG and line.level == "ERROR"
            )
        return time.monotonic() < self._deadline


_is_place = re.compile(r"at (\S.*:\d+(?:, in .+)?)").fullmatch
_is_beginning = re.compile(r"\s*(?:\+ Exception Group )?Traceback \(most recent call last\):").match
_is_frame = re.compile(r"(?P<margin>[\s|]*)File \"(?P<path>.*?)\", line \d+").match


def excerpt_of(lines: Iterable[str]) -> Excerpt:
    """Choose from the errors in a log what is shown of them.

    Args:
        lines: The lines with level ERROR, in order; a traceback, then the line of the project.
    """
    block = list(lines)
    place = ""
    if block and (found := _is_place(block[-1])):
        place = found[1]
        del block[-1]
    begins = [index for index, line in enumerate(block) if _is_beginning(line)]
    if not begins:
        # The failure's message says it all: the attempt was ended, or returned what is no data.
        return Excerpt(place)
    # What the function itself logged as an error comes before, causes and groups come after.
    kept = list(_without_libraries(block[begins[0] + 1 :]))
    if len(kept) > _SHOWN_LINES:
        kept = ["...", *kept[-_SHOWN_LINES:]]
    return Excerpt(place, tuple(_shortened(line) for line in kept))


def _without_libraries(lines: Iterable[str]) -> Iterator[str]:
    """Leave out the frames whose files are not below the project: their paths are absolute."""
    skipped_margin: str | None = None
    for line in lines:
        frame = _is_frame(line)
        if frame is not None:
            is_ours = not _is_absolute(frame["path"])
            skipped_margin = None if is_ours else frame["margin"]
        elif skipped_margin is not None and not line.startswith(f"{skipped_margin}  "):
            skipped_margin = None
        if skipped_margin is None:
            yield line


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "\\", "<")) or path[1:3] in (":\\", ":/")


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}{_CUT}"


# -- sentences ----------------------------------------------------------------------------


def command(*words: str) -> str:
    """Return a command of Servo as it can be pasted, for the project that this one is about.

    Args:
        words: What follows the name of the program, each as one word.
    """
    context = click.get_current_context(silent=True)
    project = context.find_root().params.get("project") if context is not None else None
    place = ["--project", str(project)] if project is not None else []
    return labels.command(*place, *words)


def attempt_of(attempt: int, failure: Failure | None) -> str:
    """Return ``attempt 1 of 4``, or ``attempt 1`` where it is not known how many there may be."""
    most = failure.max_attempts if failure is not None else 0
    return f"attempt {attempt} of {most}" if most else f"attempt {attempt}"


def length(delay: timedelta) -> str:
    """Return a length of time in whole seconds, as people say it: ``42 s``, ``2 min 5 s``."""
    seconds = max(round(delay.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def at_time(moment: datetime, *, now: datetime) -> str:
    """Return the time of day of a moment in the reader's zone; with the date on another day."""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%F %T}"


def next_attempt(retry_at: datetime, *, now: datetime | None = None) -> str:
    """Return when the next attempt comes: ``in 42 s, at 14:03:10``.

    Args:
        retry_at: When it may start.
        now: The current time.
    """
    now = now or datetime.now(UTC)
    if retry_at <= now:
        return "now"
    return f"in {length(retry_at - now)}, at {at_time(retry_at, now=now)}"


def lines_of(excerpt: Excerpt, message: str, indent: str = _INDENT) -> list[str]:
    """Return the lines that show an excerpt below the message of its failure.

    Args:
        excerpt: What the log says.
        message: The message, which has been printed: the excerpt does not repeat it.
        indent: What each line begins with.
    """
    place = _output.one_line(excerpt.place)
    shown = [f"at {place}"] if place else []
    lines = list(excerpt.lines)
    if lines and message.startswith(lines[-1]):
        del lines[-1]
    lines = [_output.one_line(line) for line in lines]
    return [f"{indent}{line}".rstrip() for line in (*shown, *lines)]


# -- many failures ------------------------------------------------------------------------


def kind_of(asset: AssetKey, failure: Failure) -> tuple[str, str, str, str]:
    """Return what failures have in common that are explained once: all but numbers and texts.

    Args:
        asset: The asset whose attempt failed.
        failure: Why.
    """
    alike = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", failure.message[:_LINE_LENGTH])
    return (str(asset), failure.category.value, failure.error_type, alike)


@dataclass(slots=True)
class _Kind:
    """Failures that are alike.

    Attributes:
        message: That of the first one.
        shown: The tasks of which a failure was printed, by position in the plan.
        tasks: Those of which none was.
        told: How many of them have been counted in a line.
    """

    message: str
    shown: set[int] = field(default_factory=set)
    tasks: set[int] = field(default_factory=set)
    told: int = 0


class Detail(Enum):
    """How much of a failure is printed."""

    EXPLAINED = "explained"
    PLACED = "placed"
    """A line, and below it the line of the project."""
    LINE = "line"
    COUNTED = "counted"
    """Nothing; `Digest.counts` has it."""


class Digest:
    """Decides how much is printed of each failed attempt, so that a thousand stay readable.

    The first ones of three kinds are explained in full. Further ones have a line each, those of
    five tasks for each kind and twenty in all; then they are counted.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str, str], _Kind] = {}
        self._explained = 0
        self._lines = 0

    def detail(self, asset: AssetKey, failure: Failure, index: int) -> Detail:
        """Decide how much of a failure is printed, and count it if that is nothing.

        Args:
            asset: The asset.
            failure: Why its attempt failed.
            index: The position of the task in the plan.
        """
        name = kind_of(asset, failure)
        kind, is_first = self._kinds.get(name), False
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                return Detail.COUNTED
            kind, is_first = self._kinds.setdefault(name, _Kind(failure.message)), True
        if is_first and self._explained < _MOST_EXPLAINED:
            self._explained += 1
            kind.shown.add(index)
            return Detail.EXPLAINED
        is_again = index in kind.shown
        if self._lines < _MOST_LINES and (is_again or len(kind.shown) < _MOST_ALIKE):
            self._lines += 1
            kind.shown.add(index)
            return Detail.PLACED if is_first else Detail.LINE
        if not is_again:
            kind.tasks.add(index)
        return Detail.COUNTED

    def counts(self, *, only_new: bool = False) -> Iterator[str]:
        """Yield a line for each kind of failure of which tasks were left out.

        Args:
            only_new: Leave out those for which nothing has changed since the last time.
        """
        for kind in list(self._kinds.values()):
            number = len(kind.tasks)
            if number and not (only_new and number == kind.told):
                if only_new:
                    kind.told = number
                tasks = _output.count(number, "more task")
                yield f"{click.style('✗', fg='red')} the same error in {tasks}: " + _shortened(
                    _output.one_line(kind.message)
                )
