"""Following a run until it ends: live on a terminal, line by line elsewhere."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import click

from servo import _terminal, errors
from servo.cli import _failures, _output, _process
from servo.cli._failures import Detail, Excerpt
from servo.cli._run_view import RunView, TaskView, warning_text
from servo.types.runs import RunState, TaskState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from servo.client import Client
    from servo.types.records import Run

_EACH_TASK_UP_TO: Final = 50
_LINE_INTERVAL: Final = 5.0
_SILENCE: Final = 3.0
_SHOWN_ASSETS: Final = 12
_SHOWN_TASKS: Final = 6
_BAR_WIDTH: Final = 24
_REFRESH_PER_SECOND: Final = 8
_FAILED: Final = frozenset({TaskState.FAILED, TaskState.RETRY_WAIT})


class Display(Protocol):
    """Where a run that is followed is shown."""

    def changed(self, task: TaskView | None) -> None:
        """An event was taken into account; ``task`` changed its state, if any did."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


class Terminated(BaseException):
    """A signal asked the command to end, as Ctrl-C does by `KeyboardInterrupt`.

    Attributes:
        number: Which one: SIGTERM, or SIGHUP where the terminal is gone.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


_NOTICED: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupts:
    """Holds Ctrl-C, SIGTERM and SIGHUP back from before a run is asked for until it is followed.

    Between the two the run could not be cancelled: it would go on, and nothing would say which it
    is. A second signal does not wait. Once released, they raise where the main thread is.
    """

    def __init__(self) -> None:
        self._held: signal.Signals | None = None
        self._is_holding = True
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _NOTICED:
                # Not where it is ignored, as in the background of a script or under nohup, or
                # where another library handles it.
                before = signal.getsignal(number)
                if before in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[number] = before
                    signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._previous.items():
            signal.signal(number, before)
        self._previous.clear()

    def release(self) -> None:
        """Hold nothing back from now on.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
            Terminated: SIGTERM or SIGHUP came meanwhile.
        """
        self._is_holding = False
        held, self._held = self._held, None
        if held is not None:
            self._raise(held)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._is_holding and self._held is None:
            self._held = signal.Signals(number)
        else:
            self._raise(signal.Signals(number))

    def _raise(self, number: signal.Signals) -> None:
        if number is signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(number)


def follow(
    client: Client,
    view: RunView,
    display: Display,
    interrupts: Interrupts,
    *,
    cancel_on_term: bool = False,
) -> signal.Signals | None:
    """Show a run until it ends.

    The first Ctrl-C cancels the run and goes on following; the second one leaves. SIGTERM and
    SIGHUP leave, and the run goes on.

    Args:
        client: The control plane.
        view: The run; it is brought up to date in place.
        display: Where to show it.
        interrupts: What was held back until now; from here on it counts.
        cancel_on_term: Whether SIGTERM cancels the run as Ctrl-C does.

    Returns:
        The signal for which the run was cancelled, if it was.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed a second time; the run goes on being cancelled.
        Terminated: SIGTERM or SIGHUP came, and what becomes of the run has been said.
    """
    cause: signal.Signals | None = None
    while not view.state.is_terminal:
        try:
            interrupts.release()
            if cause is not None:
                name = "Ctrl-C" if cause is signal.SIGINT else cause.name
                client.runs.cancel(view.run_id, f"interrupted by {name}")
            with _told_why(client, view, display):
                for event in client.runs.watch(view.run_id, after_sequence=view.sequence):
                    display.changed(view.apply(event))
            break
        except KeyboardInterrupt:
            if cause is not None:
                _leave(display, f"Left. {_goes_on(view, cause)}")
                raise
            cause = signal.SIGINT
            display.say("Cancelling the run; press Ctrl-C again to leave without waiting.")
        except Terminated as exc:
            if cause is not None or not (cancel_on_term and exc.number is signal.SIGTERM):
                _leave(display, f"Ended by {exc.number.name}. {_goes_on(view, cause)}")
                raise
            cause = exc.number
            display.say(f"Cancelling the run; a second {cause.name} leaves without waiting.")
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            # The terminal is gone, and that was noticed before the signal that says so came.
            raise Terminated(signal.SIGHUP) from exc
    return cause


@contextlib.contextmanager
def _told_why(client: Client, view: RunView, display: Display) -> Iterator[None]:
    """Say why nothing of a run can start, once it has been silent for a while, within a block."""
    left = threading.Event()

    def ask() -> None:
        heard, said = view.sequence, ""
        while not left.wait(_SILENCE):
            before, heard = heard, view.sequence
            if heard != before:
                continue
            # Asking is a courtesy: that the control plane does not answer is said elsewhere.
            with contextlib.suppress(errors.ServoError):
                run = client.runs.get(view.run_id, tasks=False)
                if run.reason != said and not run.state.is_terminal and not left.is_set():
                    said = run.reason
                    display.say(_standstill(run))

    thread = threading.Thread(target=ask, name="servo-silence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()


def _goes_on(view: RunView, cause: signal.Signals | None) -> str:
    if cause is not None:
        status = _failures.command("status", view.run_id)
        return f"Run {view.run_id} goes on being cancelled: {status}"
    return f"Run {view.run_id} goes on. Cancel it: {_failures.command('cancel', view.run_id)}"


def _leave(display: Display, text: str) -> None:
    # After SIGHUP the terminal is gone, and writing to it is an error.
    with contextlib.suppress(OSError):
        display.say(text)


@contextlib.contextmanager
def display(
    client: Client, view: RunView, *, quiet: bool = False, can_cancel: bool = True
) -> Iterator[Display]:
    """Open the display that suits standard output.

    Args:
        client: The control plane, which is asked why attempts failed.
        view: The run that will be shown.
        quiet: Show nothing but what is said, on standard error; for ``--json``.
        can_cancel: Whether Ctrl-C cancels the run.
    """
    if quiet:
        yield _Quiet()
        return
    failures = _FailureLines(client, view, can_cancel=can_cancel)
    if _output.is_terminal():
        with _Live(view, failures) as live:
            yield live
    else:
        lines = _Lines(view, failures)
        yield lines
        lines.end()


class _FailureLines:
    """What is printed of each failed attempt.

    Args:
        client: The control plane.
        view: The run.
        can_cancel: Whether Ctrl-C cancels the run.
    """

    def __init__(self, client: Client, view: RunView, *, can_cancel: bool) -> None:
        self._client = client
        self._view = view
        self._can_cancel = can_cancel
        self._has_said_how_to_stop = False
        self.digest = _failures.Digest()

    def of(self, task: TaskView) -> Iterator[str]:
        """Yield the lines for a task whose attempt has failed; none where it is only counted."""
        failure = task.failure
        if failure is None:
            yield task_line(task, also_success=False)
            return
        detail = self.digest.detail(task.asset, failure, task.index)
        if detail is Detail.COUNTED:
            return
        yield task_line(task, also_success=False)
        if detail is not Detail.LINE:
            run_id = self._view.run_id
            excerpt = _failures.read(self._client, run_id, task.task_id, task.attempt)
            if detail is Detail.PLACED:
                excerpt = Excerpt(excerpt.place)
            yield from _failures.lines_of(excerpt, failure.message)
        if task.state is TaskState.RETRY_WAIT and not self._has_said_how_to_stop:
            self._has_said_how_to_stop = True
            stop = _failures.command("cancel", self._view.run_id)
            yield f"    To stop the run: {f'Ctrl-C, or {stop}' if self._can_cancel else stop}"


class _Quiet:
    def changed(self, task: TaskView | None) -> None:
        pass

    def say(self, text: str) -> None:
        _output.note(text)


class _Lines:
    """Lines for logs and pipes: each task of a small run, now and then a summary of a large one."""

    def __init__(self, view: RunView, failures: _FailureLines) -> None:
        self._view = view
        self._failures = failures
        self._each = view.total <= _EACH_TASK_UP_TO
        self._last = time.monotonic()

    def changed(self, task: TaskView | None) -> None:
        if task is not None:
            if task.state in _FAILED:
                lines = self._failures.of(task)
            else:
                lines = iter([task_line(task, also_success=self._each)])
            for line in filter(None, lines):
                task.is_told = True
                self.say(line)
        if time.monotonic() - self._last > _LINE_INTERVAL:
            self._last = time.monotonic()
            self.end()
            if not self._each:
                self.say(summary(self._view))

    def end(self) -> None:
        """Say how many failures were left out since that was said last."""
        for line in self._failures.digest.counts(only_new=True):
            self.say(line)

    def say(self, text: str) -> None:
        _output.echo(text)


class _Live:
    """A region at the bottom of the terminal that is redrawn; failures scroll past above it."""

    def __init__(self, view: RunView, failures: _FailureLines) -> None:
        from rich.live import Live

        self._view = view
        self._failures = failures
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
        # Nothing can be taken back from a terminal that is gone, and what is left for it goes
        # nowhere: the exit code says that the command was hung up on, not that it cannot write.
        try:
            with contextlib.suppress(OSError):
                self._live.stop()
            sys.stdout.flush()
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            _process.silence(sys.stdout)

    def changed(self, task: TaskView | None) -> None:
        if task is None:
            return
        if task.state in _FAILED:
            lines = self._failures.of(task)
        else:
            lines = iter([task_line(task, also_success=False)])
        for line in filter(None, lines):
            task.is_told = True
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
        lines = [*_frame(self._view), *self._failures.digest.counts()]
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
    now = datetime.now(UTC)
    running = view.states[TaskState.RUNNING]
    for task in islice(view.running_tasks, _SHOWN_TASKS):
        since = "" if task.started_at is None else f"  {_failures.length(now - task.started_at)}"
        yield click.style(f"  > {task.label}{since}{_progress(task)}", fg="cyan")
    if running > _SHOWN_TASKS:
        yield click.style(f"  and {running - _SHOWN_TASKS:,} more that run", fg="cyan")
    waiting = view.states[TaskState.RETRY_WAIT]
    for task in islice(view.waiting_tasks, _SHOWN_TASKS):
        attempt = _failures.attempt_of(task.attempt, task.failure)
        following = "soon" if task.retry_at is None else _countdown(task.retry_at, now)
        yield click.style(
            f"  ↻ {task.label}  {attempt} failed, next attempt {following}", fg="yellow"
        )
    if waiting > _SHOWN_TASKS:
        yield click.style(f"  and {waiting - _SHOWN_TASKS:,} more that wait to retry", fg="yellow")


def _standstill(run: Run) -> str:
    if not run.reason:
        return f"Run {run.run_id} continues."
    stands = "is cancelling" if run.state is RunState.CANCELLING else "waits"
    return f"Run {run.run_id} {stands}: {run.reason}"


def _countdown(retry_at: datetime, now: datetime) -> str:
    return f"in {_failures.length(retry_at - now)}" if retry_at > now else "now"


def _bar(done: int, total: int) -> str:
    filled = round(_BAR_WIDTH * done / total) if total else _BAR_WIDTH
    return click.style("━" * filled, fg="green") + click.style(
        "━" * (_BAR_WIDTH - filled), fg="bright_black"
    )


def _progress(task: TaskView) -> str:
    if task.progress is None:
        return ""
    percentage = "" if task.progress.percentage is None else f"  {task.progress.percentage}%"
    message = f"  {task.progress.message}" if task.progress.message else ""
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
            return f"{click.style('!', fg='yellow')} {task.label}  {warning_text(task.warnings)}"
        case TaskState.SUCCEEDED if also_success:
            rows = "" if task.rows is None else f"  {_output.count(task.rows, 'row')}"
            return f"{click.style('✓', fg='green')} {task.label}{rows}"
        case TaskState.FAILED:
            several = failure is not None and task.attempt > 1
            last = f" ({_failures.attempt_of(task.attempt, failure)})" if several else ""
            return f"{click.style('✗', fg='red')} {task.label}  {why}{last}"
        case TaskState.RETRY_WAIT:
            attempt = _failures.attempt_of(task.attempt, failure)
            following = (
                f"; next attempt {_failures.next_attempt(task.retry_at)}" if task.retry_at else ""
            )
            return (
                f"{click.style('↻', fg='yellow')} {task.label}  {attempt} failed: {why}{following}"
            )
        case TaskState.SKIPPED if also_success:
            return f"{click.style('-', fg='yellow')} {task.label}  skipped: {why}"
        case TaskState.CANCELLED if also_success:
            return f"{click.style('-', fg='yellow')} {task.label}  cancelled"
        case _:
            return ""
