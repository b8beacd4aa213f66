"""The verb of logs: reading what attempts wrote, also while they write it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from servo import errors
from servo.controlplane.caller import Caller
from servo.controlplane.events import stopping
from servo.controlplane.plane import Plane, stored_run
from servo.controlplane.workspace import Workspace
from servo.types.labels import find
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Run
from servo.types.requests import ReadLogsRequest, ReadLogsResponse

_LOG_BATCHES_AT_ONCE = 64
_END: Final = 2**62
"""Greater than every cursor and every number of a line."""

_Source: TypeAlias = tuple[str, int, LogStream]
"""Task, attempt and stream, within which lines are numbered."""


class Logs:
    """The RPC of ``LogService``.

    Args:
        plane: What it acts on.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def read_logs(
        self, caller: Caller, request: ReadLogsRequest
    ) -> AsyncIterator[ReadLogsResponse]:
        """Yield the log of a run, and with ``follow`` what comes until it ends.

        Raises:
            servo.errors.InvalidArgumentError: The log of the run has no such cursor.
            servo.errors.NotFoundError: There is no such run, or no such task in it.
            servo.errors.UnavailableError: The control plane stops before the run has ended.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = await stored_run(workspace, request.run_id)
        wanted = await self._log_tasks(workspace, run, request.task)
        await _check_cursor(workspace, run.run_id, request.after_cursor)
        signal = workspace.signals.subscribe(run.run_id)
        after, ended = request.after_cursor, False
        seen: dict[_Source, int] = {}
        chosen = _Chosen(wanted, request.since, request.attempt)
        skipped = 0
        try:
            if request.tail is not None and not after:
                after, skipped = await self._before_tail(workspace, run, request.tail, chosen)
                # Who has to ask again goes on from here, and not from other last lines.
                yield ReadLogsResponse(cursor=after)
            while True:
                rows = await workspace.store.logs(run.run_id, after, _LOG_BATCHES_AT_ONCE)
                if rows:
                    after = rows[-1][0]
                    for cursor, batch in rows:
                        lines = chosen.lines(batch)[skipped:]
                        skipped = 0
                        if lines := _unseen(batch, lines, seen):
                            fresh = replace(batch, lines=lines)
                            yield ReadLogsResponse(batches=(fresh,), cursor=cursor)
                    continue
                if not request.follow or ended:
                    return
                if self.plane.is_stopping:
                    raise stopping(f"cursor {after}")
                # Lines are durable before the end of their attempt is: one more look suffices.
                ended = (await stored_run(workspace, run.run_id)).state.is_terminal
                if not ended:
                    await signal.wait()
        finally:
            workspace.signals.unsubscribe(run.run_id, signal)

    async def _before_tail(
        self, workspace: Workspace, run: Run, count: int, chosen: _Chosen
    ) -> tuple[int, int]:
        """Find the last lines, reading backwards no more than there are of them.

        Returns:
            The cursor after which they begin, and how many chosen lines of the batch that follows
            it come before them.
        """
        first: dict[_Source, int] = {}
        rows = await workspace.store.logs_before(run.run_id, _END, _LOG_BATCHES_AT_ONCE)
        newest = rows[0][0] if rows else 0
        if not count:
            return newest, 0
        while rows:
            for cursor, batch in rows:
                lines = chosen.lines(batch)
                for place in range(len(lines) - 1, -1, -1):
                    line = lines[place]
                    source = (batch.task_id, batch.attempt, line.stream)
                    # A batch that came twice counts once, as it is shown once.
                    if line.number < first.get(source, _END):
                        first[source] = line.number
                        count -= 1
                        if not count:
                            return cursor - 1, place
            rows = await workspace.store.logs_before(run.run_id, rows[-1][0], _LOG_BATCHES_AT_ONCE)
        return 0, 0

    async def _log_tasks(
        self, workspace: Workspace, run: Run, wanted: str
    ) -> frozenset[str] | None:
        if not wanted:
            return None
        tasks = await workspace.store.tasks(run.run_id, 0, -1)
        found = frozenset(
            task.task_id
            for task in ([task for task in tasks if task.task_id == wanted] or find(wanted, tasks))
        )
        if not found:
            raise errors.NotFoundError(
                f"run {run.run_id} has no task {wanted!r}; name an asset, "
                "asset[dimension=value] or a task id",
                code="TASK_NOT_FOUND",
            )
        return found


async def _check_cursor(workspace: Workspace, run_id: str, after: int) -> None:
    """Refuse a cursor that the log of a run does not have: whoever waits there misses lines."""
    if after == 0:
        return
    if after < 0 or not await workspace.store.logs(run_id, after - 1, 1):
        raise errors.InvalidArgumentError(
            f"the log of run {run_id} has no cursor {after}; read from 0, or after a cursor of "
            "this log",
            code="UNKNOWN_CURSOR",
            context={"after_cursor": str(after)},
        )


class _Chosen(NamedTuple):
    """Which lines are wanted.

    Attributes:
        tasks: Ids of tasks; `None` for all.
        since: The earliest time of writing; `None` for any.
        attempt: The number of the attempt; `None` for any.
    """

    tasks: frozenset[str] | None
    since: datetime | None
    attempt: int | None

    def lines(self, batch: LogBatch) -> Sequence[LogLine]:
        """Return the lines of a batch that are wanted."""
        if self.tasks is not None and batch.task_id not in self.tasks:
            return ()
        if self.attempt not in (None, batch.attempt):
            return ()
        since = self.since
        if since is None:
            return batch.lines
        return [one for one in batch.lines if one.written_at is None or one.written_at >= since]


def _unseen(
    batch: LogBatch, chosen: Sequence[LogLine], seen: dict[_Source, int]
) -> tuple[LogLine, ...]:
    """Return the lines that did not come before: a worker repeats what it got no receipt for."""
    lines = []
    for line in chosen:
        key = (batch.task_id, batch.attempt, line.stream)
        if line.number > seen.get(key, 0):
            seen[key] = line.number
            lines.append(line)
    return tuple(lines)
