"""What commands print: text for people, exactly one JSON document for programs.

People read standard error for notes and errors, and standard output for what they asked for.
With ``--json`` standard output holds one JSON document and nothing else.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from servo import errors

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
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {_public(_text(error))}", err=True)
    if error.request_id:
        tries = f" after {count(error.attempts, 'attempt')}" if error.attempts > 1 else ""
        click.echo(f"Request {error.request_id} failed{tries}.", err=True)
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
    click.echo(
        f"{click.style('Error:', fg='red', bold=True)} {type(error).__name__}: "
        f"{_public(str(error))}\n"
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
        click.echo(_public("".join(traceback.format_exception(error))), err=True)


def note(text: str) -> None:
    """Print a remark for people, on standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Print a warning for people, on standard error."""
    click.echo(f"{click.style('Warning:', fg='yellow')} {text}", err=True)


def is_terminal() -> bool:
    """Tell whether standard output is a terminal that can redraw lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Return a console on standard output; ``rich`` is loaded for people only."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, aligned text elsewhere.

    Args:
        columns: Headings. One that starts with ``>`` is aligned to the right.
        rows: Cells, as many as there are columns; a state is shown in its colour.
    """
    cells = [list(row) for row in rows]
    if is_terminal():
        _rich_table(columns, cells)
        return
    names = [column.removeprefix(">") for column in columns]
    widths = [
        max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(names)
    ]
    for row in [names, *cells]:
        padded = [
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(column.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        # Text, never markup: cells hold names and messages that users wrote.
        drawn.add_row(*(Text(cell, style=STATE_COLORS.get(cell, "")) for cell in row))
    console().print(drawn)


def state(text: str) -> str:
    """Colour the name of a state."""
    return click.style(text, fg=STATE_COLORS.get(text))


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
