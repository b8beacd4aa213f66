"""The lines of ``servo dev``: when a worker is ready, and when a run starts, fails or ends.

A run has at most a handful of lines, however many tasks it has; its first failure has a few more,
which say where in the code it happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _failures, _output
from servo.types import labels
from servo.types.events import Event, RunCreated, RunStateChanged, TaskStateChanged
from servo.types.records import Run
from servo.types.runs import RunState, TaskState

if TYPE_CHECKING:
    from servo.cli.host import Host
    from servo.client import AsyncClient

_LOG = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.2
_SHOWN_FAILURES: Final = 3
_SHOWN_SELECTION: Final = 60
_MOST_NAMED_TASKS: Final = 1000
_FAILURES: Final = frozenset({TaskState.FAILED, TaskState.RETRY_WAIT})


@dataclass(slots=True)
class _Followed:
    """A run that has not ended.

    Attributes:
        names: The label of each task by its number; read when the first one fails.
        failures: How many failed attempts there were.
        failed: The tasks that failed for good.
    """

    names: tuple[str, ...] | None = None
    failures: int = 0
    failed: set[int] = field(default_factory=set)


async def follow(host: Host) -> None:
    """Print lines until the host is told to stop."""
    watching: dict[tuple[str, str], asyncio.Task[None]] = {}
    ready = 0
    since = datetime.now(UTC)
    try:
        while not host.stopping.is_set():
            for place in host.workspaces:
                if place not in watching:
                    watching[place] = asyncio.create_task(_follow_workspace(host, *place, since))
            if host.connected_workers > ready:
                _output.echo(f"{click.style('●', fg='green')} {_workers(host.connected_workers)}")
            ready = host.connected_workers
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(host.stopping.wait(), _LOOK_SECONDS)
    finally:
        for task in watching.values():
            task.cancel()
        await asyncio.gather(*watching.values(), return_exceptions=True)


def _workers(count: int) -> str:
    return "A worker is ready." if count == 1 else f"{count} workers are ready."


async def _follow_workspace(host: Host, tenant_id: str, workspace_id: str, since: datetime) -> None:
    from servo.client import AsyncClient

    assert host.server is not None
    async with AsyncClient(
        host.server.grpc_url,
        api_key=host.server.api_key,
        tenant_id=tenant_id,
        workspace_id=workspace_id,
    ) as client:
        lines = _Lines(client, "" if workspace_id == "default" else f"{workspace_id}: ")
        try:
            # What happened before is in `servo events`.
            async for event in client.events.watch(await _newest_before(client, since)):
                if event.occurred_at >= since:
                    await lines.take(event)
        except errors.ServoError as exc:
            _LOG.warning("the runs of workspace %r are not shown any more: %s", workspace_id, exc)


async def _newest_before(client: AsyncClient, moment: datetime) -> int:
    """Return the number of an event that is not long before a moment, or shortly after it."""
    async for run in client.runs.list():
        if run.created_at is not None and run.created_at < moment:
            return run.last_sequence
    return 0


class _Lines:
    """Turns events of one workspace into lines.

    Args:
        client: Reads the names of tasks.
        prefix: What each line begins with.
    """

    def __init__(self, client: AsyncClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._runs: dict[str, _Followed] = {}

    async def take(self, event: Event) -> None:
        """Print what deserves a line."""
        match event.payload:
            case RunCreated(run=run):
                self._runs[run.run_id] = _Followed()
                self._say("▶", "cyan", f"run {run.run_id} started: {_asked(run)}")
            case TaskStateChanged(state=state) as change if state in _FAILURES:
                await self._failed(event.run_id, change)
            case RunStateChanged(state=state) if state.is_terminal:
                await self._ended(event.run_id, state)

    async def _failed(self, run_id: str, change: TaskStateChanged) -> None:
        run = self._runs.setdefault(run_id, _Followed())
        run.failures += 1
        if change.state is TaskState.FAILED:
            run.failed.add(change.index)
        if run.failures > _SHOWN_FAILURES + 1:
            return
        if run.failures == _SHOWN_FAILURES + 1:
            self._say("✗", "red", f"run {run_id}: more attempts fail; servo status {run_id}")
            return
        if run.names is None:
            run.names = await self._names(run_id)
        name = run.names[change.index] if change.index < len(run.names) else ""
        why = change.failure.message if change.failure is not None else change.reason
        attempt = _failures.attempt_of(change.attempt, change.failure)
        retry = f", next attempt {_failures.next_attempt(at)}" if (at := change.retry_at) else ""
        command = labels.command("logs", run_id, *(("--task", name) if name else ()))
        self._say(
            "✗",
            "red",
            f"run {run_id}: {name or f'task {change.index}'} failed in {attempt}{retry}: "
            f"{_output.one_line(why)}; {command}",
        )
        if run.failures > 1 or not name:
            return
        excerpt = await _failures.read_async(self._client, run_id, name, change.attempt)
        for line in _failures.lines_of(excerpt, why):
            _output.echo(line)
        if retry:
            _output.echo(f"    To stop the run: {_failures.command('cancel', run_id)}")

    async def _ended(self, run_id: str, state: RunState) -> None:
        run = self._runs.pop(run_id, _Followed())
        tasks, took = "", ""
        with contextlib.suppress(errors.ServoError):
            ended = await self._client.runs.get(run_id, tasks=False)
            tasks = f": {_succeeded(ended)}"
            took = f" in {_output.elapsed(ended.started_at, ended.finished_at) or '0.0 s'}"
        good = state is RunState.SUCCEEDED
        more = "" if good and not run.failures else f"; servo status {run_id}"
        text = f"run {run_id} {_output.state(str(state))}{took}{tasks}{more}"
        self._say("✓" if good else "✗", "green" if good else "red", text)

    async def _names(self, run_id: str) -> tuple[str, ...]:
        try:
            run = await self._client.runs.get(run_id, tasks=False)
            if run.counts.total > _MOST_NAMED_TASKS:
                return ()
            found = await self._client.runs.get(run_id)
        except errors.ServoError:
            return ()
        return tuple(labels.task_label(task) for task in found.tasks)

    def _say(self, sign: str, color: str, text: str) -> None:
        _output.echo(f"{click.style(sign, fg=color)} {self._prefix}{text}")


def _succeeded(run: Run) -> str:
    total = _output.count(run.counts.total, "task")
    if run.counts.succeeded == run.counts.total:
        return total
    return f"{run.counts.succeeded:,} of {total} succeeded"


def _asked(run: Run) -> str:
    selection = _output.one_line(" ".join(run.selection))
    if len(selection) > _SHOWN_SELECTION:
        selection = f"{selection[:_SHOWN_SELECTION]}…"
    return f"{_output.count(run.counts.total, 'task')} of {selection or 'the project'}"
