"""One function for each way in which an attempt can end, in real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import worker_kit
from scripted_plane import ScriptedPlane, dispatch_of
from servo import row_count
from servo.types.logs import LogStream
from servo.types.records import Failure
from servo.types.runs import FailureCategory as C
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    LeaseRevoked,
    WorkerMessage,
)
from servo.worker.log_buffer import LogBuffer
from servo.worker.oom import OomCounter
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand
from worker_kit import SOURCE, Lab, gone, is_alive

pytestmark = pytest.mark.slow

CODE = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from servo import Err, asset, errors, row_count

def children():
    # A child, a grandchild, one in a session of its own, and one whose parents are gone.
    subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; echo $$; exec sleep 1000"])
    subprocess.Popen(["setsid", "sh", "-c", "echo $$; exec sleep 1000"])
    subprocess.run(["setsid", "sh", "-c", "(trap '' TERM; sleep 1000 & echo $!) &"])
    sys.stdout.flush()

@asset
def noop(ctx): pass

@asset
def raises(ctx): raise ValueError("bad row")

@asset
def raises_an_error_of_its_own(ctx):
    class Strange(BaseException): ...
    raise Strange("x")

@asset
def returns_err(ctx): return Err("no luck")

@asset
def returns_no_data(ctx): return 42

@asset
async def raises_in_a_coroutine(ctx): raise KeyError("k")

@asset
def exits(ctx): sys.exit(3)

@asset
def exits_at_once(ctx): os._exit(7)

@asset
def kills_itself(ctx): os.kill(os.getpid(), signal.SIGKILL)

@asset
def is_terminated(ctx): os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)

@asset
def crashes(ctx): ctypes.string_at(0)

@asset
def aborts(ctx): os.abort()

@asset
def kills_its_guardian(ctx): os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)

@asset
def needs_too_much_memory(ctx): bytearray(2**60)

@asset
def fails_its_check(ctx): return [{"id": 1}]

@asset
def spends_too_much(ctx): ctx.spend("usd", "2")

@asset
def spends_and_dies(ctx):
    ctx.spend("usd", "0.25")
    os.kill(os.getpid(), signal.SIGKILL)

@asset
def spends_in_a_child(ctx):
    if os.fork() == 0:
        try:
            ctx.spend("usd", "1")
        except RuntimeError as exc:
            os.write(1, str(exc).encode())
        os._exit(0)
    os.wait()

@asset
def dies_while_it_writes(ctx):
    import pyarrow.parquet as pq
    def write(*_, **__):
        print("writing", flush=True)
        time.sleep(600)
    pq.ParquetWriter.write_table = write
    return [{"id": 1}]

@asset
def takes_too_long(ctx): time.sleep(600)

@asset
def naps(ctx): time.sleep(2.5)

@asset
def the_kernel_kills_it(ctx):
    Path(ctx.config["counter"]).write_text("under_oom 0\\noom_kill 4\\n")
    os.kill(os.getpid(), signal.SIGKILL)

@asset
def sleeps(ctx):
    children()
    time.sleep(600)

@asset
def loops_in_c(ctx):
    children()
    sum(range(10**15))

@asset
def holds_the_interpreter(ctx):
    children()
    ctypes.PyDLL(None).sleep(600)

@asset
def ignores_sigterm(ctx):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children()
    while True:
        try:
            ctx.report_progress("busy")
            time.sleep(0.01)
        except errors.TaskCancelledError:
            pass

@asset
def cleans_up_on_sigterm(ctx):
    signal.signal(signal.SIGTERM, lambda *_: (print("cleaning up", flush=True), sys.exit(0)))
    children()
    time.sleep(600)

@asset
def stops_when_asked(ctx):
    children()
    while True:
        ctx.report_progress("busy")
        time.sleep(0.01)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    return tmp_path


def check(project: Path, test: Callable[[Lab], Awaitable[None]], **settings: Any) -> None:
    worker_kit.check(project, CODE, test, **settings)


class Way(NamedTuple):
    """A function, and the failure that it has to become."""

    name: str
    category: C
    reason: str
    message: str
    options: dict[str, Any]


WAYS_TO_DIE = [
    Way("raises", C.USER_CODE, "exception", "ValueError: bad row", {}),
    Way("raises_an_error_of_its_own", C.USER_CODE, "exception", "Strange: x", {}),
    Way("returns_err", C.USER_CODE, "exception", "Err('no luck')", {}),
    Way("returns_no_data", C.USER_CODE, "exception", "returned int", {}),
    Way("raises_in_a_coroutine", C.USER_CODE, "exception", "KeyError: 'k'", {}),
    Way("exits", C.USER_CODE, "exit", "sys.exit(3)", {}),
    Way("exits_at_once", C.USER_CODE, "exit", "exit code 7", {}),
    Way("kills_itself", C.INFRASTRUCTURE, "signal", "signal 9 (SIGKILL)", {}),
    Way("is_terminated", C.INFRASTRUCTURE, "signal", "signal 15 (SIGTERM)", {}),
    Way("crashes", C.USER_CODE, "signal", "signal 11 (SIGSEGV)", {}),
    Way("aborts", C.USER_CODE, "signal", "signal 6 (SIGABRT)", {}),
    Way("kills_its_guardian", C.INFRASTRUCTURE, "signal", "signal 9 (SIGKILL)", {}),
    Way("needs_too_much_memory", C.INFRASTRUCTURE, "oom", "MemoryError", {}),
    Way("fails_its_check", C.DATA_QUALITY, "check", "row_count", {"checks": (row_count(2),)}),
    Way("spends_too_much", C.CONFIGURATION, "budget", "2 usd are spent", {"budget": {"usd": "1"}}),
    Way("takes_too_long", C.TIMEOUT, "timeout", "timeout_seconds=1", {"timeout_seconds": 1}),
    Way("was_never_there", C.CONFIGURATION, "configuration", "no asset", {}),
]


@pytest.mark.parametrize("way", WAYS_TO_DIE, ids=lambda way: way.name)
def test_every_way_to_die_has_a_reason_and_the_slot_goes_on(project: Path, way: Way) -> None:
    async def test(bench: Lab) -> None:
        lease, failure = await bench.failure(way.name, **way.options)
        assert (failure.category, failure.reason) == (way.category, way.reason), failure
        assert way.message in failure.message
        assert bench.plane.text(lease), "the log says nothing"
        _, finished = await bench.run("noop")
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_what_was_spent_just_before_a_crash_is_known(project: Path) -> None:
    async def test(bench: Lab) -> None:
        _, finished = await bench.run("spends_and_dies")
        assert finished.spent == {"usd": "0.25"}

    check(project, test)


def test_a_child_that_spends_is_told_that_nobody_learns_of_it(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("spends_in_a_child")
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert finished.spent == {}
        assert "in the process of the function" in bench.plane.text(lease, LogStream.STDOUT)

    check(project, test)


def test_a_process_that_the_kernel_killed_for_its_memory_is_told_from_one_that_was_killed(
    project: Path,
) -> None:
    counter = project / "memory.events"
    counter.write_text("low 0\noom_kill 3\n")
    (project / "tables.py").write_text(CODE)

    async def body() -> None:
        heard: list[WorkerMessage] = []
        logs = LogBuffer(heard.append, lambda: None)
        command = RunnerCommand(
            project=project, data_root=project / "data", import_roots=(project,)
        )
        pool = Pool(
            slots=1,
            command=command,
            logs=logs,
            report=heard.append,
            starts=3,
            oom=OomCounter(counter),
        )
        running = asyncio.create_task(pool.run())
        config = {"counter": str(counter)}
        for name in ("the_kernel_kills_it", "kills_itself"):
            pool.submit(dispatch_of("tables", name, config=config))
            await asyncio.wait_for(pool.wait_idle(), 60)
        pool.close()
        await running
        outcomes = [m.outcome for m in heard if isinstance(m, AttemptFinished)]
        first, second = outcomes
        assert isinstance(first, Failure)
        assert isinstance(second, Failure)
        assert (first.category, first.reason) == (C.INFRASTRUCTURE, "oom")
        assert "memory ran out" in first.message
        assert (second.category, second.reason) == (C.INFRASTRUCTURE, "signal")

    asyncio.run(body())


def test_the_machine_counts_what_its_kernel_kills_or_nothing() -> None:
    assert OomCounter().count() >= 0
    assert OomCounter(Path("/nowhere")).count() == 0


# -- being ended --------------------------------------------------------------------------


async def descendants(bench: Lab, lease: Any) -> list[int]:
    """The four processes that the function says it has started."""
    stdout = bench.plane.text
    await bench.plane.wait_for(
        lambda: len(stdout(lease, LogStream.STDOUT).split()) >= 4, what="four processes"
    )
    found = [int(text) for text in stdout(lease, LogStream.STDOUT).split()]
    assert all(is_alive(process) for process in found)
    return found


ENDED_BY_FORCE = ["sleeps", "loops_in_c", "holds_the_interpreter", "ignores_sigterm"]


@pytest.mark.parametrize("name", [*ENDED_BY_FORCE, "cleans_up_on_sigterm", "stops_when_asked"])
def test_nothing_of_a_cancelled_attempt_is_left_when_its_result_is_known(
    project: Path, name: str
) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start(name)
        processes = await descendants(bench, lease)
        grace = timedelta(seconds=30 if name == "stops_when_asked" else 0.2)
        bench.plane.say(CancelTask(lease=lease, reason="enough", grace_period=grace))
        finished = await bench.plane.result(lease)
        assert not any(is_alive(process) for process in processes)
        assert isinstance(finished.outcome, AttemptCancelled)
        assert finished.outcome.reason.startswith("enough (")
        how = {
            "ignores_sigterm": "signal 9 (SIGKILL)",
            "cleans_up_on_sigterm": "sys.exit(0)",
            "stops_when_asked": "it stopped",
        }.get(name, "signal 15 (SIGTERM)")
        # A machine that is busy may not get the attempt ended between the two signals.
        assert how in finished.outcome.reason or "SIGKILL" in finished.outcome.reason
        if name == "cleans_up_on_sigterm":
            assert "cleaning up" in bench.plane.text(lease, LogStream.STDOUT)
        _, after = await bench.run("noop")
        assert isinstance(after.outcome, AttemptSucceeded)

    check(project, test)


@pytest.mark.parametrize("name", ["ignores_sigterm", "stops_when_asked"])
def test_nothing_of_an_attempt_that_took_too_long_is_left(project: Path, name: str) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start(name, timeout_seconds=2)
        processes = await descendants(bench, lease)
        finished = await bench.plane.result(lease)
        assert not any(is_alive(process) for process in processes)
        assert isinstance(finished.outcome, Failure)
        assert (finished.outcome.category, finished.outcome.reason) == (C.TIMEOUT, "timeout")

    check(project, test)


@pytest.mark.parametrize("revoked", [False, True])
def test_a_process_that_is_killed_while_it_writes_leaves_no_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, revoked: bool
) -> None:
    # On a busy machine it takes a while until something is written; what waits meanwhile stays.
    monkeypatch.setattr("servo.worker.pool._PATIENCE_SECONDS", 60)

    async def test(bench: Lab) -> None:
        lease = bench.start("dies_while_it_writes")
        await bench.says(lease, "writing")
        folder = project / ".servo/data/default/dies_while_it_writes"
        assert [path.name.startswith(".staging-") for path in folder.iterdir()] == [True]
        if revoked:
            bench.plane.say(LeaseRevoked(lease=lease))
        else:
            bench.plane.say(CancelTask(lease=lease, grace_period=timedelta(0)))
        _, finished = await bench.run("noop")
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert list(folder.iterdir()) == []

    check(project, test)


def test_every_attempt_has_a_clock_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that an earlier attempt took, and that this one waited for it, does not count."""
    # What waits is to stay and be executed here, however long the attempt before it takes.
    monkeypatch.setattr("servo.worker.pool._PATIENCE_SECONDS", 60)

    async def test(bench: Lab) -> None:
        leases = [bench.start("naps", timeout_seconds=4) for _ in range(2)]
        for lease in leases:
            assert isinstance((await bench.plane.result(lease)).outcome, AttemptSucceeded)

    check(project, test)


# -- the worker goes ----------------------------------------------------------------------


def test_a_worker_that_stops_at_once_says_that_it_evicted_its_attempt(project: Path) -> None:
    async def body() -> None:
        async with worker_kit.lab(project, CODE) as bench:
            lease = bench.start("sleeps")
            processes = await descendants(bench, lease)
        outcome = (await bench.plane.result(lease)).outcome
        assert isinstance(outcome, Failure)
        assert (outcome.category, outcome.reason) == (C.INFRASTRUCTURE, "evicted")
        assert outcome.is_retryable
        assert "told to stop" in outcome.message
        assert not any(is_alive(process) for process in processes)

    asyncio.run(body())


def test_a_draining_worker_that_has_waited_long_enough_evicts_its_attempt(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("sleeps")
        waiting = bench.start("noop")
        await descendants(bench, lease)
        bench.worker.drain()
        outcome = (await bench.plane.result(lease)).outcome
        assert isinstance(outcome, Failure)
        assert outcome.reason == "evicted"
        assert "waited 0.2 s" in outcome.message
        returned = (await bench.plane.result(waiting)).outcome
        assert isinstance(returned, Failure)
        assert returned.reason == "handed_back"

    check(project, test, drain_timeout=timedelta(seconds=0.2))


def test_a_worker_that_slept_through_its_lease_ends_the_attempt_and_reports_nothing(
    project: Path,
) -> None:
    """The control plane takes the lease back while the worker is stopped; it hears so first."""

    async def body() -> None:
        plane = ScriptedPlane()
        process = await worker_kit.start_command(await plane.start(), project, CODE)
        try:
            lease = plane.dispatch(dispatch_of("tables", "sleeps"))
            await plane.wait_for(
                lambda: len(plane.text(lease, LogStream.STDOUT).split()) >= 4, what="processes"
            )
            found = [int(text) for text in plane.text(lease, LogStream.STDOUT).split()]
            process.send_signal(signal.SIGSTOP)
            plane.say(LeaseRevoked(lease=lease, reason="the lease ran out"))
            process.send_signal(signal.SIGCONT)
            for child in found:
                assert await gone(child)
            after = plane.dispatch(dispatch_of("tables", "noop"))
            assert isinstance((await plane.result(after)).outcome, AttemptSucceeded)
            assert [m.lease for m in plane.of(AttemptFinished)] == [after]
            assert [m.lease for m in plane.of(AttemptStarted)] == [lease, after]
        finally:
            process.kill()
            await process.wait()
            await plane.stop()

    asyncio.run(body())
