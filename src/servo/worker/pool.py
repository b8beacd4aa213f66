"""The worker's slots: each has a runner and gives it one attempt after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from servo import errors
from servo.io.storage import DataRoot, remove_staged
from servo.types.amounts import Amounts
from servo.types.reasons import FailureReason
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptStarted,
    CancelTask,
    Lease,
    LeaseRevoked,
    ServerWelcome,
    TaskDispatch,
    WorkerMessage,
)
from servo.worker import endings
from servo.worker.attempt import Attempt, Verdict
from servo.worker.attempt_queue import AttemptQueue
from servo.worker.log_buffer import LogBuffer
from servo.worker.oom import OomCounter
from servo.worker.runner_process import RunnerCommand, RunnerProcess

__all__ = ["Pool"]

_BOOT_SECONDS: Final = 60.0
_TERMINATE_SECONDS: Final = 2.0
"""How long a process has between SIGTERM and SIGKILL."""
_TIMEOUT_GRACE: Final = timedelta(seconds=1)
"""How long an attempt that has taken too long may clean up before SIGTERM."""
_HORIZON_SECONDS: Final = 0.2
"""How much work is fetched ahead, so that no slot waits for the control plane's next answer."""
_MAX_AHEAD: Final = 64
_PATIENCE_SECONDS: Final = 1.0
"""How long attempts wait behind others that take long, before another worker may have them."""
_BUSY: Final = "every slot of the worker was busy with attempts that take long"
_SPARE_SECONDS: Final = 2.0
"""When the processes of the other slots are started that nothing has asked for until then."""
_RETIRE_SECONDS: Final = 2.0
"""How long a worker has nothing to do before processes with older code are replaced ahead of time:
between two tasks of a run there is nothing to do either."""
_MOST_RUNS: Final = 64
"""How many runs of a process are remembered."""


class Pool:
    """Executes attempts, ``slots`` at a time.

    Args:
        slots: How many attempts run at once.
        command: How runners are started.
        logs: Where lines go.
        report: Takes what is said of attempts; results come last.
        starts: How often a runner is started, when it dies before it can take an attempt.
        oom: Counts what the kernel kills for want of memory.
    """

    def __init__(
        self,
        *,
        slots: int,
        command: RunnerCommand,
        logs: LogBuffer,
        report: Callable[[WorkerMessage], None],
        starts: int,
        oom: OomCounter | None = None,
    ) -> None:
        self._slots = slots
        self._command = command
        self._logs = logs
        self._report = report
        self._starts = starts
        self._oom = oom or OomCounter()
        self._attempts: dict[Lease, Attempt] = {}
        self._queue = AttemptQueue()
        self._runners: dict[Attempt, RunnerProcess] = {}
        self._welcome: ServerWelcome | None = None
        self._generation = 0
        self._retired = 0
        self._retiring: asyncio.TimerHandle | None = None
        self._alive: dict[RunnerProcess, int] = {}
        self._closing = False
        self._mean_seconds = _HORIZON_SECONDS * slots
        self._idle = asyncio.Event()
        self._idle.set()
        self._crowded = asyncio.Event()
        self._begun_at = self._idle_since = 0.0
        self._is_stuck = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The leases of the attempts that wait or run."""
        return tuple(self._attempts)

    @property
    def started(self) -> Mapping[Lease, Amounts]:
        """The leases of the attempts that run, and what each has spent."""
        return {
            lease: attempt.spent for lease, attempt in self._attempts.items() if attempt.started
        }

    @property
    def has_waiting(self) -> bool:
        """Whether an attempt is here that no slot has begun."""
        return bool(self._queue)

    @property
    def wanted(self) -> int:
        """How many attempts the pool would like to hold in all.

        One for each slot, and as many more as the slots finish while an answer of the control
        plane is on its way: many when attempts are short, none when they are long.
        """
        if self._is_stuck:
            return self._slots
        ahead = round(self._slots * _HORIZON_SECONDS / max(self._mean_seconds, 1e-4))
        return self._slots + min(ahead, _MAX_AHEAD * self._slots)

    async def run(self) -> None:
        """Serve until `close`.

        Raises:
            ConfigurationError: Runners die before they can take an attempt.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve(0))
            for slot in range(1, self._slots):
                group.create_task(self._serve_other(slot))

    def close(self) -> None:
        """Make `run` return once the attempts that run have ended."""
        self._closing = True
        self._crowded.set()
        self._queue.wake_all()

    def evict(self, reason: str) -> None:
        """End the attempts that run, by force and each with a result; return those that wait.

        Args:
            reason: Why, for people.
        """
        self.hand_back()
        for attempt in list(self._attempts.values()):
            if attempt.verdict in (None, Verdict.CANCELLED, Verdict.TIMED_OUT):
                attempt.verdict = attempt.verdict or Verdict.EVICTED
                attempt.reason = attempt.reason or reason
                self._kill(attempt)

    async def wait_idle(self) -> None:
        """Wait until no attempt waits or runs."""
        await self._idle.wait()

    def restart(self) -> None:
        """Have changed code loaded: each process is replaced before it works for another run.

        User modules are imported once for each process. A run that has begun keeps the processes
        that work for it, and with them the code that it was deployed with.
        """
        self._generation += 1
        if self._retiring is None:
            self._retire()

    def _retire(self) -> None:
        """Replace the processes with older code once nothing has needed them for a while."""
        self._retiring = None
        if self._attempts or self._retired == self._generation:
            return
        loop = asyncio.get_running_loop()
        left = self._idle_since + _RETIRE_SECONDS - loop.time()
        if left > 0:
            self._retiring = loop.call_later(left, self._retire)
            return
        self._retired = self._generation
        self._queue.wake_all()

    # -- what the control plane says ------------------------------------------------------

    def welcome(self, welcome: ServerWelcome) -> None:
        """Take what runners need to know of the session; each gets it with its next attempt."""
        self._welcome = welcome

    def submit(self, dispatch: TaskDispatch) -> None:
        """Take an attempt; it starts when a slot is free."""
        if dispatch.lease in self._attempts:
            return
        attempt = Attempt(dispatch, self._logs)
        self._attempts[dispatch.lease] = attempt
        self._idle.clear()
        self._queue.put(attempt)
        if len(self._attempts) > 1:
            self._crowded.set()
        if self._is_stuck:
            # It was on its way when the slots turned out to be busy for long.
            self.hand_back(_BUSY)

    def cancel(self, cancel: CancelTask) -> None:
        """Ask an attempt to stop; make it stop when its grace period is over."""
        attempt = self._attempts.get(cancel.lease)
        if attempt is None or attempt.verdict is not None:
            return
        attempt.reason = cancel.reason or "cancelled"
        if attempt in self._runners:
            attempt.verdict = Verdict.CANCELLED
            attempt.note("INFO", f"asked to stop: {attempt.reason}")
            self._stop(attempt, cancel)
        else:
            attempt.verdict = Verdict.CANCELLED
            cancelled = AttemptCancelled(reason=f"{attempt.reason} (before it started)")
            self._finish(attempt, attempt.finished(cancelled))

    def _stop(self, attempt: Attempt, cancel: CancelTask) -> None:
        """Ask an attempt to stop, then SIGTERM its group, then kill whatever came from it."""
        runner = self._runners[attempt]
        runner.cancel(cancel.lease)
        grace = cancel.grace_period.total_seconds()
        loop = asyncio.get_running_loop()
        attempt.timers += [
            loop.call_later(grace, self._terminate, attempt, runner),
            loop.call_later(grace + _TERMINATE_SECONDS, runner.kill),
        ]

    def revoke(self, revoked: LeaseRevoked) -> None:
        """End an attempt whose lease belongs to another worker now; it has no result."""
        attempt = self._attempts.get(revoked.lease)
        if attempt is not None:
            self._revoke(attempt, revoked.reason or "the lease was taken back")

    def revoke_all(self, reason: str) -> None:
        """End every attempt without a result."""
        for attempt in list(self._attempts.values()):
            self._revoke(attempt, reason)

    def hand_back(self, message: str = "the worker stopped before it started the attempt") -> None:
        """Return the attempts that have not started.

        Args:
            message: Why, for people.
        """
        for attempt in list(self._attempts.values()):
            if not attempt.started:
                attempt.verdict = Verdict.REVOKED
                failure = Failure(
                    category=FailureCategory.INFRASTRUCTURE,
                    message=message,
                    retryable=True,
                    reason=FailureReason.HANDED_BACK,
                )
                self._finish(attempt, attempt.finished(failure))

    # -- a slot ---------------------------------------------------------------------------

    async def _serve_other(self, slot: int) -> None:
        # A worker that is there for one short attempt, as that of many a `servo run`, is spared
        # the other processes: they cost more than the attempt.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._crowded.wait(), _SPARE_SECONDS)
        await self._serve(slot)

    async def _serve(self, slot: int) -> None:
        while not self._closing:
            runner = await self._start()
            self._alive[runner] = slot
            try:
                while self._is_current(runner) and not self._closing:
                    attempt = await self._queue.get(slot)
                    if attempt is None or attempt.verdict is not None:
                        continue
                    if not self._may_take(runner, attempt):
                        if attempt.started:
                            self._queue.put_for(slot, attempt)
                        else:
                            self._queue.put(attempt)
                        break
                    await self._execute(runner, attempt)
            finally:
                del self._alive[runner]
                await runner.stop()

    def _is_current(self, runner: RunnerProcess) -> bool:
        return runner.is_alive and not runner.is_outdated and runner.generation >= self._retired

    def _may_take(self, runner: RunnerProcess, attempt: Attempt) -> bool:
        """Tell whether a process still works for an attempt; one with older code for its runs."""
        return self._is_current(runner) and (
            runner.generation == self._generation or attempt.dispatch.run_id in runner.runs
        )

    async def _start(self) -> RunnerProcess:
        tail = ""
        for number in range(1, self._starts + 1):
            generation = self._generation
            runner = await RunnerProcess.start(self._command, self._report)
            runner.generation = generation
            try:
                if await asyncio.wait_for(asyncio.shield(runner.ready), _BOOT_SECONDS):
                    return runner
            except TimeoutError:
                pass  # handled like a process that died
            except asyncio.CancelledError:
                await runner.stop()
                raise
            tail = runner.tail.decode("utf-8", "replace").strip()
            await runner.stop()
            if self._closing:
                break
            await asyncio.sleep(0.1 * 2**number)
        raise errors.ConfigurationError(
            f"the processes that run user code die when they start: {tail[-500:] or 'no message'}",
            code="RUNNER_FAILED",
            hint=f"Try it by hand: {self._command.python} -c 'import servo.worker.runner'.",
        )

    async def _execute(self, runner: RunnerProcess, attempt: Attempt) -> None:
        loop = asyncio.get_running_loop()
        attempt.over = loop.create_future()
        runner.attempt = attempt
        runner.refuses = False
        self._runners[attempt] = runner
        begun = self._begun_at = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(_PATIENCE_SECONDS, self._look)
        if not attempt.started:
            attempt.started = True
            self._report(AttemptStarted(lease=attempt.lease, started_at=datetime.now(UTC)))
        limit = attempt.dispatch.asset.execution.timeout_seconds
        attempt.timers.append(loop.call_later(limit, self._expire, attempt))
        if self._welcome is not None and runner.welcome is not self._welcome:
            runner.welcome = self._welcome
            runner.send(self._welcome)
        runner.send(attempt.dispatch)
        ooms = self._oom.count()
        try:
            finished = await attempt.over
            if attempt.verdict is not None:
                # One that stopped by itself may have left processes behind.
                await runner.end()
            if finished is None:
                await asyncio.to_thread(_clean_up, self._command.data_root, attempt.dispatch)
        finally:
            runner.attempt = None
            del self._runners[attempt]
            self._is_stuck = False
        if finished is not None and runner.refuses and self._pass_on(attempt, runner):
            return
        if not runner.refuses:
            _remember(runner, attempt)
        self._mean_seconds += 0.2 * (loop.time() - begun - self._mean_seconds)
        if attempt.verdict is Verdict.REVOKED:
            self._forget(attempt)
            return
        if finished is None:
            code = runner.return_code or 0
            ended = endings.killed(attempt, code, out_of_memory=self._oom.count() > ooms)
        else:
            if runner.refuses and isinstance(finished.outcome, Failure):
                attempt.note("ERROR", finished.outcome.message)
            ended = endings.settled(attempt, finished)
        self._finish(attempt, ended)

    def _pass_on(self, attempt: Attempt, runner: RunnerProcess) -> bool:
        """Give an attempt that a process has refused to one that may have the right code.

        That is a new one in its place, once, where it says that this helps; else one that has
        worked for the same run before. Nothing of the attempt has happened until now.
        """
        if attempt.verdict is not None:
            return False
        if runner.is_outdated:
            if attempt.got_fresh_process:
                return False
            attempt.got_fresh_process = True
            self._queue.put_for(self._alive[runner], attempt)
        else:
            run_id = attempt.dispatch.run_id
            other = next(
                (one for one in self._alive if one is not runner and run_id in one.runs), None
            )
            if other is None or attempt.refusals >= self._slots:
                return False
            attempt.refusals += 1
            self._queue.put_for(self._alive[other], attempt)
        attempt.stop_timers()
        return True

    def _look(self) -> None:
        """Hand back what waits when no slot has begun an attempt for a while.

        What was fetched ahead was to wait for as long as the attempts before it took. Behind ones
        that take minutes it would wait while other workers are idle.
        """
        self._watch = None
        if not self._runners:
            return
        loop = asyncio.get_running_loop()
        left = self._begun_at + _PATIENCE_SECONDS - loop.time()
        if left > 0 or len(self._runners) < self._slots:
            # A slot began one meanwhile, or one is free and its process is about to be there.
            self._watch = loop.call_later(max(left, _PATIENCE_SECONDS / 10), self._look)
            return
        self._is_stuck = True
        self.hand_back(_BUSY)

    def _expire(self, attempt: Attempt) -> None:
        if attempt.verdict is None:
            attempt.verdict = Verdict.TIMED_OUT
            seconds = attempt.dispatch.asset.execution.timeout_seconds
            attempt.reason = f"did not finish within timeout_seconds={seconds}"
            attempt.note("WARNING", f"asked to stop: {attempt.reason}")
            cancel = CancelTask(
                lease=attempt.lease, reason=attempt.reason, grace_period=_TIMEOUT_GRACE
            )
            self._stop(attempt, cancel)

    def _terminate(self, attempt: Attempt, runner: RunnerProcess) -> None:
        attempt.note("WARNING", "its grace period is over: its process is being ended")
        runner.terminate()

    def _revoke(self, attempt: Attempt, reason: str) -> None:
        attempt.verdict = Verdict.REVOKED
        attempt.reason = reason
        if attempt in self._runners:
            self._runners[attempt].kill()
        else:
            self._forget(attempt)

    def _kill(self, attempt: Attempt) -> None:
        """End an attempt by force, or at once where it is between two processes."""
        if attempt in self._runners:
            self._runners[attempt].kill()
        else:
            self._finish(attempt, endings.between_processes(attempt))

    def _finish(self, attempt: Attempt, finished: AttemptFinished) -> None:
        self._forget(attempt)
        self._report(finished)

    def _forget(self, attempt: Attempt) -> None:
        attempt.close()
        del self._attempts[attempt.lease]
        if not self._attempts:
            self._idle.set()
            self._idle_since = asyncio.get_running_loop().time()
            if self._retiring is None:
                self._retire()


def _remember(runner: RunnerProcess, attempt: Attempt) -> None:
    """Note that a process has worked for a run."""
    runs, run_id = runner.runs, attempt.dispatch.run_id
    if run_id not in runs:
        runs[run_id] = None
        if len(runs) > _MOST_RUNS:
            del runs[next(iter(runs))]


def _clean_up(data_root: Path, dispatch: TaskDispatch) -> None:
    """Remove what a process that died had not published; the next attempt would find it too."""
    root, asset = DataRoot(data_root), dispatch.asset
    path = root.relative(asset.key, dispatch.partition_key, asset.partitioning)
    with contextlib.suppress(OSError):
        remove_staged(root.resolve(path), dispatch.lease.token)
