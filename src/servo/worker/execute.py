"""The border of user code: one attempt from its dispatch to its result.

Whatever a function does, an `AttemptFinished` comes out: it returned and its checks passed, or
there is a failure that says what happened. Data is published only in the first case.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from servo import _extras, errors
from servo._introspect import promised_data
from servo._spending import Account
from servo.asset import Asset
from servo.context import AssetContext, Reporter
from servo.io.storage import DataRoot
from servo.result import Err, Ok
from servo.types.amounts import Amounts
from servo.types.assets import AssetDefinition
from servo.types.checks import CheckPhase, CheckResult, CheckSeverity
from servo.types.ids import MaterializationId, RunId, TaskId
from servo.types.inputs import AssetOut
from servo.types.reasons import FailureReason
from servo.types.records import Column, Failure, Materialization
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptSucceeded,
    TaskDispatch,
)
from servo.worker import coroutines, failures, tracebacks
from servo.worker.code_guard import CodeRefusedError
from servo.worker.resolve import find_asset
from servo.worker.tracing import traced

if TYPE_CHECKING:
    import pyarrow as pa

    from servo.io.publish import Publisher
    from servo.io.reading import PartitionReader

__all__ = ["AttemptReporter", "Environment", "execute"]


class AttemptReporter(Reporter, Protocol):
    """What an attempt reports to, beyond what its function sees."""

    def spent(self, total: Amounts) -> None:
        """Take what the attempt has spent since it began, by unit."""
        ...

    def note(self, level: str, text: str) -> None:
        """Take a line, or several, for the attempt's log."""
        ...

    def when_cancelled(self, callback: Callable[[], None] | None) -> None:
        """Call back from any thread once the attempt is asked to stop; ``None`` forgets it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What all attempts of a process share.

    Attributes:
        data_root: Where data lies.
        store_id: The control plane's store, part of the fence around published files.
        tenant_id: Shown to functions.
        workspace_id: Shown to functions.
        find: Finds the asset of a definition.
        project: The project's root: what of a traceback lies below it is the author's.
        user_code: Surrounds the call of the function: what that leaves changed in the process is
            put back before its data is published.
    """

    data_root: DataRoot
    store_id: str = ""
    tenant_id: str = ""
    workspace_id: str = ""
    find: Callable[[AssetDefinition], Asset[..., Any]] = find_asset
    project: Path = field(default_factory=Path.cwd)
    user_code: Callable[[], AbstractContextManager[object]] = nullcontext


def execute(
    dispatch: TaskDispatch,
    environment: Environment,
    reporter: AttemptReporter,
    *,
    on_error: Callable[[BaseException], None] | None = None,
) -> AttemptFinished:
    """Execute one attempt.

    Args:
        dispatch: What to do.
        environment: What all attempts share.
        reporter: Takes progress, metrics and log lines, and knows about cancellation.
        on_error: Sees what ended user code, before it is made a failure; what it raises ends the
            call instead.

    Returns:
        The result; nothing is raised, whatever user code does.
    """
    attempt = _Attempt(dispatch, environment, reporter)
    process = os.getpid()
    try:
        outcome: AttemptSucceeded | AttemptCancelled | Failure = attempt.run()
    except BaseException as exc:  # SystemExit and KeyboardInterrupt end user code like any error
        if os.getpid() != process:
            # User code forked and its child came back here; only the parent may report.
            _leave_child(exc)
        if on_error is not None:
            on_error(exc)
        outcome = attempt.ended(exc)
    if os.getpid() != process:
        _leave_child(None)
    return AttemptFinished(
        lease=dispatch.lease,
        outcome=outcome,
        checks=tuple(attempt.checks),
        finished_at=datetime.now(UTC),
        spent=attempt.account.spent,
    )


def _leave_child(error: BaseException | None) -> NoReturn:
    """End a process that user code forked, as the interpreter ends one."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code and not isinstance(error.code, int):
            _print_in_child(str(error.code))
    elif error is not None:
        code = 1
        _print_in_child(tracebacks.format_error(error))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code & 0xFF)


def _print_in_child(text: str) -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        print(text, file=sys.stderr)


def _is_cancellation(error: BaseException) -> bool:
    # asyncio is not loaded unless a coroutine ran; its class is recognised by name.
    return isinstance(error, errors.TaskCancelledError) or type(error).__name__ == "CancelledError"


class _Attempt:
    """The steps of one attempt, in the order of `run`."""

    def __init__(
        self, dispatch: TaskDispatch, environment: Environment, reporter: AttemptReporter
    ) -> None:
        self.checks: list[CheckResult] = []
        self._dispatch = dispatch
        self._definition = dispatch.asset
        self._environment = environment
        self._reporter = reporter
        self.account = Account(dispatch.budget, reporter.spent)
        self._called: Callable[..., Any] | None = None

    def ended(self, error: BaseException) -> AttemptCancelled | Failure:
        """Judge the error that ended the attempt, and write it into its log."""
        reporter = self._reporter
        if reporter.check_cancelled() and _is_cancellation(error):
            reporter.note("INFO", "cancelled: the function stopped by itself")
            return AttemptCancelled(reason="the function stopped when it was asked to")
        failure = failures.failure_of(error, self._called)
        if isinstance(error, CodeRefusedError):
            # The worker decides what becomes of it, and says so.
            return failure
        cause = error.__cause__
        if failures.needs_traceback(error):
            self._explain(error)
        else:
            reporter.note("ERROR", failure.message)
            if isinstance(cause, Exception | SystemExit):
                self._explain(cause)
            elif failure.category is FailureCategory.USER_CODE and (place := self._defined_at()):
                # What it returned is wrong: the line that returned it is not known.
                reporter.note("ERROR", str(place))
        try:
            self.account.refuse_overdrawn()
        except errors.BudgetExhaustedError as exc:
            # Whatever the function made of it, more money would not be spent better.
            if failure.reason != FailureReason.BUDGET:
                failure = failures.failure_of(exc)
                reporter.note("ERROR", failure.message)
        return failure

    def _explain(self, error: BaseException) -> None:
        """Write a traceback into the log, and below it the line of the project that it is about.

        Commands show that line from there: an error on the wire has neither paths nor frames.
        """
        project = self._environment.project
        text = tracebacks.format_error(error, project)
        # Without a frame Python refused the call, or the error was returned and never raised.
        place = tracebacks.locate(error, project) or self._defined_at()
        self._reporter.note("ERROR", text if place is None else f"{text.rstrip()}\n{place}")

    def _defined_at(self) -> tracebacks.Location | None:
        """Return where the function is defined, once it has been called."""
        code = self._definition.code
        if self._called is None or not code.file_path:
            return None
        path = tracebacks.relative_to(self._environment.project, code.file_path) or code.file_path
        return tracebacks.Location(path, code.line_number, code.function)

    def run(self) -> AttemptSucceeded:
        asset = self._environment.find(self._definition)
        self._require_tables(asset)
        readers = self._readers()
        self._check_inputs(readers)
        with traced(self._dispatch) as trace_context:
            context = self._context(trace_context)
            arguments = self._arguments(asset, readers)
            self._called = asset.function
            with self._environment.user_code():
                returned = asset.function(context, **arguments)
                if hasattr(returned, "__await__"):
                    returned = coroutines.wait_for(returned, self._reporter.when_cancelled)
        self._refuse_to_go_on()
        if returned is None and (promised := promised_data(asset.function)):
            raise errors.InvalidArgumentError(
                f"{self._definition.key}: the function returned None, but is annotated to return "
                f"{promised}",
                code="INVALID_OUTPUT",
                hint=f"Return the data, or write {promised} | None if there may be none.",
            )
        return AttemptSucceeded(materialization=self._keep(_unwrap(returned)))

    # -- before the function --------------------------------------------------------------

    def _require_tables(self, asset: Asset[..., Any]) -> None:
        """Refuse before the function runs, as far as its signature tells, what must fail after."""
        if _extras.is_installed("pyarrow"):
            return
        if self._dispatch.inputs or self._definition.checks or promised_data(asset.function):
            raise _extras.missing("pyarrow", f"reading and writing the data of {asset.key}")

    def _context(self, trace_context: Mapping[str, str]) -> AssetContext:
        dispatch = self._dispatch
        return AssetContext(
            partition_key=dispatch.partition_key.in_order(
                self._definition.partitioning.dimension_names
            ),
            run_id=RunId(dispatch.run_id) if dispatch.run_id else None,
            task_id=TaskId(dispatch.lease.task_id) if dispatch.lease.task_id else None,
            attempt=dispatch.lease.attempt,
            tenant_id=self._environment.tenant_id,
            workspace_id=self._environment.workspace_id,
            config=dispatch.config,
            trace_context=trace_context,
            account=self.account,
            reporter=self._reporter,
        )

    def _readers(self) -> dict[str, PartitionReader]:
        if not self._dispatch.inputs:
            return {}
        from servo.io.reading import PartitionReader

        return {
            given.parameter_name: PartitionReader(
                self._environment.data_root, given.upstream_key, given.partitions
            )
            for given in self._dispatch.inputs
        }

    def _arguments(
        self, asset: Asset[..., Any], readers: dict[str, PartitionReader]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for wanted in asset.inputs:
            reader = readers.get(wanted.name)
            if reader is None or reader.key != wanted.key:
                raise errors.ConfigurationError(
                    f"{asset.key} reads {str(wanted.key)!r} as {wanted.name!r}, "
                    f"but was deployed without that",
                    code="CODE_MISMATCH",
                    hint="Deploy again.",
                )
            if wanted.as_type is None:
                keys = tuple(partition.partition_key for partition in reader.partitions)
                arguments[wanted.name] = wanted.handle(reader, partitions=keys)
            else:
                as_type = None if wanted.as_type is object else wanted.as_type
                arguments[wanted.name] = reader.read(as_type)
        return arguments

    def _check_inputs(self, readers: dict[str, PartitionReader]) -> None:
        wanted = [check for check in self._definition.checks if check.phase is CheckPhase.PRE]
        if not wanted or not readers:
            return
        from servo.checks.inputs import run_on_inputs

        tables = {name: reader.table() for name, reader in readers.items()}
        for check in wanted:
            self._record(run_on_inputs(check, tables))
        self._refuse_blocked("the function was not called")

    # -- after the function ---------------------------------------------------------------

    def _keep(self, output: AssetOut[Any]) -> Materialization:
        key, partitioning = self._definition.key, self._definition.partitioning
        path = self._environment.data_root.relative(key, self._dispatch.partition_key, partitioning)
        if output.data is None:
            return self._keep_nothing(output, path)
        with _extras.needing("pyarrow", f"writing the data of {key}"):
            from servo.io.formats import to_table

        try:
            table = to_table(output.data, schema=output.schema)
        except TypeError as exc:
            raise errors.InvalidArgumentError(
                f"{key}: the function {exc}", code="INVALID_OUTPUT"
            ) from None  # the message is complete; the frames are Servo's own
        if output.row_count is not None and output.row_count != table.num_rows:
            self._reporter.note(
                "WARNING",
                f"row_count={output.row_count} was given, the number of rows is {table.num_rows}",
            )
        self._check_output(table)
        return self._publish(table, path, output)

    def _check_output(self, table: pa.Table) -> None:
        wanted = [check for check in self._definition.checks if check.phase is CheckPhase.POST]
        if not wanted:
            return
        from servo.checks.running import run

        for check in wanted:
            self._record([run(check, table)])
        self._refuse_blocked("the data was not published")

    def _publish(self, table: pa.Table, path: str, output: AssetOut[Any]) -> Materialization:
        io = self._definition.io
        if io.target_file_bytes is not None:
            self._reporter.note(
                "WARNING", "io.target_file_bytes has no effect: a partition is one file here"
            )
        materialization_id = MaterializationId.generate()
        publisher = self._publisher(path, materialization_id)
        try:
            written = publisher.stage(table, io)
            # The last moment at which everything can still be left as it was.
            self._refuse_to_go_on()
            publisher.publish()
        finally:
            publisher.discard()
        return self._materialization(
            materialization_id,
            output,
            has_data=True,
            row_count=written.row_count,
            byte_size=written.byte_size,
            path=path,
            columns=tuple(
                Column(name=field.name, type=str(field.type), nullable=field.nullable)
                for field in table.schema
            ),
        )

    def _keep_nothing(self, output: AssetOut[Any], path: str) -> Materialization:
        materialization_id = MaterializationId.generate()
        target = self._environment.data_root.resolve(path)
        if any(check.phase is CheckPhase.POST for check in self._definition.checks):
            self._reporter.note(
                "WARNING", "the function returned no data, so its checks had nothing to look at"
            )
        if target.exists():
            self._publisher(path, materialization_id).publish_nothing()
            self._reporter.note(
                "WARNING", "the function returned no data; that of an earlier run is set aside"
            )
        return self._materialization(
            materialization_id, output, has_data=False, row_count=output.row_count
        )

    def _publisher(self, path: str, materialization_id: MaterializationId) -> Publisher:
        from servo.io.publish import Publisher

        dispatch = self._dispatch
        return Publisher(
            self._environment.data_root.resolve(path),
            store_id=self._environment.store_id,
            token=dispatch.lease.token,
            facts={
                "asset": str(self._definition.key),
                "partition": dispatch.partition_key.to_canonical(),
                "materialization_id": materialization_id,
                "run_id": dispatch.run_id,
                "task_id": dispatch.lease.task_id,
            },
        )

    def _materialization(
        self, materialization_id: MaterializationId, output: AssetOut[Any], **found: Any
    ) -> Materialization:
        dispatch = self._dispatch
        return Materialization(
            materialization_id=materialization_id,
            asset_key=self._definition.key,
            asset_id=self._definition.id or "",
            partition_key=dispatch.partition_key,
            run_id=dispatch.run_id,
            task_id=dispatch.lease.task_id,
            attempt=dispatch.lease.attempt,
            metadata=output.metadata,
            **found,
        )

    # -- judging --------------------------------------------------------------------------

    def _record(self, results: list[CheckResult]) -> None:
        self.checks += results
        for result in results:
            if result.passed:
                continue
            level = _LEVELS[result.severity]
            where = f" on {result.parameter_name!r}" if result.parameter_name else ""
            self._reporter.note(
                level, f"check {result.check_name!r}{where} failed: {result.message}"
            )

    def _refuse_blocked(self, consequence: str) -> None:
        blocking = [result for result in self.checks if result.blocks]
        if not blocking:
            return
        first = blocking[0]
        more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        raise errors.DataQualityError(
            f"check {first.check_name!r} failed{more}: {first.message}; {consequence}"
        )

    def _refuse_to_go_on(self) -> None:
        if self._reporter.check_cancelled():
            raise errors.TaskCancelledError("the task was cancelled; nothing was published")
        self.account.refuse_overdrawn()


_LEVELS = {
    CheckSeverity.INFO: "INFO",
    CheckSeverity.WARNING: "WARNING",
    CheckSeverity.ERROR: "ERROR",
    CheckSeverity.CRITICAL: "CRITICAL",
}


def _unwrap(returned: object) -> AssetOut[Any]:
    if isinstance(returned, Err):
        error = returned.error
        raise error if isinstance(error, BaseException) else failures.ReturnedError(error)
    if isinstance(returned, Ok):
        returned = returned.value
    return returned if isinstance(returned, AssetOut) else AssetOut(returned)
