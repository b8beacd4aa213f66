# Generated from src/servo/client/_aio/_runs.py by scripts/_unasync.py; edit that instead.
"""Runs: starting, reading, holding, stopping and following them, and asking what they wait for."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from servo._wire import methods
from servo.client._sync._calls import NO_TASKS, Calls, pages
from servo.client._sync._events import each_once
from servo.client._sync._glue import closing
from servo.client._sync._stream import Stream
from servo.errors import InvalidArgumentError
from servo.types.blockers import Blocker, ExplainRequest
from servo.types.events import Event, RunStateChanged
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey
from servo.types.records import Run, Task
from servo.types.requests import (
    CancelRunRequest,
    CreateRunRequest,
    CreateRunResponse,
    GetRunRequest,
    ListRunsRequest,
    PartitionSelection,
    Rerun,
    UpdateRunRequest,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RerunScope, RunState
from servo.types.selection import expressions

_PLANNING_SECONDS: Final = 300.0
"""How long a control plane may take to plan a large run."""


class Runs:
    """The runs of a workspace. Use it as ``client.runs``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self,
        selection: str | Iterable[str],
        *,
        partitions: PartitionSelection | None = None,
        upstream: bool = False,
        downstream: bool = False,
        run_key: str = "",
        deployment_id: str = "",
        config: Mapping[str, str] | None = None,
        priority: int = 0,
        max_parallelism: int = 0,
        timeout_seconds: int = 0,
        budget: Mapping[str, str] | None = None,
        code_version_id: str = "",
        max_retries: int | None = None,
    ) -> CreateRunResponse:
        """Start a run.

        Args:
            selection: Which assets: keys, globs, and what else `servo.types.selection` describes,
                such as ``["+mart.delays", "not raw.*"]``.
            partitions: Which partitions; only assets without partitions when left out.
            upstream: Whether to run everything that the selection reads as well.
            downstream: Whether to run everything that reads the selection as well.
            run_key: An idempotency key: the same key and request give the same run.
            deployment_id: The deployment to run; the current one when left out.
            config: What the functions see as ``ctx.config``.
            priority: Runs with a greater number go first; 0 is normal.
            max_parallelism: Most tasks that are executed at a time; zero for no limit.
            timeout_seconds: How long it may take; it ends as ``timed_out`` then. Zero for no limit.
            budget: What its tasks may spend together, by unit: ``{"usd": "1.50"}``.
            code_version_id: Only workers that announce this version of the user code execute it.
            max_retries: How many more attempts its tasks get after the first, in place of what
                their assets say; as they say when left out.

        Raises:
            InvalidArgumentError: The selection or the partitions make no sense, or an upstream
                partition is missing; the message lists them.
            TypeError: An amount of the budget is a float, which cannot say 0.1.
            ValueError: A limit is negative, or an amount is malformed.
            ConflictError: The run key was used for another request.
        """
        request = CreateRunRequest(
            selection=expressions(selection),
            partitions=partitions,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            deployment_id=deployment_id,
            config=config or {},
            priority=priority,
            max_parallelism=max_parallelism,
            timeout_seconds=timeout_seconds,
            budget=budget or {},
            code_version_id=code_version_id,
            max_retries=max_retries,
        )
        return self._calls.unary(methods.CREATE_RUN, request, at_least=_PLANNING_SECONDS)

    def rerun(
        self,
        run_id: str,
        *,
        scope: RerunScope = RerunScope.UNFINISHED,
        selection: str | Iterable[str] = (),
        upstream: bool = False,
        downstream: bool = False,
        run_key: str = "",
        deployment_id: str = "",
        config: Mapping[str, str] | None = None,
        priority: int = 0,
        max_parallelism: int = 0,
        timeout_seconds: int = 0,
        budget: Mapping[str, str] | None = None,
        code_version_id: str = "",
        max_retries: int | None = None,
    ) -> CreateRunResponse:
        """Repeat tasks of a run that has ended, with their partitions, as a new run.

        The new run names the old one as its parent. What is not given is as it was for the parent.

        Args:
            run_id: The run to repeat.
            scope: Which of its tasks: those that did not succeed, or every one.
            selection: Only tasks of these assets; of all assets when it is left out.
            upstream: Whether to run everything that those tasks read as well.
            downstream: Whether to run everything that reads them as well.
            run_key: An idempotency key: the same key and request give the same run.
            deployment_id: The deployment to run; the current one when left out, so that what was
                wrong can be mended and deployed in between.
            config: What the functions see as ``ctx.config``.
            priority: Runs with a greater number go first.
            max_parallelism: Most tasks that are executed at a time.
            timeout_seconds: How long it may take; it ends as ``timed_out`` then.
            budget: What its tasks may spend together, by unit: ``{"usd": "1.50"}``.
            code_version_id: Only workers that announce this version of the user code execute it.
                The parent's counts where the deployment is the parent's as well.
            max_retries: How many more attempts its tasks get after the first, in place of what
                their assets say.

        Raises:
            NotFoundError: There is no such run, or the deployment lacks an asset of it.
            InvalidArgumentError: Nothing is left to repeat (``NOTHING_TO_RERUN``), or an upstream
                partition is missing.
            ConflictError: The run has not ended (``RUN_NOT_FINISHED``), or the run key was used
                for another request (``RUN_KEY_CONFLICT``).
            TypeError: An amount of the budget is a float, which cannot say 0.1.
            ValueError: A limit is negative, or an amount is malformed.
        """
        request = CreateRunRequest(
            selection=expressions(selection),
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            deployment_id=deployment_id,
            config=config or {},
            priority=priority,
            max_parallelism=max_parallelism,
            timeout_seconds=timeout_seconds,
            budget=budget or {},
            code_version_id=code_version_id,
            rerun=Rerun(run_id=run_id, scope=scope),
            max_retries=max_retries,
        )
        return self._calls.unary(methods.CREATE_RUN, request, at_least=_PLANNING_SECONDS)

    def get(self, run_id: str, *, tasks: bool = True) -> Run:
        """Read one run.

        Args:
            run_id: The id.
            tasks: Whether to read its tasks as well, all of them.

        Raises:
            NotFoundError: There is no such run.
        """
        size = 0 if tasks else NO_TASKS
        found: list[Task] = []
        for page in pages(
            lambda token: self._calls.unary(
                methods.GET_RUN, GetRunRequest(run_id=run_id, page_size=size, page_token=token)
            ),
            lambda page: page.next_page_token if tasks else "",
        ):
            found += page.run.tasks
        return replace(page.run, tasks=tuple(found))

    def list(self, *, states: Iterable[RunState] = (), page_size: int = 0) -> Iterator[Run]:
        """Read runs without their tasks, newest first, page by page.

        Args:
            states: Only runs in these states; all when left out.
            page_size: Runs in a page; zero for the server's choice.
        """
        wanted = tuple(states)
        for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_RUNS,
                ListRunsRequest(page_size=page_size, page_token=token, states=wanted),
            ),
            lambda page: page.next_page_token,
        ):
            yield from page.runs

    def cancel(self, run_id: str, reason: str = "") -> Run:
        """Stop a run; one that has ended is left as it is.

        Args:
            run_id: The id.
            reason: Why, for people.

        Raises:
            NotFoundError: There is no such run.
        """
        request = CancelRunRequest(run_id=run_id, reason=reason)
        return (self._calls.unary(methods.CANCEL_RUN, request)).run

    def pause(self, run_id: str) -> Run:
        """Hold a run: what is being executed goes on, nothing else of it starts.

        Args:
            run_id: The id.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has ended.
        """
        return self._update(UpdateRunRequest(run_id=run_id, paused=True))

    def resume(self, run_id: str) -> Run:
        """Let a run go on that was held.

        Args:
            run_id: The id.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has ended.
        """
        return self._update(UpdateRunRequest(run_id=run_id, paused=False))

    def set_priority(self, run_id: str, priority: int) -> Run:
        """Change which runs go first.

        Args:
            run_id: The id.
            priority: Runs with a greater number go first; 0 is normal.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has ended.
        """
        return self._update(UpdateRunRequest(run_id=run_id, priority=priority))

    def _update(self, request: UpdateRunRequest) -> Run:
        return (self._calls.unary(methods.UPDATE_RUN, request)).run

    def why(
        self,
        *,
        run_id: str = "",
        task_id: str = "",
        asset: AssetKey | str | None = None,
        partition: PartitionKey | None = None,
    ) -> tuple[Blocker, ...]:
        """Ask why something is not done: a run, a task, or an asset in its newest run.

        Args:
            run_id: The run.
            task_id: The task.
            asset: The asset, or its key's text.
            partition: The partition of the asset; any when left out.

        Returns:
            A chain: each link is kept by the next one, and the last one is where something can be
            done.

        Raises:
            NotFoundError: There is no such run, task or asset.
            InvalidArgumentError: It is asked about nothing, or about more than one thing.
        """
        try:
            request = ExplainRequest(
                run_id=run_id,
                task_id=task_id,
                asset_key=AssetKey.parse(asset) if isinstance(asset, str) else asset,
                partition_key=partition,
            )
        except ValueError as exc:
            raise InvalidArgumentError(str(exc)) from exc
        return (self._calls.unary(methods.EXPLAIN, request)).chain

    def watch(self, run_id: str, after_sequence: int = 0) -> Stream[Event]:
        """Follow a run until it has ended, through restarts of the control plane.

        Args:
            run_id: The id.
            after_sequence: Only what happened after this event; zero for everything.

        Returns:
            Each event of the history once, in order, and in between the progress of tasks, which
            has the sequence 0.

        Raises:
            NotFoundError: There is no such run.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        return Stream(self._watch(run_id, after_sequence))

    def _watch(self, run_id: str, sequence: int) -> Generator[Event, None, None]:
        has_ended = False

        def open_stream(after: int) -> Generator[WatchRunResponse, None, None]:
            nonlocal has_ended
            seen = after
            request = WatchRunRequest(run_id=run_id, after_sequence=after)
            stream = self._calls.stream(methods.WATCH_RUN, request, sends_once=True)
            with closing(stream) as responses:
                for response in responses:
                    seen = max([seen, *(event.sequence for event in response.events)])
                    yield response
            # The end may lie before `after_sequence`; otherwise somebody in between has closed the
            # stream.
            look = GetRunRequest(run_id=run_id, page_size=NO_TASKS)
            run = (self._calls.unary(methods.GET_RUN, look, sends_once=True)).run
            has_ended = run.state.is_terminal and (run.last_sequence <= seen or seen == after)

        following = each_once(
            open_stream, sequence, patience=self._calls.patience, is_over=lambda: has_ended
        )
        with closing(following) as events:
            for event in events:
                yield event
                if _ends(event, run_id):
                    return


def _ends(event: Event, run_id: str) -> bool:
    payload = event.payload
    return (
        isinstance(payload, RunStateChanged)
        and payload.state.is_terminal
        and event.run_id == run_id
    )
