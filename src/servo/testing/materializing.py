"""Materialising one asset in the process of a test, as a worker would."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servo import errors
from servo.asset import Asset
from servo.io.storage import DataRoot
from servo.testing.contexts import RecordingReporter
from servo.types.amounts import Amounts
from servo.types.checks import CheckResult
from servo.types.ids import MaterializationId, RunId, TaskId
from servo.types.partition_keys import PartitionKey
from servo.types.reasons import FailureReason
from servo.types.records import Failure, Materialization
from servo.types.sessions import AttemptSucceeded, InputPartition, Lease, TaskDispatch, TaskInput
from servo.worker.execute import Environment, execute

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Materialized", "materialize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialized:
    """What came of an asset.

    Attributes:
        table: The data as a reader sees it; ``None`` when the attempt failed or left none.
        materialization: What would be recorded; ``None`` when the attempt failed.
        failure: Why the attempt failed, if it did.
        checks: The outcomes of its checks.
        spent: What the function spent, by unit.
        reporter: What the function reported.
    """

    table: pa.Table | None
    materialization: Materialization | None
    failure: Failure | None
    checks: tuple[CheckResult, ...]
    spent: Amounts
    reporter: RecordingReporter


def materialize(
    asset: Asset[..., Any],
    *,
    partition: PartitionKey | Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    config: Mapping[str, str] | None = None,
    budget: Mapping[str, str] | None = None,
    raise_on_error: bool = True,
) -> Materialized:
    """Run one asset with its checks; the data is written, read back and removed again.

    Args:
        asset: What ``@asset`` made.
        partition: The partition to produce.
        inputs: Data by parameter name: whatever a function may return. A parameter receives it
            as its annotation says.
        config: What the function sees as ``ctx.config``.
        budget: What the function may spend, by unit; that of the asset when left out.
        raise_on_error: Whether a failure is raised; otherwise it is in the answer.

    Raises:
        InvalidArgumentError: ``inputs`` does not name exactly the asset's inputs.
        BudgetExhaustedError: It spent more than it may.
        DataQualityError: A check of severity ``error`` or ``critical`` failed.
        ServoError: The attempt failed in another way; the message and the notes say how.
    """
    given = dict(inputs or {})
    expected = {one.name for one in asset.inputs}
    if given.keys() != expected:
        raise errors.InvalidArgumentError(
            f"{asset.key} reads {sorted(expected)!r}; inputs= names {sorted(given)!r}"
        )
    reporter = RecordingReporter()
    key = partition if isinstance(partition, PartitionKey) else PartitionKey(partition or {})
    with tempfile.TemporaryDirectory(prefix="servo-test-") as directory:
        root = DataRoot(Path(directory))
        dispatch = TaskDispatch(
            lease=Lease(task_id=TaskId.generate(), attempt=1, token=1),
            run_id=RunId.generate(),
            asset=asset.definition,
            partition_key=key,
            inputs=tuple(_input(root, one.name, asset, given[one.name]) for one in asset.inputs),
            config=config or {},
            budget=asset.definition.execution.budget if budget is None else budget,
        )
        environment = Environment(data_root=root, find=lambda _: asset)
        finished = execute(dispatch, environment, reporter)
        outcome = finished.outcome
        materialization = outcome.materialization if isinstance(outcome, AttemptSucceeded) else None
        table = _read(root, materialization)
    failure = outcome if isinstance(outcome, Failure) else None
    if raise_on_error and failure is not None:
        _raise(failure, reporter)
    return Materialized(
        table=table,
        materialization=materialization,
        failure=failure,
        checks=finished.checks,
        spent=finished.spent,
        reporter=reporter,
    )


def _input(root: DataRoot, name: str, asset: Asset[..., Any], data: object) -> TaskInput:
    import pyarrow.parquet as pq

    from servo.io.formats import to_table

    key = next(one.key for one in asset.inputs if one.name == name)
    path = f"inputs/{name}/data.parquet"
    if data is not None:
        target = root.resolve(path)
        target.parent.mkdir(parents=True)
        pq.write_table(to_table(data), target)
    partition = InputPartition(
        partition_key=PartitionKey(),
        materialization_id=MaterializationId.generate(),
        has_data=data is not None,
        path=path,
    )
    return TaskInput(parameter_name=name, upstream_key=key, partitions=(partition,))


def _read(root: DataRoot, found: Materialization | None) -> pa.Table | None:
    if found is None or not found.has_data:
        return None
    import pyarrow.parquet as pq

    # Into memory: the directory is about to be removed.
    return pq.read_table(root.resolve(found.path)).replace_schema_metadata(None)


def _raise(failure: Failure, reporter: RecordingReporter) -> None:
    details = "\n".join(text for _, text in reporter.notes)
    message = f"{failure.message}\n{details}" if details else failure.message
    if failure.reason == FailureReason.CHECK:
        raise errors.DataQualityError(message)
    if failure.reason == FailureReason.BUDGET:
        raise errors.BudgetExhaustedError(message)
    raise errors.ServoError(message, code=failure.reason.upper() or "FAILED")
