"""A real worker with real runners, against a control plane that does what the test says."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import worker_kit
from scripted_plane import ScriptedPlane, dispatch_of
from servo import _wire, errors
from servo.types.keys import AssetKey
from servo.types.logs import LogStream
from servo.types.partition_keys import PartitionKey
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    DispatchReceived,
    Heartbeat,
    InputPartition,
    LeaseRevoked,
    TaskInput,
    WorkerDraining,
)
from servo.worker import Worker, WorkerConfig
from worker_kit import SOURCE, Lab, gone

pytestmark = pytest.mark.slow

CODE = """
import asyncio, ctypes, logging, os, signal, subprocess, sys, threading, time
from servo import Err, asset

imported_at = time.time_ns()

@asset
def noop(ctx): pass

@asset
def rows(ctx): return [{"id": 1}, {"id": 2}]

@asset
def talk(ctx):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    ctx.log.info("to the log")
    logging.getLogger("lib").warning("from a library\\nin two lines")
    logging.getLogger("lib").debug("not this")
    os.write(1, b"straight to the descriptor\\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a child"])
    ctx.report_progress("working", 40)
    ctx.report_metric("rows", 2.5)
    print("no line break", end="", file=sys.stderr)

@asset
def raises(ctx): raise ValueError("bad row")

@asset
def exits(ctx): sys.exit(3)

@asset
def hard_exit(ctx):
    print("last words")
    os._exit(7)

@asset
def killed(ctx): os.kill(os.getpid(), signal.SIGKILL)

@asset
def crashes(ctx): ctypes.string_at(0)

@asset
def returns_err(ctx): return Err("no luck")

@asset
def wrong_type(ctx): return 42

@asset
async def raising_coroutine(ctx): raise KeyError("k")

@asset
def sleeps(ctx):
    child = subprocess.Popen(["sleep", "600"])
    print(child.pid)
    time.sleep(600)

@asset
def polls(ctx):
    print("polling")
    while True:
        ctx.report_progress("still here")
        time.sleep(0.01)

@asset
async def awaits(ctx):
    print("waiting")
    await asyncio.sleep(600)

@asset
def stubborn(ctx):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stubborn")
    time.sleep(600)

@asset
def holds_the_gil(ctx):
    # PyDLL does not release the interpreter lock: no other Python thread runs meanwhile.
    ctypes.PyDLL(None).usleep(1_500_000)

@asset
def floods(ctx):
    for number in range(int(ctx.config["lines"])):
        print("line", number)

@asset
def logs_much(ctx):
    for number in range(30_000):
        ctx.log.info("record %d", number)

@asset
def logs_much_in_a_child(ctx):
    if os.fork() == 0:
        for number in range(30_000):
            ctx.log.info("record %d", number)
        os._exit(0)
    os.wait()

@asset
def whoami(ctx): print(os.getpid(), imported_at, os.getcwd())

@asset
def meddles(ctx):
    os.chdir("/")
    sys.stdout.close()
    logging.getLogger().handlers[0].setLevel(logging.NOTSET)

@asset
def forks(ctx):
    if os.fork() == 0:
        raise RuntimeError("in the child")
    os.wait()

@asset
def leaves_a_thread(ctx):
    def work():
        for _ in range(50):
            print("from the thread of another attempt")
            time.sleep(0.001)
    threading.Thread(target=work, daemon=True).start()

if "SMALL_FILES" in os.environ:
    # Stands for a full disk: it needs no rights and works everywhere.
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))

@asset
def fills_the_disk(ctx):
    return [{"text": os.urandom(500).hex()} for _ in range(1000)]

@asset
def unprintable_metadata(ctx):
    return ctx.output(None, metadata={"k": "\\udc80"})

@asset
def surrogates(ctx):
    ctx.report_progress("\\udc80")
    ctx.log.info("\\udc80")
    raise ValueError("\\udc80")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    return tmp_path


def check(project: Path, test: Callable[[Lab], Awaitable[None]], **settings: Any) -> None:
    worker_kit.check(project, CODE, test, **settings)


# -- the way of an attempt ----------------------------------------------------------------


def test_an_attempt_is_acknowledged_started_and_finished(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("rows")
        assert isinstance(finished.outcome, AttemptSucceeded)
        found = finished.outcome.materialization
        table = pq.read_table(bench.project / ".servo" / "data" / found.path)
        assert table.to_pylist() == [{"id": 1}, {"id": 2}]
        steps = [
            type(message)
            for message in bench.plane.heard
            if getattr(message, "lease", None) == lease
        ]
        assert steps == [DispatchReceived, AttemptStarted, AttemptFinished]

    check(project, test)


def test_the_worker_says_who_it_is(project: Path) -> None:
    async def test(bench: Lab) -> None:
        await bench.run("noop")
        (hello,) = bench.plane.hellos
        assert hello.slots == 2
        assert hello.code_version_id == "v1"
        assert hello.process_id == os.getpid()
        assert bench.plane.metadata["x-servo-tenant-id"] == "acme"
        assert bench.plane.metadata["authorization"] == "Bearer secret"

    check(project, test, slots=2, tenant_id="acme", api_key="secret", code_version_id="v1")


def test_output_arrives_by_stream_in_order_and_complete(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, _ = await bench.run("talk")
        plane = bench.plane
        stdout = plane.text(lease, LogStream.STDOUT).splitlines()
        assert sorted(stdout) == sorted(
            ["to stdout", "straight to the descriptor", "from C", "from a child"]
        )
        assert plane.text(lease, LogStream.STDERR).splitlines() == ["to stderr", "no line break"]
        assert [(line.level, line.text) for line in plane.lines(lease, LogStream.LOG)] == [
            ("INFO", "to the log"), ("WARNING", "from a library"), ("WARNING", "in two lines"),
        ]  # fmt: skip
        assert [line.number for line in plane.lines(lease, LogStream.STDOUT)] == [1, 2, 3, 4]
        (progress,) = plane.of(AttemptProgressed)
        assert (progress.progress.message, progress.progress.percentage) == ("working", 40)
        assert [(m.name, m.value) for m in plane.of(AttemptMetric)] == [("rows", 2.5)]

    check(project, test)


def test_a_dispatch_may_be_larger_than_a_stock_message(project: Path) -> None:
    partitions = tuple(
        InputPartition(
            partition_key=PartitionKey({"number": number}),
            materialization_id="01M7Y9N848E41D48Q16KD3C8SN",
            path=f"raw/{'events' * 50}/number={number}/data.parquet",
        )
        for number in range(12_000)
    )
    given = TaskInput(
        parameter_name="events", upstream_key=AssetKey("raw", "events"), partitions=partitions
    )

    dispatch = dispatch_of("tables", "noop", inputs=(given,))
    assert len(_wire.encode(dispatch)) > 4 * 2**20

    async def test(bench: Lab) -> None:
        _, finished = await bench.run("noop", inputs=(given,))
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_output_arrives_while_the_task_runs(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("polls")
        await bench.says(lease, "polling")
        await bench.plane.wait_for(lambda: bench.plane.of(AttemptProgressed), what="progress")
        assert not bench.plane.of(AttemptFinished)

    check(project, test)


@pytest.mark.parametrize(
    ("name", "category", "reason", "message"),
    [
        ("raises", FailureCategory.USER_CODE, "exception", "ValueError: bad row"),
        ("exits", FailureCategory.USER_CODE, "exit", "sys.exit(3)"),
        ("hard_exit", FailureCategory.USER_CODE, "exit", "exit code 7"),
        ("killed", FailureCategory.INFRASTRUCTURE, "signal", "signal 9 (SIGKILL)"),
        ("crashes", FailureCategory.USER_CODE, "signal", "signal 11 (SIGSEGV)"),
        ("returns_err", FailureCategory.USER_CODE, "exception", "Err('no luck')"),
        ("wrong_type", FailureCategory.USER_CODE, "exception", "returned int"),
        ("raising_coroutine", FailureCategory.USER_CODE, "exception", "KeyError: 'k'"),
        ("missing", FailureCategory.CONFIGURATION, "configuration", "no asset 'default.missing'"),
        ("surrogates", FailureCategory.USER_CODE, "exception", "ValueError: ?"),
        ("unprintable_metadata", FailureCategory.USER_CODE, "exception", "metadata"),
    ],
)
def test_every_bad_ending_is_a_failure_and_the_slot_goes_on(
    project: Path, name: str, category: FailureCategory, reason: str, message: str
) -> None:
    async def test(bench: Lab) -> None:
        lease, failure = await bench.failure(name)
        assert (failure.category, failure.reason) == (category, reason), failure
        assert message in failure.message
        assert bench.plane.text(lease) or "sent" in message, "the log says nothing"
        _, finished = await bench.run("noop")
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_what_was_printed_before_a_crash_is_kept(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, _ = await bench.failure("hard_exit")
        assert bench.plane.text(lease, LogStream.STDOUT) == "last words"

    check(project, test)


def test_user_modules_are_imported_once_for_many_attempts(project: Path) -> None:
    async def test(bench: Lab) -> None:
        leases = [(await bench.run("whoami"))[0] for _ in range(3)]
        said = {bench.plane.text(lease, LogStream.STDOUT) for lease in leases}
        assert len(said) == 1
        assert said.pop().endswith(str(bench.project))

    check(project, test)


def test_what_user_code_does_to_its_process_does_not_reach_the_next_attempt(project: Path) -> None:
    async def test(bench: Lab) -> None:
        await bench.run("meddles")
        lease, finished = await bench.run("whoami")
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert bench.plane.text(lease, LogStream.STDOUT).endswith(str(bench.project))

    check(project, test)


def test_a_forked_child_that_returns_does_not_report_for_its_parent(project: Path) -> None:
    async def test(bench: Lab) -> None:
        _, finished = await bench.run("forks")
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_attempts_run_at_the_same_time_in_their_slots(project: Path) -> None:
    async def test(bench: Lab) -> None:
        leases = [bench.start("polls"), bench.start("polls")]
        for lease in leases:
            await bench.says(lease, "polling")

    check(project, test, slots=2)


def test_a_disk_that_fills_up_fails_the_attempt_and_keeps_the_old_data(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Lab) -> None:
        await bench.run("fills_the_disk")
        target = bench.project / ".servo/data/default/fills_the_disk/data.parquet"
        before = target.read_bytes()
        monkeypatch.setenv("SMALL_FILES", "1")
        bench.worker.reload()
        lease, failure = await bench.failure("fills_the_disk")
        assert (failure.category, failure.reason) == (
            FailureCategory.INFRASTRUCTURE, "exception",
        )  # fmt: skip
        assert "Free some space" in bench.plane.text(lease)
        assert target.read_bytes() == before
        assert list(target.parent.glob(".staging*")) == []

    check(project, test)


# -- time ---------------------------------------------------------------------------------


def test_a_timeout_kills_the_attempt_with_everything_it_started(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, failure = await bench.failure("sleeps", timeout_seconds=1)
        assert (failure.category, failure.reason) == (FailureCategory.TIMEOUT, "timeout")
        assert "timeout_seconds=1" in failure.message
        assert await gone(int(bench.plane.text(lease, LogStream.STDOUT)))
        _, finished = await bench.run("noop")
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_heartbeats_go_on_while_a_task_holds_the_interpreter_lock(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("holds_the_gil")
        await bench.plane.wait_for(lambda: bench.plane.of(AttemptStarted), what="the start")
        before = len(bench.plane.of(Heartbeat))
        await bench.plane.result(lease)
        beats = bench.plane.of(Heartbeat)[before:]
        assert len(beats) >= 5
        assert sum(lease in beat.leases for beat in beats) >= 5

    check(project, test, plane=ScriptedPlane(heartbeat=0.1))


@pytest.mark.parametrize("name", ["polls", "awaits"])
def test_a_cooperative_task_stops_by_itself_when_it_is_cancelled(project: Path, name: str) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start(name)
        await bench.plane.wait_for(lambda: bench.plane.lines(lease), what="output")
        grace = timedelta(seconds=30)
        bench.plane.say(CancelTask(lease=lease, reason="enough", grace_period=grace))
        finished = await bench.plane.result(lease)
        assert isinstance(finished.outcome, AttemptCancelled)
        assert "asked to stop: enough" in bench.plane.text(lease)

    check(project, test)


@pytest.mark.parametrize("name", ["sleeps", "stubborn"])
def test_a_task_that_does_not_stop_is_ended_after_its_grace_period(
    project: Path, name: str
) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start(name)
        await bench.plane.wait_for(lambda: bench.plane.lines(lease), what="output")
        bench.plane.say(CancelTask(lease=lease, grace_period=timedelta(seconds=0.1)))
        finished = await bench.plane.result(lease)
        assert isinstance(finished.outcome, AttemptCancelled)
        assert "by force" in finished.outcome.reason

    check(project, test)


def test_an_attempt_that_waits_is_cancelled_at_once(project: Path) -> None:
    async def test(bench: Lab) -> None:
        bench.start("polls")
        waiting = bench.start("noop")
        await bench.plane.wait_for(
            lambda: any(m.lease == waiting for m in bench.plane.of(DispatchReceived)),
            what="the second dispatch",
        )
        bench.plane.say(CancelTask(lease=waiting, reason="enough"))
        finished = await bench.plane.result(waiting)
        assert isinstance(finished.outcome, AttemptCancelled)
        assert "before it started" in finished.outcome.reason

    check(project, test)


def test_a_revoked_attempt_is_killed_and_has_no_result(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("sleeps")
        await bench.plane.wait_for(lambda: bench.plane.lines(lease), what="output")
        bench.plane.say(LeaseRevoked(lease=lease, reason="too late"))
        assert await gone(int(bench.plane.text(lease, LogStream.STDOUT)))
        await bench.run("noop")
        assert [message.lease for message in bench.plane.of(AttemptFinished)] != [lease]

    check(project, test)


# -- floods -------------------------------------------------------------------------------


def test_a_flood_of_lines_is_complete_or_says_what_is_missing(project: Path) -> None:
    async def test(bench: Lab) -> None:
        count = 200_000
        lease, finished = await bench.run("floods", config={"lines": str(count)})
        assert isinstance(finished.outcome, AttemptSucceeded)
        lines = bench.plane.lines(lease, LogStream.STDOUT)
        assert sum(1 + line.dropped_after for line in lines) == count
        expected = 1
        for line in lines:
            assert (line.number, line.text) == (expected, f"line {expected - 1}")
            expected += 1 + line.dropped_after

    check(project, test)


def test_a_control_plane_that_takes_no_lines_does_not_stop_the_tasks(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their results wait for their lines, and nothing else waits for anything."""
    # What waits is to stay and be executed here, however long the attempt before it takes.
    monkeypatch.setattr("servo.worker.pool._PATIENCE_SECONDS", 60)
    plane = ScriptedPlane()
    plane.confirm_logs = False

    async def test(bench: Lab) -> None:
        count = 300_000
        flood = bench.start("floods", config={"lines": str(count)})
        failing = bench.start("raises")
        await plane.wait_for(
            lambda: any(m.lease == failing for m in plane.of(AttemptStarted)), what="the second one"
        )
        await bench.run("noop")
        assert [m.lease for m in plane.of(AttemptFinished)] != [flood]
        plane.confirm_all_logs()
        assert isinstance((await plane.result(flood)).outcome, AttemptSucceeded)
        lines = plane.lines(flood, LogStream.STDOUT)
        assert sum(1 + line.dropped_after for line in lines) == count
        assert len(lines) < count
        await plane.result(failing)
        assert "bad row" in plane.text(failing), "a flood must not hide a traceback"

    check(project, test, plane=plane, log_buffer_bytes=24 * 1024 * 1024)


def test_a_million_printed_lines_are_all_kept(project: Path) -> None:
    async def test(bench: Lab) -> None:
        count = 1_000_000
        lease = bench.start("floods", config={"lines": str(count)})
        finished = await bench.plane.result(lease, timeout=100)
        assert isinstance(finished.outcome, AttemptSucceeded)
        numbers = [line.number for line in bench.plane.lines(lease, LogStream.STDOUT)]
        assert numbers == list(range(1, count + 1))

    check(project, test)


def test_records_of_the_log_are_all_kept_however_fast_they_come(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("logs_much")
        assert isinstance(finished.outcome, AttemptSucceeded)
        lines = bench.plane.lines(lease, LogStream.LOG)
        assert [line.text for line in lines] == [f"record {number}" for number in range(30_000)]

    check(project, test)


def test_a_forked_child_that_logs_is_not_held_up_by_what_nobody_sends(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("logs_much_in_a_child")
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert bench.plane.lines(lease, LogStream.LOG) == []

    check(project, test)


# -- connections --------------------------------------------------------------------------


def test_a_result_without_a_receipt_is_sent_again_after_a_reconnect(project: Path) -> None:
    plane = ScriptedPlane()
    plane.confirm_results = False

    async def test(bench: Lab) -> None:
        lease, _ = await bench.run("noop")
        await plane.stop()
        plane.heard.clear()
        plane.confirm_results = True
        await plane.start()
        await plane.result(lease)
        assert lease in plane.hellos[-1].leases
        assert plane.hellos[0].worker_id == plane.hellos[-1].worker_id

    check(project, test, plane=plane)


def test_an_attempt_goes_on_while_the_control_plane_is_away(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("holds_the_gil")
        await bench.plane.wait_for(lambda: bench.plane.of(AttemptStarted), what="the start")
        await bench.plane.stop()
        await asyncio.sleep(0.2)
        await bench.plane.start()
        finished = await bench.plane.result(lease)
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert bench.plane.hellos[-1].leases == (lease,)

    check(project, test)


def test_lines_that_were_not_confirmed_are_sent_again(project: Path) -> None:
    plane = ScriptedPlane()
    plane.confirm_logs = False

    async def test(bench: Lab) -> None:
        lease, _ = await bench.run("talk")
        before = plane.text(lease, LogStream.STDOUT)
        await plane.stop()
        plane.heard.clear()
        plane.confirm_logs = True
        await plane.start()
        await plane.wait_for(
            lambda: plane.text(lease, LogStream.STDOUT) == before, what="the lines again"
        )

    check(project, test, plane=plane)


def test_another_store_ends_the_attempts_of_the_old_one(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = bench.start("sleeps")
        await bench.plane.wait_for(lambda: bench.plane.lines(lease), what="output")
        child = int(bench.plane.text(lease, LogStream.STDOUT))
        await bench.plane.stop()
        bench.plane.store_id = "store-2"
        await bench.plane.start()
        assert await gone(child)
        _, finished = await bench.run("noop")
        assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_a_wrong_key_ends_the_worker_with_the_reason(project: Path) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        plane.refuse = errors.UnauthenticatedError("the API key is wrong")
        url = await plane.start()
        try:
            worker = Worker(WorkerConfig(url=url, project=project, slots=1))
            with pytest.raises(errors.UnauthenticatedError, match="the API key is wrong"):
                await asyncio.wait_for(worker.run(), 60)
        finally:
            await plane.stop()

    asyncio.run(body())


@pytest.mark.parametrize("url", ["localhost:1", "http://x:1", "grpc://", "grpc://x/y"])
def test_an_address_of_another_form_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="no address of a control plane"):
        Worker(WorkerConfig(url=url, project=tmp_path))


def test_runners_that_cannot_start_end_the_worker_with_what_they_said(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sitecustomize.py").write_text("raise SystemExit('this machine is broken')")
    monkeypatch.setenv("PYTHONPATH", f"{project}{os.pathsep}{SOURCE}")

    async def body() -> None:
        plane = ScriptedPlane()
        url = await plane.start()
        try:
            worker = Worker(WorkerConfig(url=url, project=project, slots=1, runner_starts=2))
            with pytest.raises(errors.ConfigurationError, match="this machine is broken"):
                await asyncio.wait_for(worker.run(), 30)
        finally:
            await plane.stop()

    asyncio.run(body())


# -- stopping and reloading ---------------------------------------------------------------


def test_draining_finishes_what_runs_and_returns_what_waits(project: Path) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        (project / "tables.py").write_text(CODE)
        worker = Worker(WorkerConfig(url=await plane.start(), project=project, slots=1))
        running = asyncio.create_task(worker.run())
        first = plane.dispatch(dispatch_of("tables", "holds_the_gil"))
        second = plane.dispatch(dispatch_of("tables", "noop"))
        await plane.wait_for(lambda: len(plane.of(DispatchReceived)) == 2, what="both dispatches")
        await plane.wait_for(lambda: plane.of(AttemptStarted), what="the start")
        worker.drain()
        await asyncio.wait_for(running, 60)
        assert plane.of(WorkerDraining)
        assert isinstance((await plane.result(first)).outcome, AttemptSucceeded)
        returned = (await plane.result(second)).outcome
        assert isinstance(returned, Failure)
        assert (returned.reason, returned.is_retryable) == ("handed_back", True)
        await plane.stop()

    asyncio.run(body())


def test_changed_code_is_loaded_after_a_reload(project: Path) -> None:
    async def test(bench: Lab) -> None:
        before, _ = await bench.run("whoami")
        changed = CODE.replace("print(os.getpid(), imported_at", "print('changed', imported_at")
        (bench.project / "tables.py").write_text(changed)
        bench.worker.reload()
        after, _ = await bench.run("whoami")
        assert bench.plane.text(before, LogStream.STDOUT)[0].isdigit()
        assert bench.plane.text(after, LogStream.STDOUT).startswith("changed")

    check(project, test)


def start_command(url: str, project: Path, *options: str) -> Awaitable[Process]:
    return worker_kit.start_command(url, project, CODE, *options)


@pytest.mark.parametrize(
    ("options", "environ", "version"),
    [((), "", ""), ((), "image-7", "image-7"), (("--code-version", "v1"), "image-7", "v1")],
)
def test_the_command_announces_the_version_of_its_code(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    environ: str,
    version: str,
) -> None:
    monkeypatch.setenv("SERVO_CODE_VERSION_ID", environ)

    async def body() -> None:
        plane = ScriptedPlane()
        process = await start_command(await plane.start(), project, *options)
        await plane.wait_for(lambda: plane.hellos, what="a hello")
        assert plane.hellos[0].code_version_id == version
        process.kill()
        await process.wait()
        await plane.stop()

    asyncio.run(body())


def test_the_command_drains_on_sigterm_and_exits_with_zero(project: Path) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        process = await start_command(await plane.start(), project)
        lease = plane.dispatch(dispatch_of("tables", "holds_the_gil"))
        await plane.wait_for(lambda: plane.of(AttemptStarted), what="the start")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert isinstance((await plane.result(lease)).outcome, AttemptSucceeded)
        await plane.stop()

    asyncio.run(body())


def test_a_second_signal_ends_the_command_at_once(project: Path) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        process = await start_command(await plane.start(), project)
        lease = plane.dispatch(dispatch_of("tables", "sleeps"))
        await plane.wait_for(lambda: plane.lines(lease), what="output")
        process.send_signal(signal.SIGINT)
        await plane.wait_for(lambda: plane.of(WorkerDraining), what="draining")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert await gone(int(plane.text(lease, LogStream.STDOUT)))
        await plane.stop()

    asyncio.run(body())


@pytest.mark.parametrize("end", ["kill", "stdin"])
def test_nothing_is_left_behind_when_the_worker_dies(project: Path, end: str) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        process = await start_command(await plane.start(), project, "--exit-with-stdin")
        lease = plane.dispatch(dispatch_of("tables", "sleeps"))
        await plane.wait_for(lambda: plane.lines(lease), what="output")
        if end == "kill":
            process.kill()
        elif process.stdin is not None:
            process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)
        assert await gone(int(plane.text(lease, LogStream.STDOUT)))
        await plane.stop()

    asyncio.run(body())


def test_the_command_reports_a_refusal_with_its_exit_code(project: Path) -> None:
    async def body() -> None:
        plane = ScriptedPlane()
        plane.refuse = errors.PermissionDeniedError("not your workspace")
        process = await start_command(await plane.start(), project)
        _, said = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 77
        assert b"not your workspace" in said
        await plane.stop()

    asyncio.run(body())
