"""A database with a past: runs of a few assets, played on a real control plane and a real store.

What attempts were given to read is noted as it was sent, so that tests know the true lineage of
everything that was made.
"""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from model.clocks import PlayedClock
from model.engine import Engine, MoodyStore
from model.players import PlayedWorker
from plane_kit import path_of
from servo import errors
from servo.controlplane.caller import Caller
from servo.controlplane.store import postgres_connection
from servo.controlplane.store.migrate import migrate
from servo.controlplane.store.postgres import PostgresStore
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    CodeLocation,
    ExecutionPolicy,
    MaterializationId,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
)
from servo.types.assets import RetryPolicy
from servo.types.dependencies import DependencyMapping
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Failure, Materialization
from servo.types.requests import AllPartitions, CreateRunRequest, Rerun
from servo.types.runs import FailureCategory, RerunScope
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptStarted,
    AttemptSucceeded,
    CreditGrant,
    TaskDispatch,
)

WORKSPACE = "tenant/workspace"
PARTS = ("a", "b", "c")
_BROKEN = Failure(category=FailureCategory.INFRASTRUCTURE, message="broken")


def _asset(name: str, *upstream: tuple[str, DependencyMapping], parts: bool) -> AssetDefinition:
    key = AssetKey.parse(name)
    dimensions = [StaticDimension("part", PARTS)] if parts else []
    return AssetDefinition(
        key,
        dependencies=tuple(
            AssetDependency(AssetKey.parse(one), parameter_name=f"p{number}", mapping=mapping)
            for number, (one, mapping) in enumerate(upstream)
        ),
        code=CodeLocation("assets", key.name),
        partitioning=PartitionStrategy(dimensions),
        execution=ExecutionPolicy(retry=RetryPolicy(max_delay_seconds=0), max_retries=1),
    )


_SAME, _ALL, _LATEST = (
    DependencyMapping.IDENTITY,
    DependencyMapping.ALL,
    DependencyMapping.LATEST,
)
RAW = _asset("raw.parts", parts=True)
CONFIG = _asset("raw.config", parts=False)
TOTAL = _asset("mart.total", ("raw.parts", _ALL), ("raw.config", _SAME), parts=False)
LAST = _asset("mart.last", ("mart.parts", _LATEST), parts=False)
DEPLOYMENTS = (
    (RAW, CONFIG, TOTAL, LAST, _asset("mart.parts", ("raw.parts", _SAME), parts=True)),
    (
        *(RAW, CONFIG, TOTAL, LAST),
        _asset("mart.parts", ("raw.parts", _SAME), ("raw.config", _ALL), parts=True),
    ),
    (RAW, CONFIG, _asset("mart.parts", ("raw.parts", _ALL), parts=True)),
)
"""The same assets, which read each other differently."""

SELECTIONS = ("*", "raw.*", "raw.parts", "raw.config", "mart.parts", "mart.total", "mart.last")


class _Now(PlayedClock):
    """The clock of the machine: it is its time by which records are old."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class _Engine(Engine):
    clock_type = _Now


class Past:
    """A control plane at work on a database of its own.

    Args:
        location: The database: the path of a file, or a URL.

    Attributes:
        inputs: What each materialisation was made from, by their ids.
    """

    def __init__(self, location: Path | str) -> None:
        self.location = location
        self.inputs: dict[str, list[str]] = {}
        self.is_open = False
        self._come_up()

    def _come_up(self) -> None:
        self._store = _open(self.location)
        self.is_open = True
        tenant_id, _, workspace_id = WORKSPACE.partition("/")
        caller = Caller(tenant_id=tenant_id, workspace_id=workspace_id)
        self.engine = _Engine(self._store, [caller])
        self._worker = PlayedWorker()
        self.engine.connect(self._worker, ())
        self.engine.grant(self._worker, 200)

    def close(self) -> None:
        """Stop the control plane if it runs; runs that are active stay so."""
        if not self.is_open:
            return
        self.is_open = False
        self.engine.commit()
        self.engine.close()
        self._store.close()

    def reopen(self) -> None:
        """Start the control plane again, with another worker."""
        self._come_up()

    def deploy(self, number: int = 0) -> None:
        """Make one of `DEPLOYMENTS` the current one."""
        self.engine.deploy(0, DEPLOYMENTS[number])

    def run(
        self,
        selection: str,
        part: str = "",
        *,
        badly: float = 0.0,
        seed: int = 0,
        rounds: int = 20,
        upstream: bool = False,
    ) -> str:
        """Start a run and work on it, perhaps not to its end; empty where it cannot be planned.

        Args:
            selection: What to run.
            part: Only this partition of partitioned assets.
            badly: How many attempts fail, 0 to 1.
            seed: Decides which ones.
            rounds: How often the worker does everything that it was given.
            upstream: Whether what is missing is made as well.
        """
        partitions = PartitionKey({"part": part}) if part else AllPartitions()
        request = CreateRunRequest(selection=(selection,), partitions=partitions, upstream=upstream)
        return self._start(request, badly, seed, rounds)

    def rerun(self, run_id: str, *, badly: float = 0.0, seed: int = 0, rounds: int = 20) -> str:
        """Repeat all of a run; empty where that cannot be."""
        rerun = Rerun(run_id=run_id, scope=RerunScope.ALL)
        return self._start(CreateRunRequest(selection=(), rerun=rerun), badly, seed, rounds)

    def _start(self, request: CreateRunRequest, badly: float, seed: int, rounds: int) -> str:
        try:
            run, _ = self.engine.create_run(0, request)
        except (errors.InvalidArgumentError, errors.ConflictError):
            return ""
        self.work(badly=badly, seed=seed, rounds=rounds)
        return run.run_id

    def work(self, *, badly: float = 0.0, seed: int = 0, rounds: int = 20) -> None:
        """Let the worker do what it is given; the last round is not finished."""
        choice = random.Random(seed)
        for _ in range(rounds):
            self.engine.tick()
            self.engine.commit()
            given, self._worker.given = self._worker.given, []
            if not given:
                return
            for dispatch in given:
                self._do(dispatch, choice.random() < badly)
        self.engine.commit()

    def _do(self, dispatch: TaskDispatch, is_broken: bool) -> None:
        lease, name = dispatch.lease, str(MaterializationId.generate())
        line = LogLine(number=1, stream=LogStream.STDOUT, text=f"made {name}")
        self.inputs[name] = [
            one.materialization_id
            for given in dispatch.inputs
            for one in given.partitions
            if one.materialization_id
        ]
        made = Materialization(
            materialization_id=name,
            asset_key=dispatch.asset.key,
            partition_key=dispatch.partition_key,
            path=path_of(dispatch),
        )
        self.engine.receive(
            self._worker,
            AttemptStarted(lease=lease),
            LogBatch(task_id=lease.task_id, attempt=lease.attempt, lines=(line,)),
            AttemptMetric(lease=lease, name="rows", value=1.0),
            AttemptFinished(
                lease=lease,
                outcome=_BROKEN if is_broken else AttemptSucceeded(materialization=made),
            ),
            CreditGrant(attempts=1),
        )

    def moments(self) -> list[datetime]:
        """Return when each event of the history was recorded."""
        return [event.occurred_at for event in self.engine.events(0, 0)]


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="servo-template-"))
    atexit.register(shutil.rmtree, folder)
    migrate(folder / "servo.db")
    return folder / "servo.db"


def _open(location: Path | str) -> MoodyStore:
    if isinstance(location, Path):
        if not location.exists():
            # Migrating takes longer than copying.
            shutil.copyfile(_template(), location)
        return MoodyStore(location)
    with postgres_connection.connect(location) as connection:
        row = connection.execute("SELECT epoch FROM leader").fetchone()
    assert row is not None
    return PostgresStore(location, row[0])  # type: ignore[return-value]  # the same verbs


def lineage(roots: Sequence[str], inputs: dict[str, list[str]]) -> set[str]:
    """Return materialisations and everything that they were made from, by their ids."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += inputs[name]
    return found
