"""Materialising one asset in the process of a test, as a worker would."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from servo import _extras, errors
from servo._introspect import InputParameter
from servo.asset import Asset
from servo.io.storage import DataRoot
from servo.testing.contexts import RecordingReporter
from servo.types.amounts import Amounts
from servo.types.checks import CheckResult
from servo.types.ids import MaterializationId, RunId, TaskId
from servo.types.inputs import AssetOut
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import key_of, validate_key
from servo.types.partitions import PartitionStrategy, TenantDimension
from servo.types.reasons import FailureReason
from servo.types.records import Failure, Materialization
from servo.types.sessions import AttemptSucceeded, InputPartition, Lease, TaskDispatch, TaskInput
from servo.worker import tracebacks
from servo.worker.execute import Environment, execute
from servo.worker.failures import ReturnedError

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

    An ``async def`` asset works as well where an event loop is running already, such as in a
    notebook: it then runs on a loop of another thread while the call waits.

    Args:
        asset: What ``@asset`` made.
        partition: The partition to produce. It is checked before the function is called, as the
            control plane would, except that a period of an open-ended range need not be over yet.
        inputs: Data by parameter name: whatever a function may return. A parameter receives it
            as its annotation says. ``[]`` is a table without rows and columns.
        config: What the function sees as ``ctx.config``.
        budget: What the function may spend, by unit; that of the asset when left out.
        raise_on_error: Whether a failure is raised; otherwise it is in the answer. What is no
            failure of the function always goes through: ``KeyboardInterrupt``, ``SystemExit`` and
            the outcomes of a test, such as ``pytest.skip()``.

    Raises:
        TypeError: ``asset`` is not decorated.
        InvalidArgumentError: ``partition`` is no partition of the asset, ``inputs`` does not name
            exactly the asset's inputs, one of them is no data, or the function's result is none.
        BudgetExhaustedError: It spent more than it may.
        DataQualityError: A check of severity ``error`` or ``critical`` failed.
        Exception: Whatever the function raised, as it raised it.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, and the user's code below it
    _refuse_undecorated(asset)
    given = dict(inputs or {})
    expected = {one.name for one in asset.inputs}
    if given.keys() != expected:
        raise errors.InvalidArgumentError(
            f"{asset.key} reads {sorted(expected)!r}; inputs= names {sorted(given)!r}"
        )
    key = _partition(asset, partition)
    if given and not _extras.is_installed("pyarrow"):
        raise _extras.missing("pyarrow", "materialize() with inputs")
    reporter = RecordingReporter()
    raised: list[Exception] = []

    def look(error: BaseException) -> None:
        if not isinstance(error, Exception) or _is_outcome_of_test(error):
            raise error
        raised.append(error)

    with tempfile.TemporaryDirectory(prefix="servo-test-") as directory:
        root = DataRoot(Path(directory))
        dispatch = TaskDispatch(
            lease=Lease(task_id=TaskId.generate(), attempt=1, token=1),
            run_id=RunId.generate(),
            asset=asset.definition,
            partition_key=key,
            inputs=tuple(_input(root, one, given[one.name]) for one in asset.inputs),
            config=config or {},
            budget=asset.definition.execution.budget if budget is None else budget,
        )
        environment = Environment(
            data_root=root,
            tenant_id=_tenant(asset.definition.partitioning, key),
            workspace_id="test",
            find=lambda _: asset,
        )
        finished = execute(dispatch, environment, reporter, on_error=look)
        outcome = finished.outcome
        materialization = outcome.materialization if isinstance(outcome, AttemptSucceeded) else None
        table = _read(root, materialization)
    failure = outcome if isinstance(outcome, Failure) else None
    if raise_on_error and failure is not None:
        raise _with_notes(_to_raise(raised[0], failure), reporter)
    return Materialized(
        table=table,
        materialization=materialization,
        failure=failure,
        checks=finished.checks,
        spent=finished.spent,
        reporter=reporter,
    )


def _refuse_undecorated(asset: object) -> None:
    if not isinstance(asset, Asset):
        name = getattr(asset, "__qualname__", None) or type(asset).__qualname__
        raise TypeError(f"materialize() runs what @asset made, got {name!r}: decorate it first")


def _partition(
    asset: Asset[..., Any], partition: PartitionKey | Mapping[str, Any] | None
) -> PartitionKey:
    try:
        strategy = asset.definition.partitioning
        if isinstance(partition, PartitionKey):
            key = partition.in_order(strategy.dimension_names)
        else:
            key = key_of(strategy, partition or {})
        validate_key(strategy, key)
    except (TypeError, ValueError) as exc:
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r}: {exc}", code="INVALID_PARTITION"
        ) from exc
    return key


def _tenant(partitioning: PartitionStrategy, key: PartitionKey) -> str:
    for dimension in partitioning.dimensions:
        if isinstance(dimension, TenantDimension):
            return str(key.dimensions[dimension.name])
    return "test"


def _input(root: DataRoot, wanted: InputParameter, data: object) -> TaskInput:
    path = f"inputs/{wanted.name}/data.parquet"
    if data is not None:
        target = root.resolve(path)
        target.parent.mkdir(parents=True)
        _write(target, wanted.name, data)
    partition = InputPartition(
        partition_key=PartitionKey(),
        materialization_id=MaterializationId.generate(),
        has_data=data is not None,
        path=path,
    )
    return TaskInput(parameter_name=wanted.name, upstream_key=wanted.key, partitions=(partition,))


def _write(target: Path, name: str, data: object) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from servo.io.formats import to_table

    output = data if isinstance(data, AssetOut) else AssetOut(data)
    try:
        if isinstance(data, list | tuple) and not data:
            table = pa.table({})
        else:
            table = to_table(output.data, schema=output.schema, verb="is")
        pq.write_table(table, target)
    except (TypeError, errors.InvalidArgumentError, pa.ArrowException) as exc:
        raise errors.InvalidArgumentError(
            f"inputs[{name!r}] cannot be used: it {exc}"
            if isinstance(exc, TypeError)
            else f"inputs[{name!r}] cannot be used: {exc}",
            code="INVALID_INPUT",
        ) from None  # the message is complete; the frames are Servo's own


def _read(root: DataRoot, found: Materialization | None) -> pa.Table | None:
    if found is None or not found.has_data:
        return None
    import pyarrow.parquet as pq

    # Into memory: the directory is about to be removed.
    return pq.read_table(root.resolve(found.path)).replace_schema_metadata(None)


def _is_outcome_of_test(error: Exception) -> bool:
    # pytest.exit() and unittest's skip are Exceptions, and so is leaving a debugger; none of
    # them is looked up by importing its library.
    kind = type(error)
    return kind.__module__ in ("_pytest.outcomes", "bdb") or (
        (kind.__module__, kind.__qualname__) == ("unittest.case", "SkipTest")
    )


def _to_raise(raised: Exception, failure: Failure) -> Exception:
    if isinstance(raised, ReturnedError):
        return errors.ServoError(failure.message, code="RETURNED_ERR")
    if failure.reason == FailureReason.BUDGET and not isinstance(
        raised, errors.BudgetExhaustedError
    ):
        # The function made another error of it.
        exhausted = errors.BudgetExhaustedError(failure.message)
        exhausted.__cause__ = raised
        return exhausted
    below = _below_servo(raised.__traceback__)
    if below is not None or isinstance(raised, errors.ServoError):
        raised.__traceback__ = below
    return raised


def _below_servo(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame that is the user's, if there is one."""
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(tracebacks.SERVO):
            return traceback
        traceback = traceback.tb_next
    return None


def _with_notes(error: Exception, reporter: RecordingReporter) -> Exception:
    """Add to an error of Servo's what the attempt noted, such as every check that failed."""
    if isinstance(error, errors.ServoError):
        for level, text in reporter.notes:
            if level != "INFO" and text not in str(error):
                error.add_note(text)
    return error
