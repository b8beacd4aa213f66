"""What attempts wrote."""

from __future__ import annotations

from collections.abc import Iterator

from servo import _wire
from servo.client.calls import Invoker
from servo.types.logs import LogBatch
from servo.types.requests import ReadLogsRequest


class Logs:
    """The verbs of logs."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def read(self, run_id: str, *, task: str = "", follow: bool = False) -> Iterator[LogBatch]:
        """Yield the log of a run, in the order in which it arrived.

        Args:
            run_id: The run.
            task: Only tasks of this asset, this ``asset[dimension=value]`` or this id.
            follow: Whether to go on until the run has ended.

        Raises:
            servo.errors.NotFoundError: There is no such run, or no such task in it.
        """
        request = ReadLogsRequest(run_id=run_id, task=task, follow=follow)
        for response in self._invoker.stream(_wire.methods.READ_LOGS, request):
            yield from response.batches
