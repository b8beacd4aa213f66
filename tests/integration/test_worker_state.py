"""What one attempt leaves changed in its process does not reach the next one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import worker_kit
from servo.types.logs import LogStream
from servo.types.sessions import AttemptSucceeded, Lease
from worker_kit import Lab, gone, is_alive

pytestmark = pytest.mark.slow

CODE = """
import asyncio, builtins, contextvars, csv, decimal, faulthandler, gc, json, locale, logging
import logging.config, multiprocessing, os, random, resource, signal, socket, ssl, subprocess, sys
import tempfile, threading, time, tracemalloc, warnings
from concurrent.futures import ThreadPoolExecutor
from servo import asset
from servo.worker.process_state import ENTRIES

os.environ["SET_AT_IMPORT"] = "1"
warnings.filterwarnings("ignore", "set at import")
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
logging.getLogger("set.at.import").setLevel(logging.ERROR)
decimal.getcontext().prec = 11
variable = contextvars.ContextVar("variable", default="fresh")
pool = ThreadPoolExecutor(1)
rest = []

def look():
    # A pool keeps its thread, and numbers change.
    changing = ("running threads", "random numbers", "random numbers of NumPy")
    found = {entry.name: repr(entry.read()) for entry in ENTRIES if entry.name not in changing}
    found["process"] = os.getpid()
    found["decimal context"] = repr(decimal.getcontext())
    found["context variable"] = variable.get()
    found["output"] = [
        sys.stdin.closed, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__,
    ]
    return found

@asset
def looks(ctx):
    print(json.dumps(look()))

class leaks:
    def timer(): signal.setitimer(signal.ITIMER_REAL, 0.5)
    def repeating_timer(): signal.setitimer(signal.ITIMER_PROF, 0.1, 0.1)
    def handler(): signal.signal(signal.SIGTERM, lambda number, frame: None)
    def children_are_ignored(): signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    def mask(): signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    def wakeup():
        rest.append(socket.socketpair())
        rest[-1][0].setblocking(False)
        signal.set_wakeup_fd(rest[-1][0].fileno())
    def fault_handler(): faulthandler.enable()
    def fault_timer(): faulthandler.dump_traceback_later(0.5, exit=True)
    def redirect(): os.dup2(os.open("x.log", os.O_CREAT | os.O_WRONLY), 1)
    def closed_output(): os.close(1); os.close(2)
    def non_blocking(): os.set_blocking(1, False)
    def umask(): os.umask(0o777)
    def directory(): os.chdir("/")
    def removed_directory():
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
    def environment():
        os.environ["LEAKED"] = "1"
        os.environ.pop("SET_AT_IMPORT")
        os.environ["PATH"] += ":/x"
    def time_zone():
        os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
    def temporary(): tempfile.tempdir = "/nowhere"
    def path(): sys.path.insert(0, "/nowhere"); sys.path.remove(sys.path[-1])
    def tracing(): sys.settrace(lambda *args: None); threading.setprofile(print)
    def hooks(): sys.excepthook = threading.excepthook = sys.displayhook = print
    def limits(): sys.setrecursionlimit(55_555); sys.setswitchinterval(1.0)
    def stack(): threading.stack_size(1 << 20)
    def collector(): gc.disable(); gc.set_threshold(7, 7, 7); gc.callbacks.append(print)
    def memory(): tracemalloc.start()
    def warns(): warnings.simplefilter("error"); warnings.showwarning = print
    def captured(): logging.captureWarnings(True)
    def default_context(): decimal.DefaultContext.prec = 3
    def context(): decimal.getcontext().prec = 3; variable.set("leaked")
    def timeout(): socket.setdefaulttimeout(0.001)
    def tls(): ssl._create_default_https_context = ssl._create_unverified_context
    def locale(): locale.setlocale(locale.LC_ALL, "C")
    def fields(): csv.field_size_limit(7)
    def start_method(): multiprocessing.set_start_method("spawn")
    def loop(): asyncio.run(asyncio.sleep(0))
    def own_loop(): asyncio.set_event_loop(asyncio.new_event_loop())
    def root_handlers(): logging.getLogger().handlers.clear()
    def basic(): logging.basicConfig(force=True, level="CRITICAL")
    def dictionary(): logging.config.dictConfig({"version": 1, "root": {"level": "WARNING"}})
    def disabled(): logging.disable(logging.CRITICAL)
    def library_logger():
        logger = logging.getLogger("lib")
        logger.addHandler(logging.StreamHandler()); logger.propagate = False
    def handler_level(): logging.getLogger().handlers[0].setLevel(logging.CRITICAL)
    def factory(): logging.setLogRecordFactory(lambda *args, **more: 1 / 0)
    def resources(): resource.setrlimit(resource.RLIMIT_FSIZE, (10, -1))
    def processors(): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    def streams(): sys.stdout = sys.stderr = sys.stdin = None
    def deleted_streams(): del sys.stdout, sys.excepthook
    def broken_stream():
        class Stream:
            closed = False
            def write(self, text): raise RuntimeError("no")
            def flush(self): raise SystemExit(9)
        sys.stdout = Stream()
    def odd_objects():
        class Odd:
            def __eq__(self, other): raise RuntimeError("no")
        sys.excepthook = Odd()
    def recursion(): sys.setrecursionlimit(60)
    def little_memory(): resource.setrlimit(resource.RLIMIT_AS, (1 << 20, -1))
    def closed_streams(): sys.stdout.close(); sys.stderr.detach()
    def idle_pool(): pool.submit(int).result()
    def ending_thread(): threading.Thread(target=time.sleep, args=(0.02,)).start()
    def ended_child(): subprocess.Popen(["true"])
    def several(): os.umask(0); os.chdir("/"); os.environ["LEAKED"] = "1"; sys.stdout = None

    # What ends the process:
    def thread(): threading.Thread(target=time.sleep, args=(1,), name="worker bee").start()
    def child(): rest.append(subprocess.Popen(["sleep", "600"]))
    def orphan(): subprocess.run("sleep 600 > /dev/null 2>&1 &", shell=True)
    def patched(): time.sleep = print
    def other_environment(): os.environ = dict(os.environ)
    def imported():
        os.makedirs("elsewhere", exist_ok=True); open("elsewhere/helper.py", "w").close()
        sys.path.insert(0, "elsewhere")
        import helper
    def hard_limit(): resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.setgid(1)
    def pending():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

@asset
def leak(ctx):
    getattr(leaks, ctx.config["name"])()

@asset
def leaking_rows(ctx):
    leak.function(ctx)
    return [{"a": 1}]

@asset
def sleeps(ctx): time.sleep(1)

@asset
def warns(ctx):
    warnings.warn("careful")
    warnings.warn("set at import")

@asset
def draws(ctx): print(random.random())

@asset
def seeds(ctx): random.seed(7)

@asset
def logs(ctx):
    ctx.log.debug("from ctx.log")
    logging.getLogger("lib").info("from a library")

@asset
def logs_after_a_leak(ctx):
    leak.function(ctx)
    ctx.log.info("from ctx.log")

@asset
def keeps_logging(ctx):
    log = ctx.log
    def work():
        time.sleep(0.3)
        for _ in range(10):
            log.info("too late")
    threading.Thread(target=work, daemon=True).start()

@asset
async def coroutine(ctx): await asyncio.sleep(0)

@asset
def uses_a_loop(ctx):
    asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))

def interrupted(number, frame): raise TimeoutError("late")

@asset
def late_signal(ctx):
    signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)
"""

ENDING = (
    "thread", "child", "orphan", "patched", "other_environment", "imported", "hard_limit",
    "pending",
)  # fmt: skip
LEAKS = [
    line.split()[1].partition("(")[0]
    for line in CODE.partition("class leaks:")[2].partition("@asset")[0].splitlines()
    if line.startswith("    def ")
]
QUIET = {
    "temporary", "loop", "own_loop", "idle_pool", "ending_thread", "ended_child", "fault_timer",
    "context", "streams", "closed_streams", "broken_stream", "warns", "captured",
}  # fmt: skip
"""What is put back without a word: libraries do it, or it was never a change of the process."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def check(project: Path, test: Any, **settings: Any) -> None:
    worker_kit.check(project, CODE, test, **settings)


async def seen(bench: Lab) -> dict[str, Any]:
    """What an attempt sees of its process."""
    lease, finished = await bench.run("looks")
    assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)
    found: dict[str, Any] = json.loads(bench.plane.text(lease, LogStream.STDOUT))
    return found


async def leaked(bench: Lab, name: str, function: str = "leak") -> Lease:
    lease, finished = await bench.run(function, config={"name": name})
    assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)
    return lease


def test_state_that_an_attempt_changes_is_put_back_before_the_next_one(project: Path) -> None:
    async def test(bench: Lab) -> None:
        first = await seen(bench)
        for name in [name for name in LEAKS if name not in ENDING]:
            # Twice: what was put back is put back again.
            for lease in [await leaked(bench, name), await leaked(bench, name)]:
                log = bench.plane.text(lease, LogStream.LOG)
                assert ("put back what was left changed" in log) == (name not in QUIET), (name, log)
            assert await seen(bench) == first, name

    check(project, test)


@pytest.mark.parametrize("name", ENDING)
def test_a_process_whose_state_cannot_be_put_back_is_replaced(project: Path, name: str) -> None:
    async def test(bench: Lab) -> None:
        first = await seen(bench)
        lease = await leaked(bench, name)
        assert "later attempts get a new one" in bench.plane.text(lease, LogStream.LOG)
        second = await seen(bench)
        assert first["process"] != second["process"]
        assert await gone(first["process"])
        for same in ("umask", "working directory", "environment", "signal handlers", "import path"):
            if same != "signal handlers":
                assert first[same] == second[same]

    check(project, test)


def test_two_slots_stay_apart_whatever_each_leaves_behind(project: Path) -> None:
    async def test(bench: Lab) -> None:
        leases = [
            bench.start(function, config={"name": name})
            for name in ("umask", "environment", "child", "dictionary", "timer", "thread")
            for function in ("leak", "looks", "logs", "leak")
        ]
        for lease in leases:
            finished = await bench.plane.result(lease)
            assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)

    check(project, test, slots=2)


def test_a_timer_of_an_attempt_does_not_end_the_next_one(project: Path) -> None:
    async def test(bench: Lab) -> None:
        for name in ("timer", "fault_timer"):
            await leaked(bench, name)
            _, finished = await bench.run("sleeps")
            assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_a_handler_that_interrupts_servo_costs_at_most_its_own_attempt(project: Path) -> None:
    async def test(bench: Lab) -> None:
        for _ in range(20):
            await bench.run("late_signal")
            _, finished = await bench.run("coroutine")
            assert isinstance(finished.outcome, AttemptSucceeded)

    check(project, test)


def test_files_are_published_with_the_umask_of_the_process(project: Path) -> None:
    async def test(bench: Lab) -> None:
        modes = []
        for name in ("context", "umask"):
            await leaked(bench, name, "leaking_rows")
            data = bench.project / ".servo/data/default/leaking_rows/data.parquet"
            modes.append(stat.S_IMODE(data.stat().st_mode))
            data.unlink()
        umask = os.umask(0o022)
        os.umask(umask)
        assert modes == [0o666 & ~umask] * 2

    check(project, test)


def test_each_attempt_shows_its_warnings_and_respects_filters_set_at_import(project: Path) -> None:
    async def test(bench: Lab) -> None:
        for _ in range(2):
            lease, _ = await bench.run("warns")
            said = bench.plane.text(lease, LogStream.STDERR)
            assert "UserWarning: careful" in said
            assert "UserWarning: set at import" not in said

    check(project, test)


def test_random_numbers_do_not_follow_from_the_seed_of_another_attempt(project: Path) -> None:
    async def test(bench: Lab) -> None:
        drawn = set()
        for _ in range(3):
            await bench.run("seeds")
            for _ in range(2):
                lease, _ = await bench.run("draws")
                drawn.add(bench.plane.text(lease, LogStream.STDOUT))
        assert len(drawn) == 6

    check(project, test)


LOGGING_LEAKS = ("root_handlers", "basic", "dictionary", "disabled", "handler_level")


@pytest.mark.parametrize("name", LOGGING_LEAKS)
def test_what_ctx_log_is_given_arrives_whatever_is_done_to_logging(
    project: Path, name: str
) -> None:
    async def test(bench: Lab) -> None:
        lease = await leaked(bench, name, "logs_after_a_leak")
        lines = bench.plane.lines(lease, LogStream.LOG)
        assert ("INFO", "from ctx.log") in [(line.level, line.text) for line in lines]
        lease, _ = await bench.run("logs")
        assert [line.text for line in bench.plane.lines(lease, LogStream.LOG)] == [
            "from ctx.log", "from a library",
        ]  # fmt: skip

    check(project, test)


def test_what_a_thread_of_an_earlier_attempt_logs_is_not_in_the_log_of_the_next(
    project: Path,
) -> None:
    async def test(bench: Lab) -> None:
        await bench.run("keeps_logging")
        lease, _ = await bench.run("sleeps")
        assert "too late" not in bench.plane.text(lease)

    check(project, test)


def test_an_async_asset_leaves_the_next_one_its_event_loop(project: Path) -> None:
    async def test(bench: Lab) -> None:
        for name in ("uses_a_loop", "coroutine", "uses_a_loop", "uses_a_loop"):
            lease, finished = await bench.run(name)
            assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)

    check(project, test)


def test_a_child_that_was_left_behind_ends_with_its_process(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease = await leaked(bench, "child")
        told = bench.plane.text(lease, LogStream.LOG)
        assert "sleep 600" in told
        child = int(told.partition("child processes (")[2].split()[0])
        await bench.run("looks")
        assert not is_alive(child) or await gone(child)

    check(project, test)
