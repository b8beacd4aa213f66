"""What the children of a function print and log arrives, however they are started and end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import worker_kit
from servo.types.logs import LogStream
from servo.types.sessions import AttemptSucceeded
from worker_kit import SOURCE, Lab

pytestmark = pytest.mark.slow

CODE = """
import logging, multiprocessing, os, subprocess, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from servo import asset

def work(number):
    for line in range(5):
        print(f"child {number} line {line}")
    logging.getLogger("lib").warning("record of child %d", number)

def fork(function, *given):
    child = os.fork()
    if child == 0:
        function(*given)
        os._exit(0)
    return child

def start_processes(method):
    context = multiprocessing.get_context(method)
    children = [context.Process(target=work, args=(number,)) for number in range(4)]
    for child in children: child.start()
    for child in children: child.join()

@asset
def process_fork(ctx): start_processes("fork")

@asset
def process_spawn(ctx): start_processes("spawn")

@asset
def process_forkserver(ctx): start_processes("forkserver")

@asset
def pool(ctx):
    with multiprocessing.get_context("fork").Pool(4) as workers:
        workers.map(work, range(4))

@asset
def executor(ctx):
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(4, mp_context=context) as workers:
        list(workers.map(work, range(4)))

@asset
def bare(ctx):
    for child in [fork(work, number) for number in range(4)]:
        os.waitpid(child, 0)

@asset
def grandchildren(ctx):
    def parent(number): os.waitpid(fork(work, number), 0)
    for child in [fork(parent, number) for number in range(4)]:
        os.waitpid(child, 0)

@asset
def logs_in_a_child(ctx):
    log = ctx.log
    def child():
        log.debug("from ctx.log")
        ctx.report_progress("not from here", 10)
        ctx.report_metric("nor", 1)
        logging.getLogger("lib").info("from a library\\nin two lines")
    os.waitpid(fork(child), 0)

@asset
def prints_before_it_forks(ctx):
    for number in range(100):
        print("before", number)
    print("no line break", end=" ")
    os.waitpid(fork(print, "child"), 0)
    print("after")

@asset
def forks_while_threads_print(ctx):
    done = threading.Event()
    def chatter():
        while not done.is_set():
            print("x" * 200)
            logging.getLogger("lib").info("chatter")
    threads = [threading.Thread(target=chatter) for _ in range(3)]
    for thread in threads: thread.start()
    for number in range(100):
        os.waitpid(fork(work, number), 0)
    done.set()
    for thread in threads: thread.join()

@asset
def raises_in_a_child(ctx):
    if (child := os.fork()) == 0:
        raise ValueError("bad row in the child")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if (child := os.fork()) == 0:
        print("no line break", end="")
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if (child := os.fork()) == 0:
        return
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

LINES = Counter(f"child {number} line {line}" for number in range(4) for line in range(5))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    # An interpreter that is started so writes a line and its break in two pieces.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    return tmp_path


def check(project: Path, test: Any) -> None:
    worker_kit.check(project, CODE, test)


@pytest.mark.parametrize(
    "name",
    [
        "process_fork", "process_spawn", "process_forkserver", "pool", "executor", "bare",
        "grandchildren",
    ],
)  # fmt: skip
def test_every_line_and_record_of_a_child_arrives(project: Path, name: str) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run(name)
        assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)
        printed = Counter(line.text for line in bench.plane.lines(lease, LogStream.STDOUT))
        assert printed == LINES
        errors = [line.text for line in bench.plane.lines(lease, LogStream.STDERR)]
        for number in range(4):
            assert sum(f"record of child {number}" in line for line in errors) == 1, errors

    check(project, test)


def test_records_of_a_forked_child_are_on_its_standard_error(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, _ = await bench.run("logs_in_a_child")
        assert [line.text for line in bench.plane.lines(lease, LogStream.STDERR)] == [
            "DEBUG from ctx.log", "INFO from a library", "INFO in two lines",
        ]  # fmt: skip
        assert bench.plane.lines(lease, LogStream.LOG) == []

    check(project, test)


def test_what_the_parent_printed_before_is_neither_lost_nor_printed_twice(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, _ = await bench.run("prints_before_it_forks")
        assert [line.text for line in bench.plane.lines(lease, LogStream.STDOUT)] == [
            *[f"before {number}" for number in range(100)], "no line break child", "after",
        ]  # fmt: skip

    check(project, test)


def test_a_fork_while_other_threads_print_and_log_does_not_hang(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("forks_while_threads_print")
        assert isinstance(finished.outcome, AttemptSucceeded), bench.plane.text(lease)
        lines = [line.text for line in bench.plane.lines(lease, LogStream.STDOUT)]
        assert sum("line 4" in line for line in lines) == 100

    check(project, test)


def test_a_child_that_comes_back_ends_as_the_interpreter_would_end_it(project: Path) -> None:
    async def test(bench: Lab) -> None:
        lease, finished = await bench.run("raises_in_a_child")
        assert isinstance(finished.outcome, AttemptSucceeded)
        assert [line.text for line in bench.plane.lines(lease, LogStream.STDOUT)] == [
            "1", "no line break7", "0",
        ]  # fmt: skip
        said = bench.plane.text(lease, LogStream.STDERR)
        assert "ValueError: bad row in the child" in said
        assert "tables.py" in said

    check(project, test)
