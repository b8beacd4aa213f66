"""Repeating tasks of an earlier run: which ones, and what the new run takes over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from servo import errors
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.controlplane.plane import run_not_found
from servo.controlplane.workspace import Workspace
from servo.types.keys import AssetKey
from servo.types.labels import label
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import validate_key
from servo.types.records import Run, Task
from servo.types.requests import CreateRunRequest, Rerun
from servo.types.runs import RerunScope, TaskState

_PAGE = 250
"""Tasks read at a time: others are served in between, and memory is that of a page."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Parent:
    """A run that has ended and is to be repeated, wholly or in part.

    Attributes:
        run: The run.
        request: What it was asked for with.
        tasks: The partitions to repeat, by asset.
    """

    run: Run
    request: CreateRunRequest
    tasks: Mapping[AssetKey, Collection[PartitionKey]]

    def inherited(self, request: CreateRunRequest, deployment_id: str) -> CreateRunRequest:
        """Return a request in which what is not given is as it was for the parent.

        Args:
            request: The request for the rerun.
            deployment_id: The deployment that it will execute. The version of the user code is
                the parent's only where the deployment is: another one comes with code of its own.
        """
        same_code = deployment_id == self.run.deployment_id
        return replace(
            request,
            config=request.config or self.request.config,
            priority=request.priority or self.run.priority,
            max_parallelism=request.max_parallelism or self.run.max_parallelism,
            timeout_seconds=request.timeout_seconds or self.run.timeout_seconds,
            budget=request.budget or self.run.budget,
            code_version_id=(
                request.code_version_id or (self.run.code_version_id if same_code else "")
            ),
            max_retries=(
                self.run.max_retries if request.max_retries is None else request.max_retries
            ),
        )


async def read_parent(workspace: Workspace, rerun: Rerun) -> Parent:
    """Read the run that a rerun repeats.

    Raises:
        servo.errors.NotFoundError: The workspace has no such run.
        servo.errors.ConflictError: It has not ended yet.
        servo.errors.InvalidArgumentError: There is nothing to repeat.
    """
    run, tasks = await workspace.store.run_with_tasks(workspace.number, rerun.run_id, 0, _PAGE)
    request = await workspace.store.run_request(workspace.number, rerun.run_id)
    if run is None or request is None:
        raise run_not_found(rerun.run_id)
    if not run.state.is_terminal:
        raise errors.ConflictError(
            f"run {run.run_id} is {run.state} and cannot be repeated before it has ended; wait "
            f"for it, or stop it: servo cancel {run.run_id}",
            code="RUN_NOT_FINISHED",
            context={"run_id": run.run_id, "state": str(run.state)},
        )
    chosen: dict[AssetKey, list[PartitionKey]] = {}
    first = 0
    while tasks:
        for task in tasks:
            if _is_repeated(task, rerun.scope):
                chosen.setdefault(task.asset_key, []).append(task.partition_key)
        first += len(tasks)
        tasks = await workspace.store.tasks(run.run_id, first, _PAGE)
    if not chosen:
        raise errors.InvalidArgumentError(
            f"every task of run {run.run_id} succeeded, so nothing is left to repeat",
            code="NOTHING_TO_RERUN",
            context={"run_id": run.run_id},
        )
    return Parent(run, request, chosen)


def _is_repeated(task: Task, scope: RerunScope) -> bool:
    return scope is RerunScope.ALL or task.state is not TaskState.SUCCEEDED


def choose(
    parent: Parent, selection: Sequence[str], catalog: Catalog, scope: Scope
) -> Mapping[AssetKey, Collection[PartitionKey]]:
    """Return the tasks of a parent to repeat with a deployment.

    Args:
        parent: The run that is repeated.
        selection: Which of its assets; all of them when it is empty.
        catalog: The deployment that will be executed.
        scope: What is declared.

    Raises:
        servo.errors.NotFoundError: The selection names nothing, or the deployment lacks assets.
        servo.errors.InvalidArgumentError: The selection cannot be read, there is nothing to
            repeat of what it names, or the deployment has no such partitions.
    """
    tasks = parent.tasks
    if selection:
        selected = set(catalog.select(selection))
        tasks = {key: partitions for key, partitions in tasks.items() if key in selected}
        if not tasks:
            raise errors.InvalidArgumentError(
                f"there is nothing to repeat of run {parent.run.run_id} among the assets that "
                f"{', '.join(map(repr, selection))} selects; what can be repeated are "
                f"{_shortened([str(key) for key in sorted(parent.tasks)])}",
                code="NOTHING_TO_RERUN",
                context={"run_id": parent.run.run_id},
            )
    if gone := sorted(str(key) for key in tasks.keys() - catalog.assets.keys()):
        raise errors.NotFoundError(
            f"run {parent.run.run_id} has tasks of assets that deployment "
            f"{catalog.deployment_id} does not have: {_shortened(gone)}. Repeat it with its own "
            "deployment, or select what still exists, such as '*'",
            code="ASSET_NOT_FOUND",
            context={"run_id": parent.run.run_id, "assets": ", ".join(gone)},
        )
    for key, partitions in tasks.items():
        strategy = catalog.assets[key].partitioning
        for partition in partitions:
            try:
                validate_key(strategy, partition, now=scope.now, tenant_id=scope.tenant_id)
            except ValueError as exc:
                raise errors.InvalidArgumentError(
                    f"run {parent.run.run_id} has the task {label(key, partition)}, which "
                    f"deployment {catalog.deployment_id} does not declare: {exc}. Repeat it with "
                    "its own deployment, or select other assets",
                    code="INVALID_PARTITION",
                    context={"run_id": parent.run.run_id},
                ) from exc
    return tasks


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
