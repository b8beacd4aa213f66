"""Options that say how much of everything a run may take, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

from servo import errors
from servo.types.amounts import amounts

Command = TypeVar("Command", bound=Callable[..., Any])

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_is_moment = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?", re.ASCII).fullmatch
_is_length = re.compile(r"([1-9][0-9]{0,7})([smhd]?)", re.ASCII).fullmatch


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # older clicks have it not generic
    """A length of time, in whole seconds."""

    name = "length of time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        found = _is_length(str(value))
        if found is None:
            self.fail(
                f"{value!r} is no length of time; write 90s, 15m, 2h or 1d, or seconds", param, ctx
            )
        return int(found[1]) * _SECONDS[found[2]]


class Moment(click.ParamType):  # type: ignore[type-arg]  # older clicks have it not generic
    """A moment: so long ago, or an ISO date with or without a time, local unless it has an offset.

    Args:
        now: Answers what time it is.
    """

    name = "time"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        found = _is_length(text)
        try:
            if found is not None and found[2]:
                length = timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
                return self._now() - length
            if _is_moment(text):
                return datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError, OSError):
            pass  # a day that no month has, or one that no clock reaches
        self.fail(
            f"{value!r} is not a time; write how long ago, such as 90s, 15m, 2h or 1d, or a date "
            f"and time such as 2013-01-05T07:30",
            param,
            ctx,
        )


def options(command: Command) -> Command:
    """Add the options of a run's limits to a command."""
    for option in reversed(
        (
            click.option(
                "--priority",
                type=int,
                default=0,
                metavar="N",
                help="Runs with a greater number go first; 0 is normal.",
            ),
            click.option(
                "--max-parallelism",
                type=click.IntRange(min=1),
                default=None,
                metavar="N",
                help="Most tasks of it that are executed at a time.",
            ),
            click.option(
                "--timeout",
                type=_Seconds(),
                default=None,
                metavar="LENGTH",
                help="How long it may take, such as 90s or 2h; it is ended then.",
            ),
            click.option(
                "--budget",
                multiple=True,
                metavar="UNIT=AMOUNT",
                help="What its tasks may spend together, such as usd=1.50; repeatable.",
            ),
            click.option(
                "--retries",
                type=click.IntRange(min=0, max=2**31 - 1),
                default=None,
                metavar="N",
                help="Most further attempts of each task, in place of what its asset says.",
            ),
            click.option(
                "--code-version",
                default="",
                metavar="ID",
                help="Only on workers that announce this version of the code.",
            ),
        )
    ):
        command = option(command)
    return command


def parse_budget(pairs: Sequence[str]) -> dict[str, str]:
    """Read what ``--budget`` was given.

    Raises:
        InvalidArgumentError: A text is no ``UNIT=AMOUNT``, or a unit is given twice.
    """
    budget: dict[str, str] = {}
    for pair in pairs:
        unit, equals, amount = pair.partition("=")
        if not equals or not unit:
            raise errors.InvalidArgumentError(
                f"--budget {pair!r} cannot be read; write UNIT=AMOUNT, for example usd=1.50"
            )
        if unit in budget:
            raise errors.InvalidArgumentError(f"--budget {unit!r} is given more than once")
        budget[unit] = amount
    try:
        return dict(amounts(budget, "--budget"))
    except ValueError as exc:
        raise errors.InvalidArgumentError(str(exc)) from exc
