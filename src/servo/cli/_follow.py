"""Following a run until it ends: live on a terminal, line by line elsewhere."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

from servo import _terminal
from servo.cli import _output
from servo.cli._run_view import RunView, TaskView
from servo.types.runs import TaskState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from servo.client import Client

_EACH_TASK_UP_TO: Final = 50
_LINE_INTERVAL: Final = 5.0
_SHOWN_ASSETS: Final = 12
_SHOWN_TASKS: Final = 6
_BAR_WIDTH: Final = 24
_REFRESH_PER_SECOND: Final = 8


class Display(Protocol):
    """Where a run that is followed is shown."""

    def changed(self, task: TaskView | None) -> None:
        """An event was taken into account; ``task`` changed its state, if any did."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


class Interrupts:
    """Holds Ctrl-C back from before a run is asked for until it is followed, within a block.

    Between the two nobody could cancel the run: it goes on while whoever asked for it is told
    nothing, not even which it is. Pressed a second time, Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self._was_pressed = False
        self._is_holding = False

    def __enter__(self) -> Self:
        # Not where it is ignored, as in the background of a script, or somebody else's business.
        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._press)
            self._is_holding = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_holding:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._is_holding = False

    def release(self) -> None:
        """Hold nothing back from now on.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        self.__exit__()
        if self._was_pressed:
            self._was_pressed = False
            raise KeyboardInterrupt

    def _press(self, _number: int, _frame: object) -> None:
        if self._was_pressed:
            raise KeyboardInterrupt
        self._was_pressed = True


def follow(client: Client, view: RunView, display: Display, interrupts: Interrupts) -> bool:
    """Show a run until it ends.

    The first Ctrl-C cancels the run and goes on following; the second one leaves.

    Args:
        client: The control plane.
        view: The run; it is brought up to date in place.
        display: Where to show it.
        interrupts: What was held back until now; from here on it counts.

    Returns:
        Whether the run was interrupted.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed a second time; the run goes on being cancelled.
    """
    interrupted = False
    while not view.state.is_terminal:
        try:
            interrupts.release()
            if interrupted:
                client.runs.cancel(view.run_id, "interrupted by Ctrl-C")
            for event in client.runs.watch(view.run_id, after_sequence=view.sequence):
                display.changed(view.apply(event))
            break
        except KeyboardInterrupt:
            if interrupted:
                display.say(
                    f"Left. Run {view.run_id} goes on being cancelled: servo status {view.run_id}"
                )
                raise
            interrupted = True
            display.say("Cancelling the run; press Ctrl-C again to leave without waiting.")
    return interrupted


@contextlib.contextmanager
def display(view: RunView, *, quiet: bool = False) -> Iterator[Display]:
    """Open the display that suits standard output.

    Args:
        view: The run that will be shown.
        quiet: Show nothing but what is said, on standard error; for ``--json``.
    """
    if quiet:
        yield _Quiet()
    elif _output.is_terminal():
        with _Live(view) as live:
            yield live
    else:
        yield _Lines(view)


class _Quiet:
    def changed(self, task: TaskView | None) -> None:
        pass

    def say(self, text: str) -> None:
        _output.note(text)


class _Lines:
    """Lines for logs and pipes: each task of a small run, now and then a summary of a large one."""

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._each = view.total <= _EACH_TASK_UP_TO
        self._last = time.monotonic()

    def changed(self, task: TaskView | None) -> None:
        if task is not None:
            line = task_line(task, also_success=self._each)
            if line:
                self.say(line)
        if not self._each and time.monotonic() - self._last > _LINE_INTERVAL:
            self._last = time.monotonic()
            self.say(summary(self._view))

    def say(self, text: str) -> None:
        _output.echo(text)


class _Live:
    """A region at the bottom of the terminal that is redrawn; failures scroll past above it."""

    def __init__(self, view: RunView) -> None:
        from rich.live import Live

        self._view = view
        self._console = _output.console()
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> _Live:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def changed(self, task: TaskView | None) -> None:
        if task is not None:
            line = task_line(task, also_success=False)
            if line:
                self.say(line)

    def say(self, text: str) -> None:
        from rich.text import Text

        # Not wrapped here: what the terminal wraps by itself can be copied as one line.
        text = _terminal.escaped(text, colors=True)
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        # Called on a thread of rich while events are applied on another. The view's dictionaries
        # never change their size, except `active`, which is copied in one step.
        lines = _frame(self._view)
        shown = (_terminal.escaped(line, colors=True, lines=False) for line in lines)
        return Group(*(Text.from_ansi(line, no_wrap=True, overflow="ellipsis") for line in shown))


def _frame(view: RunView) -> Iterator[str]:
    yield summary(view)
    begun = [asset for asset in list(view.assets.values()) if asset.finished < asset.total]
    begun.sort(key=lambda asset: (-asset.finished, str(asset.key)))
    width = max((len(str(asset.key)) for asset in begun[:_SHOWN_ASSETS]), default=0)
    for asset in begun[:_SHOWN_ASSETS]:
        name = str(asset.key)
        bar = _bar(asset.finished, asset.total)
        failed = asset.states[TaskState.FAILED] + asset.states[TaskState.SKIPPED]
        trouble = click.style(f"  {failed} failed or skipped", fg="red") if failed else ""
        yield f"  {name:<{width}}  {bar} {asset.finished}/{asset.total}{trouble}"
    if len(begun) > _SHOWN_ASSETS:
        yield f"  and {_output.count(len(begun) - _SHOWN_ASSETS, 'more asset')}"
    for task in islice(view.running_tasks, _SHOWN_TASKS):
        yield click.style(f"  > {task.label}{_progress(task)}", fg="cyan")


def _bar(done: int, total: int) -> str:
    filled = round(_BAR_WIDTH * done / total) if total else _BAR_WIDTH
    return click.style("━" * filled, fg="green") + click.style(
        "━" * (_BAR_WIDTH - filled), fg="bright_black"
    )


def _progress(task: TaskView) -> str:
    if task.progress is None:
        return ""
    percentage = "" if task.progress.percentage is None else f" {task.progress.percentage}%"
    message = f" {task.progress.message}" if task.progress.message else ""
    return f"{percentage}{message}"


def summary(view: RunView) -> str:
    """Return one line: how far a run is and how it goes."""
    parts = [f"{view.finished}/{view.total} tasks"]
    for state in (
        TaskState.RUNNING,
        TaskState.RETRY_WAIT,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.CANCELLED,
    ):
        number = view.states[state]
        if number:
            name = "waiting to retry" if state is TaskState.RETRY_WAIT else str(state)
            parts.append(click.style(f"{number} {name}", fg=_output.STATE_COLORS.get(str(state))))
    seconds = view.elapsed_until(datetime.now(UTC))
    held = ", held" if view.paused else ""
    return (
        f"Run {view.run_id}  {_output.state(str(view.state))}{held}  {seconds:.1f} s  "
        + ", ".join(parts)
    )


def task_line(task: TaskView, *, also_success: bool) -> str:
    """Return the line that a task deserves after a change of its state; often none.

    Args:
        task: The task after the change.
        also_success: Whether a task that went well deserves one.
    """
    failure = task.failure
    why = f"{failure.category}: {failure.message}" if failure is not None else task.reason
    match task.state:
        case TaskState.SUCCEEDED if task.warnings:
            checks = "; ".join(f"{check.check_name}: {check.message}" for check in task.warnings)
            return f"{click.style('!', fg='yellow')} {task.label}  warning, {checks}"
        case TaskState.SUCCEEDED if also_success:
            rows = "" if task.rows is None else f"  {_output.count(task.rows, 'row')}"
            return f"{click.style('✓', fg='green')} {task.label}{rows}"
        case TaskState.FAILED:
            return f"{click.style('✗', fg='red')} {task.label}  {why}"
        case TaskState.RETRY_WAIT:
            return (
                f"{click.style('↻', fg='yellow')} {task.label}  attempt {task.attempt} failed, "
                f"will retry: {why}"
            )
        case TaskState.SKIPPED if also_success:
            return f"{click.style('-', fg='yellow')} {task.label}  skipped: {why}"
        case TaskState.CANCELLED if also_success:
            return f"{click.style('-', fg='yellow')} {task.label}  cancelled"
        case _:
            return ""
