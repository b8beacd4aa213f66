"""What commands print: text for people, exactly one JSON document for programs.

People read standard error for notes and errors, and standard output for what they asked for.
With ``--json`` standard output holds one JSON document and nothing else.

Text for people is printed by `echo`. It may come from user code, a worker or another client, so
nothing but colors gets through to the terminal: `plain` and `one_line` show the rest escaped.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import click

from servo import _terminal, errors

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output."
)

STATE_COLORS: Final = {
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "skipped": "yellow",
    "retry_wait": "yellow",
    "running": "cyan",
    "dispatched": "cyan",
}

_KIBI: Final = 1024
_OFF: Final = ("", "0", "false", "no", "off")


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text for people; of control characters only colors and line ends get through.

    Args:
        text: What to print; the styles of ``click.style`` stay.
        err: Whether it goes to standard error.
        nl: Whether a line end follows.
    """
    click.echo(_terminal.escaped(text, colors=True), err=err, nl=nl)


def plain(text: str) -> str:
    """Return a text of others as it may be shown: no colors, control characters escaped."""
    return _terminal.escaped(text)


def one_line(text: str) -> str:
    """Return a text of others as one line: no colors, control characters and line ends escaped."""
    return _terminal.escaped(text, lines=False)


def print_json(value: Any) -> None:
    """Print a façade value as protobuf's JSON of its message, on one line."""
    from servo import _wire

    click.echo(_wire.to_canonical_json(value))


@dataclass
class _Errors:
    """How this process shows errors; the settings say so once they are loaded."""

    tracebacks: bool | None = None
    secrets: set[str] = field(default_factory=set)


_ERRORS: Final = _Errors()


def reset() -> None:
    """Forget what a former command in this process was told."""
    _ERRORS.tracebacks = None
    _ERRORS.secrets.clear()


def show_tracebacks(wanted: bool) -> None:
    """Say whether errors are printed with their traceback."""
    _ERRORS.tracebacks = wanted


def hide(secret: str) -> None:
    """Mask a text in every error that is printed from now on; nothing for an empty one."""
    if secret:
        _ERRORS.secrets.add(secret)


def _public(text: str) -> str:
    if _ERRORS.secrets:
        from servo.config.logs import redacted

        return redacted(text, _ERRORS.secrets)
    return text


# What a control plane refuses is said in terms of the request; here it came from flags.
_FLAGS: Final = {
    "PARTITION_REQUIRED": "--partition NAME=VALUE, --partitions FIRST..LAST or --all-partitions "
    "says which.",
    "UPSTREAM_MISSING": "--upstream runs them as well.",
    "NOTHING_TO_RERUN": "--all repeats what succeeded as well.",
}
_SAME_DEPLOYMENT: Final = "--same-deployment repeats a run with its own."


def _text(error: errors.ServoError) -> str:
    text, flags = str(error), _FLAGS.get(error.code)
    if "run_id" in error.context and error.code in ("ASSET_NOT_FOUND", "INVALID_PARTITION"):
        flags = _SAME_DEPLOYMENT  # the tasks of a run that the current deployment does not have
    if flags is None:
        return text
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {flags}"


def print_error(error: errors.ServoError) -> None:
    """Print an error for people, on standard error."""
    echo(f"{click.style('Error:', fg='red', bold=True)} {plain(_public(_text(error)))}", err=True)
    if error.request_id:
        tries = f" after {count(error.attempts, 'attempt')}" if error.attempts > 1 else ""
        echo(f"Request {one_line(error.request_id)} failed{tries}.", err=True)
    _print_traceback(error)


def print_error_json(error: errors.ServoError) -> None:
    """Print an error for programs, on standard output: protobuf's JSON of ``ErrorDetail``.

    Written without loading protobuf, because the error may well be that it cannot be loaded.
    """
    import json

    context = dict(error.context)
    if error.request_id:
        context |= {"request_id": error.request_id, "attempts": str(error.attempts)}
    document = {
        "category": f"ERROR_CATEGORY_{error.category.name}",
        "causes": error.to_dict()["causes"],
        "code": error.code,
        "context": context,
        "message": _text(error),
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    click.echo(_public(text))


def print_unexpected(error: Exception) -> None:
    """Print an error that nobody foresaw, with a way to learn more."""
    echo(
        f"{click.style('Error:', fg='red', bold=True)} {type(error).__name__}: "
        f"{plain(_public(str(error)))}\n"
        f"This is a bug in Servo, or in a library it uses. SERVO_DEBUG=1 shows the traceback.",
        err=True,
    )
    _print_traceback(error)


def _print_traceback(error: BaseException) -> None:
    wanted = _ERRORS.tracebacks
    if wanted is None:
        # The error may be that the settings cannot be loaded.
        wanted = os.environ.get("SERVO_DEBUG", "").strip().lower() not in _OFF
    if wanted:
        echo(plain(_public("".join(traceback.format_exception(error)))), err=True)


def note(text: str) -> None:
    """Print a remark for people, on standard error."""
    echo(text, err=True)


def warn(text: str) -> None:
    """Print a warning for people, on standard error."""
    echo(f"{click.style('Warning:', fg='yellow')} {plain(text)}", err=True)


def is_terminal() -> bool:
    """Tell whether standard output is a terminal that can redraw lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Return a console on standard output; ``rich`` is loaded for people only."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that fits the terminal, or aligned text of any width elsewhere.

    Nothing is ever cut. Where the terminal is too narrow, free text is wrapped between words, and
    where that is not enough, the columns that do not fit follow below their row.

    Args:
        columns: Headings. One that starts with ``>`` is aligned to the right; one that starts with
            ``~`` holds free text, which may be wrapped.
        rows: Cells, as many as there are columns; a state is shown in its color.
    """
    headings = [_Column(column.lstrip(">~"), column[:1]) for column in columns]
    # None: not a terminal, so that lines may be as long as they are.
    limit = shutil.get_terminal_size().columns if is_terminal() else None
    shown = [plain if limit and column.is_free else one_line for column in headings]
    cells = [[show(cell) for show, cell in zip(shown, row, strict=True)] for row in rows]
    for index, column in enumerate(headings):
        column.measure([row[index] for row in cells])
    if limit is None or _fit(headings, limit):
        _print_grid(headings, cells, ruled=limit is not None)
    else:
        _print_stacked(headings, cells, limit)


@dataclass
class _Column:
    """One column of a table: its heading, how it is aligned, and how wide it is."""

    heading: str
    mark: str
    width: int = 0

    @property
    def is_free(self) -> bool:
        return self.mark == "~"

    def measure(self, cells: Iterable[str]) -> None:
        lines = (line for cell in cells for line in cell.split("\n"))
        self.width = max([_terminal.width(self.heading), *map(_terminal.width, lines)])

    def padded(self, text: str) -> str:
        space = " " * (self.width - _terminal.width(text))
        return space + text if self.mark == ">" else text + space


_GAP: Final = "  "
_LEAST_FREE: Final = 28
"""Free text is not made narrower than this; the columns are stacked instead."""


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _fit(columns: Sequence[_Column], limit: int) -> bool:
    """Make columns of free text narrower, the widest first; tell whether all fit then."""
    excess = _total(columns) - limit
    while excess > 0:
        widest = max(
            (column for column in columns if column.is_free and column.width > _LEAST_FREE),
            key=lambda column: column.width,
            default=None,
        )
        if widest is None:
            return False
        widest.width -= 1
        excess -= 1
    return True


def _print_grid(columns: Sequence[_Column], rows: Iterable[Sequence[str]], *, ruled: bool) -> None:
    echo(_GAP.join(column.padded(column.heading) for column in columns).rstrip())
    if ruled:
        echo(click.style("─" * _total(columns), dim=True))
    for row in rows:
        lines = [
            _terminal.wrapped(cell, column.width) if column.is_free else [cell]
            for column, cell in zip(columns, row, strict=True)
        ]
        for parts in zip_longest(*lines, fillvalue=""):
            shown = [
                state(column.padded(part), part)
                for column, part in zip(columns, parts, strict=True)
            ]
            echo(_GAP.join(shown).rstrip())


def _print_stacked(columns: Sequence[_Column], rows: Iterable[Sequence[str]], limit: int) -> None:
    """Print as many columns as fit side by side, and what is in the others below each row."""
    beside = [columns[0]]
    for column in columns[1:]:
        if column.is_free or _total([*beside, column]) > limit:
            break
        beside.append(column)
    first = len(beside)
    echo(_GAP.join(column.padded(column.heading) for column in beside).rstrip())
    echo(click.style("─" * min(_total(beside), limit), dim=True))
    for row in rows:
        shown = [
            state(column.padded(cell), cell) for column, cell in zip(beside, row, strict=False)
        ]
        echo(_GAP.join(shown).rstrip())
        rest = zip(columns[first:], row[first:], strict=True)
        facts = [(column, cell) for column, cell in rest if cell]
        short = [f"{column.heading} {cell}" for column, cell in facts if not column.is_free]
        free = [f"{column.heading}: {cell}" for column, cell in facts if column.is_free]
        for text in filter(None, ["   ".join(short), *free]):
            for line in _terminal.wrapped(text, max(limit - 4, 2)):
                echo(f"    {line}".rstrip())


def state(text: str, name: str = "") -> str:
    """Color the name of a state, or a text by the state that ``name`` says."""
    color = STATE_COLORS.get(name or text)
    return click.style(text, fg=color) if color else text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean ...?`` when something known is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(repr(item) for item in close)}?" if close else ""


def count(number: int, noun: str) -> str:
    """Return ``1 asset`` or ``1,234 assets``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return bytes in binary units, such as ``1.5 MiB``."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < _KIBI:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KIBI
    return f"{amount:.1f} TiB"


def duration(length: timedelta) -> str:
    """Return a length of time in the units people use: ``0.4 s``, ``2 min 5 s``, ``3 h 1 min``."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def elapsed(start: datetime | None, end: datetime | None, *, now: datetime | None = None) -> str:
    """Return how long something took, or has taken so far; empty before it started."""
    if start is None:
        return ""
    return duration((end or now or datetime.now(UTC)) - start)


def when(moment: datetime | None) -> str:
    """Return a moment in the reader's own time zone, to the second."""
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
