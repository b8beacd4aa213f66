"""Runs: starting, following, stopping and looking at them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from servo import _wire, errors
from servo.client.calls import Invoker
from servo.client.pages import items
from servo.types.events import Event, RunStateChanged
from servo.types.records import Run
from servo.types.requests import (
    CancelRunRequest,
    CreateRunRequest,
    CreateRunResponse,
    GetRunRequest,
    GetRunResponse,
    ListRunsRequest,
    ListRunsResponse,
    PartitionSelection,
    WatchRunRequest,
)
from servo.types.runs import RunState

_methods = _wire.methods

_NO_TASKS: Final = -1
_RECONNECTS: Final = 5
"""How often in a row a watch that was cut off is resumed."""
_PLANNING: Final = 300.0
"""How long a control plane may take to plan a large run, seconds."""


class Runs:
    """The verbs of runs."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def create(
        self,
        selection: Iterable[str],
        *,
        partitions: PartitionSelection | None = None,
        upstream: bool = False,
        downstream: bool = False,
        run_key: str = "",
        deployment_id: str = "",
        config: Mapping[str, str] | None = None,
    ) -> CreateRunResponse:
        """Plan and start a run.

        Args:
            selection: Asset keys or globs.
            partitions: Which partitions; `None` for assets that have none.
            upstream: Whether everything upstream is run as well.
            downstream: Whether everything downstream is run as well.
            run_key: The same key and request give the same run.
            deployment_id: The deployment; empty for the current one.
            config: What functions see as ``ctx.config``.

        Raises:
            servo.errors.NotFoundError: A selection names nothing, or nothing is deployed.
            servo.errors.ConflictError: The run key belongs to another request.
            servo.errors.InvalidArgumentError: The request cannot be planned.
        """
        request = CreateRunRequest(
            selection=tuple(selection),
            partitions=partitions,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            deployment_id=deployment_id,
            config=config or {},
        )
        return self._invoker.unary(_methods.CREATE_RUN, request, timeout=_PLANNING)

    def get(self, run_id: str, *, tasks: bool = True) -> Run:
        """Return a run, with all its tasks or without any.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """

        def fetch(token: str) -> GetRunResponse:
            request = GetRunRequest(
                run_id=run_id, page_token=token, page_size=0 if tasks else _NO_TASKS
            )
            return self._invoker.unary(_methods.GET_RUN, request)

        pages: list[Run] = [*items(fetch, lambda page: (page.run,))]
        # Tasks go on changing between the pages; the first page's counts belong to none of them.
        return replace(pages[-1], tasks=tuple(chain.from_iterable(page.tasks for page in pages)))

    def list(self, states: Iterable[RunState] = ()) -> Iterator[Run]:
        """Yield runs without their tasks, newest first.

        Args:
            states: Only runs in these states; none means all.
        """
        wanted = tuple(states)

        def fetch(token: str) -> ListRunsResponse:
            request = ListRunsRequest(page_token=token, states=wanted)
            return self._invoker.unary(_methods.LIST_RUNS, request)

        return items(fetch, lambda page: page.runs)

    def cancel(self, run_id: str, reason: str = "") -> Run:
        """Ask a run to stop; one that has ended stays as it is.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """
        request = CancelRunRequest(run_id=run_id, reason=reason)
        return self._invoker.unary(_methods.CANCEL_RUN, request).run

    def watch(self, run_id: str, after_sequence: int = 0) -> Iterator[Event]:
        """Yield the events of a run until it has ended; resumes when it is cut off.

        Args:
            run_id: The run.
            after_sequence: Only events after this one; 0 for all.

        Raises:
            servo.errors.NotFoundError: There is no such run.
            servo.errors.UnavailableError: The control plane stayed away.
        """
        failures = 0
        while True:
            request = WatchRunRequest(run_id=run_id, after_sequence=after_sequence)
            try:
                for response in self._invoker.stream(_methods.WATCH_RUN, request):
                    failures = 0
                    for event in response.events:
                        after_sequence = max(after_sequence, event.sequence)
                        yield event
                        if _ends(event):
                            return
                if self.get(run_id, tasks=False).state.is_terminal:
                    return
            except errors.UnavailableError:
                failures += 1
                if failures > _RECONNECTS:
                    raise
            time.sleep(0.2 * failures)


def _ends(event: Event) -> bool:
    return isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal
