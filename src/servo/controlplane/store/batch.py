"""What one durable commit writes.

Everything that happens while a commit is under way is gathered in the next batch, so that many
changes share one write to the disk. A task or a run that changes several times in a batch is
written once; its events are all written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct

from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.logs import LogBatch
from servo.types.manifests import ManifestContents
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest


class NewRun(Struct, frozen=True):
    """A run with the request and the plan that it was made from."""

    run: Run
    request: CreateRunRequest
    plan: Plan


class NewDeployment(Struct, frozen=True):
    """A deployment with its manifest's header and the ids of its assets.

    Attributes:
        deployment: The deployment.
        header: The manifest without assets; `None` when the deployment is stored already.
        asset_ids: Dotted keys to ids that are new or have moved to another key.
    """

    deployment: Deployment
    header: ManifestContents | None
    asset_ids: dict[str, str]


class Metric(Struct, frozen=True):
    """A number that an attempt reported; ``reported_at`` is in microseconds since 1970."""

    run_id: str
    task_id: str
    attempt: int
    name: str
    value: float
    reported_at: int


@dataclass(slots=True)
class Batch:
    """The changes of one commit, over all workspaces.

    Attributes:
        pools: Workspace, name and slots of each pool that changed; `None` removes it.
        runs: What makes the row of each run that changed; called once, by `settle`.
        after: Called in the event loop when the batch is durable.
        failed: Called with the error instead when it is not, and never will be.
    """

    events: list[tuple[int, Event]] = field(default_factory=list)
    new_runs: list[tuple[int, NewRun]] = field(default_factory=list)
    runs: dict[str, Callable[[], Run]] = field(default_factory=dict)
    run_rows: dict[str, Run] = field(default_factory=dict)
    tasks: dict[tuple[str, int], tuple[Task, int]] = field(default_factory=dict)
    deployments: list[tuple[int, NewDeployment]] = field(default_factory=list)
    materializations: list[tuple[int, int, Materialization]] = field(default_factory=list)
    logs: list[tuple[str, LogBatch]] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    chunks: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    pools: list[tuple[int, str, int | None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    failed: list[Callable[[Exception], None]] = field(default_factory=list)

    def settle(self) -> None:
        """Fix what is to be written; nothing may be added afterwards."""
        self.run_rows = {run_id: make() for run_id, make in self.runs.items()}

    @property
    def is_empty(self) -> bool:
        """Whether there is neither anything to write nor anybody who waits."""
        return not (
            self.events
            or self.runs
            or self.tasks
            or self.logs
            or self.metrics
            or self.chunks
            or self.pools
            or self.new_runs
            or self.deployments
            or self.after
        )
