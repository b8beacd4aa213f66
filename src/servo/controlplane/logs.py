"""The verb of logs: reading what attempts wrote, also while they write it."""

from __future__ import annotations

from collections.abc import AsyncIterator

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
        seen: dict[tuple[str, int, LogStream], int] = {}
        try:
            while True:
                rows = await workspace.store.logs(run.run_id, after, _LOG_BATCHES_AT_ONCE)
                if rows:
                    after = rows[-1][0]
                    for _, batch in rows:
                        if wanted is not None and batch.task_id not in wanted:
                            continue
                        if lines := _unseen(batch, seen):
                            fresh = replace(batch, lines=lines)
                            yield ReadLogsResponse(batches=(fresh,), cursor=after)
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


def _unseen(batch: LogBatch, seen: dict[tuple[str, int, LogStream], int]) -> tuple[LogLine, ...]:
    """Return the lines that did not come before: a worker repeats what it got no receipt for."""
    lines = []
    for line in batch.lines:
        key = (batch.task_id, batch.attempt, line.stream)
        if line.number > seen.get(key, 0):
            seen[key] = line.number
            lines.append(line)
    return tuple(lines)
